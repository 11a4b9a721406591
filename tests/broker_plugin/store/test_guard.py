# SPDX-License-Identifier: BSD-3-Clause
"""A file that another process locks: the guard waits so long and no longer, and tries again seldom."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from broker_plugin.errors import ConfigurationError, StoreError
from broker_plugin.store.address import StoreAddress
from broker_plugin.store.guard import LONGEST_PAUSE_S, GuardedStore
from broker_plugin.store.sqlite import SqliteStore
from tests.broker_plugin.store.stores import change, texts


class Clock:
    """Time that passes when it is told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "store.sqlite"
    SqliteStore(path, max_bytes=10**9, timeout_s=1).close()
    return path


@pytest.fixture
def other(file: Path) -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(file, isolation_level=None)
    yield connection
    connection.close()


def guarded(file: Path, clock: Clock, timeout_s: float = 5.0) -> GuardedStore:
    address = StoreAddress(text=f"sqlite:{file}", timeout_s=0.05)
    return GuardedStore(address.open, timeout_s=timeout_s, clock=clock)


def test_pauses_double_up_to_half_a_minute_and_end_with_success(
    file: Path, other: sqlite3.Connection, clock: Clock
) -> None:
    store = guarded(file, clock)
    other.execute("BEGIN EXCLUSIVE")
    calls = []
    for _ in range(200):
        clock.now += 1.0
        with pytest.raises(StoreError):
            store.swap([change("key", "light")])
        calls.append(store.errors["write"])
    assert calls[0] == 1
    pauses = [second for second in range(1, 200) if calls[second] > calls[second - 1]]
    assert [later - sooner for sooner, later in zip([0, *pauses], pauses, strict=False)] == [
        1, 2, 4, 8, 16, *[int(LONGEST_PAUSE_S)] * 5
    ]  # fmt: skip
    other.execute("ROLLBACK")
    clock.now += LONGEST_PAUSE_S
    assert store.swap([change("key", "light")]) == [True]
    assert not store.away
    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(StoreError):
        store.swap([change("key", "more")])
    clock.now += 1.5  # the first pause is short again
    other.execute("ROLLBACK")
    assert texts(store.fetch(["key"])) == ["light"]
    store.close()


def test_a_call_that_hangs_is_abandoned_and_the_store_opened_anew(
    file: Path, other: sqlite3.Connection, clock: Clock
) -> None:
    address = StoreAddress(text=f"sqlite:{file}", timeout_s=60.0)
    store = GuardedStore(address.open, timeout_s=1.0, clock=clock)
    assert store.fetch(["key"]) == [None]
    other.execute("BEGIN EXCLUSIVE")  # sqlite would wait for a minute
    with pytest.raises(StoreError, match="did not return"):
        store.swap([change("key", "late")])
    other.execute("ROLLBACK")
    clock.now += 2.0
    deadline = time.monotonic() + 30
    while texts(store.fetch(["key"])) != ["late"] and time.monotonic() < deadline:
        time.sleep(0.05)  # the abandoned call ends in the background, harmlessly
    assert store.errors == {"write": 1}
    store.close()


def test_a_store_that_can_never_open_is_away_like_any_other(tmp_path: Path, clock: Clock) -> None:
    (tmp_path / "store.sqlite").write_bytes(b"no database, but longer than the header of one" * 100)
    store = guarded(tmp_path / "store.sqlite", clock)
    with pytest.raises(StoreError, match="move it away"):
        store.fetch(["key"])
    assert store.away
    store.close()


@pytest.mark.parametrize("text", ["", "oracle", "redis", "http://host", "sqlite3:x", "None"])
def test_an_unknown_store_is_refused_with_those_that_there_are(text: str) -> None:
    with pytest.raises(ConfigurationError, match=r"none, memory, sqlite, sqlite:PATH"):
        StoreAddress(text=text)


def test_a_file_in_no_directory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="no directory"):
        StoreAddress(text=f"sqlite:{tmp_path / 'none' / 'store.sqlite'}").open()
