# SPDX-License-Identifier: BSD-3-Clause
"""A slot keeps the strangest, in whatever order they come; the likest are found."""

from __future__ import annotations

from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker_plugin.records import Access
from broker_plugin.store.base import CorruptValueError, sealed
from broker_plugin.store.recent import (
    PER_SLOT,
    SLOT_S,
    WITHDRAWN_PER_SLOT,
    Recent,
    merged_recents,
    merged_withdrawn,
    nearest,
    recents_in,
    slot_keys,
    withdrawn_in,
    withdrawn_keys,
)

PUBLIC = frozenset({Access.PUBLIC})


def recent(number: int, *, p_value: float = 0.01, object_id: str = "") -> Recent:
    vector = np.random.default_rng(number).normal(size=8)
    return Recent(
        alert_key=f"ztf:{number}",
        object_id=object_id or f"ztf:object {number}",
        mjd_tai=60_000.0 + number,
        p_value=p_value,
        top_class=None if number % 2 else "EW",
        source_context="stellar",
        embedding=(vector / np.linalg.norm(vector)).astype(np.float16),
    )


@given(
    st.lists(st.tuples(st.integers(0, 300), st.floats(0, 1)), max_size=250, unique_by=lambda each: each[0]),
    st.randoms(),
    st.integers(0, 250),
)
def test_a_slot_keeps_the_strangest_in_any_order(
    given_alerts: list[tuple[int, float]], random: object, cut: int
) -> None:
    alerts = [recent(number, p_value=p_value) for number, p_value in given_alerts]
    whole = merged_recents(None, alerts)
    random.shuffle(alerts)  # type: ignore[attr-defined]
    parts = merged_recents(merged_recents(None, alerts[:cut]), alerts[cut:])
    assert parts == whole == merged_recents(whole, alerts[:3])
    kept = [each.p_value for each in recents_in(whole)]
    assert kept == sorted(each.p_value for each in alerts)[:PER_SLOT]


def test_what_is_kept_comes_back() -> None:
    (back,) = recents_in(merged_recents(None, [recent(7)]))
    for name in ("alert_key", "object_id", "mjd_tai", "p_value", "top_class", "source_context"):
        assert getattr(back, name) == getattr(recent(7), name)
    np.testing.assert_array_equal(back.embedding, recent(7).embedding)


@pytest.mark.parametrize("damage", [b"", b"\xff\xff\xff\xff", merged_recents(None, [recent(1)])[8:-3]])
def test_a_damaged_slot_is_refused_and_begins_anew(damage: bytes) -> None:
    with pytest.raises(CorruptValueError):
        recents_in(sealed(damage))
    assert len(recents_in(merged_recents(sealed(damage), [recent(1)]))) == 1


@given(st.lists(st.text(min_size=1, max_size=9)), st.integers(0, 9), st.randoms(use_true_random=False))
def test_what_is_withdrawn_is_noted_in_any_order(keys: list[str], cut: int, random: Random) -> None:
    whole = merged_withdrawn(None, keys)
    assert withdrawn_in(whole) == set(keys)
    random.shuffle(keys)
    assert merged_withdrawn(merged_withdrawn(None, keys[:cut]), keys[cut:]) == whole


def test_what_is_withdrawn_has_its_bound_and_a_damaged_slot_begins_anew() -> None:
    many = merged_withdrawn(None, [f"lsst:{n}" for n in range(WITHDRAWN_PER_SLOT + 5)])
    assert len(withdrawn_in(many)) == WITHDRAWN_PER_SLOT
    assert withdrawn_in(None) == set()
    for damaged in (b"cut", sealed(b"{"), sealed(b"7"), sealed(b"[[]]")):
        with pytest.raises(CorruptValueError):
            withdrawn_in(damaged)
        assert withdrawn_in(merged_withdrawn(damaged, ["lsst:1"])) == {"lsst:1"}


def test_each_slot_of_alerts_has_one_of_withdrawn_ones_for_all_bundles() -> None:
    now, hours = 5 * SLOT_S, 0.5
    alerts = [slot_keys(bundle, PUBLIC, now=now, hours=hours) for bundle in ("ab", "cd")]
    withdrawn = withdrawn_keys(PUBLIC, now=now, hours=hours)
    for kept in alerts:
        assert [key.rpartition(":")[2] for key in kept] == [key.rpartition(":")[2] for key in withdrawn]
        assert not set(kept) & set(withdrawn)
    assert not set(withdrawn) & set(withdrawn_keys(frozenset(Access), now=now, hours=hours))


def test_the_likest_are_those_of_the_largest_cosine_each_object_once() -> None:
    alerts = [recent(number, object_id=f"ztf:{number % 30}") for number in range(90)]
    found = nearest(alerts[0], alerts, n=5)
    vectors = np.stack([each.embedding for each in alerts]).astype(np.float64)
    cosine = vectors @ vectors[0]
    best = sorted((max(cosine[n::30]) for n in range(1, 30)), reverse=True)[:5]
    np.testing.assert_allclose([similarity for similarity, _ in found], best, atol=1e-3)  # half precision
    assert len({each.object_id for _, each in found}) == 5
    assert nearest(alerts[0], alerts[::30], n=5) == []


def test_slots_go_back_in_time_and_are_apart_by_bundle_and_rights() -> None:
    keys = slot_keys("a" * 64, PUBLIC, now=1e9, hours=12)
    assert len(keys) == len(set(keys)) == 12 * 3600 // SLOT_S + 1
    assert slot_keys("a" * 64, PUBLIC, now=1e9 - SLOT_S)[0] == keys[1]
    assert slot_keys("b" * 64, PUBLIC, now=1e9)[0] not in keys
    assert slot_keys("a" * 64, frozenset(Access), now=1e9)[0] not in keys
