# SPDX-License-Identifier: BSD-3-Clause
"""A store in a file, by SQLite: needs no server, survives restarts, can be shared by processes of one host.

One statement or one transaction a batch is the round trip here. A file on a network drive is no place for it:
locks are not to be trusted there.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from broker_plugin.errors import ConfigurationError, StoreError
from broker_plugin.store.base import TAG_BYTES, Change

__all__ = ["SqliteStore"]

TABLE = """
CREATE TABLE IF NOT EXISTS kept (key TEXT PRIMARY KEY, value BLOB NOT NULL, expires REAL, written REAL)
"""

ADD_WRITTEN = "ALTER TABLE kept ADD COLUMN written REAL"
"""For a file of a version without that column: what it holds counts as older than all that comes."""

INDEXES = (
    "CREATE INDEX IF NOT EXISTS kept_by_expiry ON kept (expires) WHERE expires IS NOT NULL",
    "CREATE INDEX IF NOT EXISTS kept_by_age ON kept (written) WHERE expires IS NOT NULL",
)

TIDY_ROWS = 1_000
"""Most values that go with a batch, some ten milliseconds: the stream waits for it. With a larger batch go
twice as many as it has, so that a file that is too large shrinks whatever comes in."""

TIDY_STEP_ROWS = 50
"""Values that go before the size is looked at again: by so much the file may fall short of the bound."""


class SqliteStore:
    """Values in one table of a file.

    Parameters
    ----------
    path
        The file; made where there is none.
    max_bytes
        Most bytes in use; beyond it go the values that were not written for longest, whenever they would
        expire. Values without an end stay.
    timeout_s
        Longest wait for another process's lock.
    clock
        Seconds since any moment that is the same for all processes.
    """

    def __init__(
        self, path: Path, *, max_bytes: int, timeout_s: float, clock: Callable[[], float] = time.time
    ) -> None:
        self._path = path
        self._max_bytes = max_bytes
        self._clock = clock
        if not path.parent.is_dir():
            raise ConfigurationError(
                f"no directory {path.parent} for the store", remedy="make it, or name another"
            )
        with _translated(path):
            # The guard calls from threads of its own, never two at a time.
            self._database = sqlite3.connect(
                path, timeout=timeout_s, isolation_level=None, check_same_thread=False
            )
            # Written through at checkpoints only: a power cut loses the last batches, which come again with
            # the next packets, and damages nothing.
            self._database.execute("PRAGMA journal_mode=WAL")
            self._database.execute("PRAGMA synchronous=NORMAL")
            self._set_up()

    def check(self) -> str:
        """Return what answers."""
        with _translated(self._path):
            (count,) = self._database.execute("SELECT count(*) FROM kept").fetchone()
        return f"SQLite file {self._path} with {count:,} values, {self._bytes_used() / 1e6:,.1f} MB"

    def fetch(self, keys: Sequence[str]) -> list[bytes | None]:
        """Return the value of each key."""
        with _translated(self._path):
            rows = self._database.execute(
                "SELECT key, value FROM kept WHERE key IN (SELECT value FROM json_each(?)) "
                "AND (expires IS NULL OR expires > ?)",
                (json.dumps(list(keys)), self._clock()),
            ).fetchall()
        found = dict(rows)
        return [found.get(key) for key in keys]

    def swap(self, changes: Sequence[Change]) -> list[bool]:
        """Write each value whose key still holds what was seen."""
        now = self._clock()
        with _translated(self._path), self._transaction():
            done = [self._write(change, now) for change in changes]
            self._tidy(now, rows_max=max(TIDY_ROWS, 2 * len(changes)))
        return done

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    def _set_up(self) -> None:
        if self._is_set_up():
            return
        with self._transaction():
            self._database.execute(TABLE)
            if not self._is_set_up():
                self._database.execute(ADD_WRITTEN)
            for index in INDEXES:
                self._database.execute(index)

    def _is_set_up(self) -> bool:
        columns = self._database.execute("PRAGMA table_info(kept)").fetchall()
        return any(name == "written" for _, name, *_ in columns)

    def _write(self, change: Change, now: float) -> bool:
        given: tuple[object, ...]
        expires = None if change.ttl_s is None else now + change.ttl_s
        if change.seen:
            statement = (
                "UPDATE kept SET value = ?, expires = ?, written = ? "
                "WHERE key = ? AND substr(value, 1, ?) = ? AND (expires IS NULL OR expires > ?)"
            )
            given = (change.value, expires, now, change.key, TAG_BYTES, change.seen, now)
        else:
            statement = (
                "INSERT INTO kept (value, expires, written, key) VALUES (?, ?, ?, ?) ON CONFLICT (key) "
                "DO UPDATE SET value = excluded.value, expires = excluded.expires, "
                "written = excluded.written WHERE kept.expires <= ?"
            )
            given = (change.value, expires, now, change.key, now)
        return self._database.execute(statement, given).rowcount == 1

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._database.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._database.execute("ROLLBACK")
            raise
        self._database.execute("COMMIT")

    def _tidy(self, now: float, *, rows_max: int) -> None:
        self._database.execute(
            "DELETE FROM kept WHERE rowid IN (SELECT rowid FROM kept WHERE expires <= ? LIMIT ?)",
            (now, rows_max),
        )
        for _ in range(0, rows_max, TIDY_STEP_ROWS):
            if self._bytes_used() <= self._max_bytes:
                return
            gone = self._database.execute(
                "DELETE FROM kept WHERE rowid IN "
                "(SELECT rowid FROM kept WHERE expires IS NOT NULL ORDER BY written LIMIT ?)",
                (TIDY_STEP_ROWS,),
            ).rowcount
            if not gone:
                return

    def _bytes_used(self) -> int:
        (pages,) = self._database.execute("PRAGMA page_count").fetchone()
        (free,) = self._database.execute("PRAGMA freelist_count").fetchone()
        (page_bytes,) = self._database.execute("PRAGMA page_size").fetchone()
        return int((pages - free) * page_bytes)


@contextmanager
def _translated(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.OperationalError as error:
        raise StoreError(f"the store {path} failed: {error}") from error
    except sqlite3.Error as error:
        raise ConfigurationError(
            f"{path} cannot be used as a store: {error}", remedy="move it away, and a new one is made"
        ) from error
