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

SCHEMA = """
CREATE TABLE IF NOT EXISTS kept (key TEXT PRIMARY KEY, value BLOB NOT NULL, expires REAL);
CREATE INDEX IF NOT EXISTS kept_by_expiry ON kept (expires) WHERE expires IS NOT NULL;
"""

TIDY_EVERY_S = 30.0
"""Time between two looks for expired values and for size: so much more than the bound may be in the file."""

TIDY_ROWS = 5_000
"""Most values that go in one tidying, some tens of milliseconds: the stream waits for it."""


class SqliteStore:
    """Values in one table of a file.

    Parameters
    ----------
    path
        The file; made where there is none.
    max_bytes
        Most bytes in use; beyond it go the values that would expire first, which are those that were not
        written for longest. Values without an end stay.
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
        self._tidied = 0.0
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
            self._database.executescript(SCHEMA)

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
        if abs(now - self._tidied) > TIDY_EVERY_S:
            self._tidied = now
            self._tidy(now)
        return done

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    def _write(self, change: Change, now: float) -> bool:
        given: tuple[object, ...]
        expires = None if change.ttl_s is None else now + change.ttl_s
        if change.seen:
            statement = (
                "UPDATE kept SET value = ?, expires = ? WHERE key = ? AND substr(value, 1, ?) = ? "
                "AND (expires IS NULL OR expires > ?)"
            )
            given = (change.value, expires, change.key, TAG_BYTES, change.seen, now)
        else:
            statement = (
                "INSERT INTO kept (value, expires, key) VALUES (?, ?, ?) ON CONFLICT (key) "
                "DO UPDATE SET value = excluded.value, expires = excluded.expires "
                "WHERE kept.expires <= ?"
            )
            given = (change.value, expires, change.key, now)
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

    def _tidy(self, now: float) -> None:
        with _translated(self._path):
            self._database.execute(
                "DELETE FROM kept WHERE rowid IN (SELECT rowid FROM kept WHERE expires <= ? LIMIT ?)",
                (now, TIDY_ROWS),
            )
            if self._bytes_used() > self._max_bytes:
                self._database.execute(
                    "DELETE FROM kept WHERE rowid IN "
                    "(SELECT rowid FROM kept WHERE expires IS NOT NULL ORDER BY expires LIMIT ?)",
                    (TIDY_ROWS,),
                )

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
