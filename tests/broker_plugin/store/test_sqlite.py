# SPDX-License-Identifier: BSD-3-Clause
"""A file keeps to its size: what was not written for longest goes, and what has no end stays."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

import pytest

from broker_plugin.store.base import sealed, tag_of
from broker_plugin.store.sqlite import SqliteStore
from tests.broker_plugin.store.stores import change

DAY_S = 86_400.0
HISTORY_S, SLOT_S = 730 * DAY_S, 0.5 * DAY_S
"""How long an object is remembered, and how long `similar` looks back."""

TABLE_BEFORE = """
CREATE TABLE kept (key TEXT PRIMARY KEY, value BLOB NOT NULL, expires REAL);
CREATE INDEX kept_by_expiry ON kept (expires) WHERE expires IS NOT NULL;
"""
"""A file of 0.1.0 before it noted when a value was written."""


@pytest.fixture
def now() -> list[float]:
    return [1e9]


@pytest.fixture
def opened(tmp_path: Path, now: list[float]) -> Callable[[int], closing[SqliteStore]]:
    """Opens the same file each time."""
    path = tmp_path / "s.sqlite"
    return lambda max_bytes: closing(
        SqliteStore(path, max_bytes=max_bytes, timeout_s=1, clock=lambda: now[0])
    )


def there(store: SqliteStore, keys: Sequence[str]) -> list[bool]:
    return [value is not None for value in store.fetch(keys)]


def histories(first: int, n: int) -> list[str]:
    return [f"object {number}" for number in range(first, first + n)]


def write(store: SqliteStore, keys: Sequence[str], *, n_bytes: int = 1_100, ttl_s: float = HISTORY_S) -> None:
    assert all(store.swap([change(key, "x" * n_bytes, ttl_s=ttl_s) for key in keys]))


def test_a_file_keeps_to_its_size_however_much_comes_in(
    opened: Callable[[int], closing[SqliteStore]], tmp_path: Path, now: list[float]
) -> None:
    with opened(5_000_000) as store:
        for batch in range(100):  # 25,000 new objects in half a minute
            now[0] += 0.3
            write(store, histories(250 * batch, 250))
        kept = there(store, histories(0, 25_000))
        assert kept == sorted(kept)  # the last ones
        assert sum(kept) > 3_000
    assert (tmp_path / "s.sqlite").stat().st_size < 5_500_000


def test_what_was_written_again_counts_as_new_and_what_has_no_end_stays(
    opened: Callable[[int], closing[SqliteStore]], now: list[float]
) -> None:
    with opened(5_000_000) as store:
        store.swap([change("catalogue", "row", ttl_s=None)])
        write(store, histories(0, 500))
        seen = tag_of(sealed(b"x" * 1_100))
        for batch in range(1, 40):
            now[0] += 0.3
            write(store, histories(250 * batch + 250, 250))
            renewed = change("object 7", "x" * 1_100, seen=seen, ttl_s=HISTORY_S)
            assert store.swap([renewed]) == [True]
        assert there(store, ["object 6", "object 7", "object 8", "catalogue"]) == [False, True, False, True]


def test_what_ends_sooner_does_not_go_sooner(
    opened: Callable[[int], closing[SqliteStore]], now: list[float]
) -> None:
    slots = [f"slot {number}" for number in range(20)]
    with opened(5_000_000) as store:
        for batch in range(10):
            now[0] += 0.3
            write(store, histories(250 * batch, 250))
        write(store, slots, n_bytes=50_000, ttl_s=SLOT_S)
        for batch in range(10, 18):
            now[0] += 0.3
            write(store, histories(250 * batch, 250))
        assert there(store, slots) == [True] * 20
        assert not any(there(store, histories(0, 500)))


def test_a_bound_that_was_lowered_is_reached(opened: Callable[[int], closing[SqliteStore]]) -> None:
    with opened(100_000_000) as store:
        write(store, histories(0, 12_000))
    with opened(1_000_000) as store:
        for batch in range(12):
            write(store, histories(20_000 + batch, 1))
        assert 500 < sum(there(store, histories(0, 12_000))) < 1_000


def test_a_file_of_the_version_before_is_taken_over(
    opened: Callable[[int], closing[SqliteStore]], tmp_path: Path, now: list[float]
) -> None:
    with closing(sqlite3.connect(tmp_path / "s.sqlite")) as before:
        before.executescript(TABLE_BEFORE)
        rows = [(key, sealed(b"x" * 1_100), now[0] + HISTORY_S) for key in histories(0, 2_000)]
        before.executemany("INSERT INTO kept VALUES (?, ?, ?)", rows)
        before.execute("INSERT INTO kept VALUES ('catalogue', ?, NULL)", (sealed(b"row"),))
        before.commit()
    with opened(5_000_000) as store, opened(5_000_000) as other:
        assert all(there(store, histories(0, 2_000)))
        assert other.swap([change("object 7", "light", seen=tag_of(rows[7][1]), ttl_s=HISTORY_S)]) == [True]
        write(store, histories(2_000, 2_500))
        kept = there(store, histories(0, 4_500))
        assert kept[7]
        assert kept[2_000:] == [True] * 2_500
        assert sum(kept[:2_000]) < 2_000
        assert there(store, ["catalogue"]) == [True]


def test_expired_values_leave_the_file(
    opened: Callable[[int], closing[SqliteStore]], now: list[float]
) -> None:
    with opened(10**9) as store:
        write(store, histories(0, 50), ttl_s=100)
        now[0] += 1000
        write(store, ["new"], ttl_s=100)
        assert "with 1 values" in store.check()
