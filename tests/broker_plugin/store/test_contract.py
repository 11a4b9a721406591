# SPDX-License-Identifier: BSD-3-Clause
"""What every store promises: memory, a file, and a real Redis."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from broker_plugin.store.address import StoreAddress
from broker_plugin.store.base import Store, sealed, tag_of
from broker_plugin.store.merging import Update, merge
from tests.broker_plugin.store.stores import KINDS, address, change, fresh, texts

pytestmark = pytest.mark.parametrize("kind", KINDS)


@pytest.fixture
def where(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> StoreAddress:
    return address(kind, request, tmp_path)


@pytest.fixture
def store(where: StoreAddress) -> Iterator[Store]:
    opened = where.open()
    yield opened
    opened.close()


def test_what_was_written_is_read_in_the_order_of_the_keys(store: Store) -> None:
    one, two, none = fresh("one", "two", "none")
    assert store.swap([change(one, "1"), change(two, "\0\xff2")]) == [True, True]
    assert texts(store.fetch([two, none, one, two])) == ["\0\xff2", None, "1", "\0\xff2"]
    assert store.fetch([]) == []
    assert store.swap([]) == []


def test_a_value_is_replaced_only_by_who_has_seen_it(store: Store) -> None:
    (key,) = fresh("key")
    first, second = sealed(b"first"), sealed(b"second")
    assert store.swap([change(key, "first")]) == [True]
    assert store.swap([change(key, "second")]) == [False]
    assert store.swap([change(key, "second", seen=tag_of(second))]) == [False]
    assert store.fetch([key]) == [first]
    assert store.swap([change(key, "second", seen=tag_of(first))]) == [True]
    assert store.fetch([key]) == [second]


def test_one_refused_change_does_not_keep_the_others_back(store: Store) -> None:
    held, new = fresh("held", "new")
    store.swap([change(held, "there")])
    assert store.swap([change(held, "mine"), change(new, "mine")]) == [False, True]
    assert texts(store.fetch([held, new])) == ["there", "mine"]


def test_a_value_ends_with_its_time_and_can_be_written_anew(store: Store) -> None:
    brief, lasting = fresh("brief", "lasting")
    store.swap([change(brief, "brief", ttl_s=0.05), change(lasting, "lasting", ttl_s=1000)])
    time.sleep(0.1)
    assert texts(store.fetch([brief, lasting])) == [None, "lasting"]
    assert store.swap([change(brief, "again", seen=tag_of(sealed(b"brief")))]) == [False]
    assert store.swap([change(brief, "again")]) == [True]
    assert texts(store.fetch([brief])) == ["again"]


def test_every_text_is_a_key_and_a_large_value_comes_back(store: Store) -> None:
    keys = fresh("h:2:ztf:ZTF18abc", "Ω 'quoted\" %s; --", "a" * 300)
    large = "x" * 3_000_000
    assert store.swap([change(key, large) for key in keys]) == [True] * 3
    assert texts(store.fetch(keys)) == [large] * 3


@settings(
    max_examples=15,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    deadline=None,
    print_blob=True,
)
@given(
    st.lists(
        st.tuples(st.sampled_from("abc"), st.sets(st.integers(0, 20), max_size=3), st.booleans()), max_size=12
    )
)
def test_it_is_a_dictionary_with_compare_and_swap(
    store: Store, steps: list[tuple[str, set[int], bool]]
) -> None:
    keys = dict(zip("abc", fresh(*"abc"), strict=True))
    model: dict[str, bytes] = {}
    for name, number, right in steps:
        value = sealed(repr(sorted(number)).encode())
        seen = tag_of(model.get(name)) if right else b"8 bytes."
        written = store.swap([change(keys[name], repr(sorted(number)), seen=seen)])
        assert written == [right]
        if right:
            model[name] = value
    assert store.fetch([keys[name] for name in "abc"]) == [model.get(name) for name in "abc"]


def test_two_who_merge_at_once_lose_nothing(where: StoreAddress, store: Store, kind: str) -> None:
    (key,) = fresh("shared")
    left: list[set[str]] = []

    def with_number(number: int) -> Update:
        def union(value: bytes | None) -> bytes:
            old = {int(n) for n in value[8:].split()} if value else set()
            return sealed(b" ".join(b"%d" % n for n in sorted(old | {number})))

        return Update(union, None)

    def write(numbers: range, mine: Store) -> None:
        for number in numbers:
            again = {key}
            while again:  # what others were faster with is merged again
                held = {key: mine.fetch([key])[0]}
                again = merge(mine, {key: with_number(number)}, held=held)
        left.append(again)

    others = [store if kind == "memory" else where.open() for _ in range(3)]
    if kind == "memory":  # one process, one thread at a time
        for n, other in enumerate(others):
            write(range(20 * n, 20 * n + 20), other)
    else:
        threads = [
            threading.Thread(target=write, args=(range(20 * n, 20 * n + 20), other))
            for n, other in enumerate(others)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for other in others:
            other.close()
    assert left == [set(), set(), set()]
    assert texts(store.fetch([key])) == [" ".join(map(str, range(60)))]


def test_what_is_merged_twice_is_written_once(store: Store) -> None:
    (key,) = fresh("key")

    new = {key: Update(lambda value: sealed(b"new"), 100)}
    assert merge(store, new, held={key: None}) == set()
    held = {key: store.fetch([key])[0]}
    swaps: list[int] = []

    class Watched:
        def fetch(self, keys: list[str]) -> list[bytes | None]:
            return store.fetch(keys)

        def swap(self, changes: list[object]) -> list[bool]:
            swaps.append(len(changes))
            return [True for _ in changes]

    assert merge(Watched(), new, held=held) == set()  # type: ignore[arg-type]
    assert swaps == []


def test_what_was_never_read_is_not_written(store: Store) -> None:
    (key,) = fresh("key")
    assert merge(store, {key: Update(lambda value: sealed(b""), None)}, held={}) == {key}
    assert store.fetch([key]) == [None]
