# SPDX-License-Identifier: BSD-3-Clause
"""What a subscriber knows of objects: the last verdict that was news, and which it was told of."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from broker_plugin.codec.verdict import Verdict
from broker_plugin.errors import ConfigurationError

__all__ = ["CHANGE_FACTOR", "Known", "ObjectMemory", "differs"]

CHANGE_FACTOR = 3.0
"""Factor between two p-values that counts as a change. Less, and the noise of one more epoch is news; more,
and an object that turns strange slowly is told of late."""

LAYOUT = """
CREATE TABLE IF NOT EXISTS objects (
    object_id TEXT PRIMARY KEY, top_class TEXT, p_value REAL NOT NULL, told INTEGER NOT NULL,
    alert_key TEXT NOT NULL DEFAULT ''
) WITHOUT ROWID
"""

TOLD = "CREATE TABLE IF NOT EXISTS alerts (number INTEGER PRIMARY KEY, alert_key TEXT NOT NULL UNIQUE)"
"""The alerts that the subscriber was told of, numbered as they came."""

TOLD_MAX = 100_000
"""Alerts that the subscriber is known to be told of, the last ones: some 10 MB. The retraction of an earlier
one comes only if it fits the conditions by itself, or its object is known."""

FORGET_FIRST = "DELETE FROM alerts WHERE number <= (SELECT max(number) FROM alerts) - ?"

LATER = "ALTER TABLE objects ADD COLUMN alert_key TEXT NOT NULL DEFAULT ''"
"""Brings a file of an earlier version up to date."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What was last news of an object.

    Parameters
    ----------
    told
        Whether the subscriber was told of the object.
    alert_key
        The alert of that verdict; empty in what an earlier version wrote.
    """

    top_class: str | None
    p_value: float
    told: bool = False
    alert_key: str = ""


class ObjectMemory:
    """Remembers objects, in a file if what was told is to be known after a restart.

    Parameters
    ----------
    path
        An SQLite file, made if it is not there; without one the memory lasts as long as this object.

    Raises
    ------
    ConfigurationError
        If the file cannot be used.

    Examples
    --------
    >>> with ObjectMemory() as memory:
    ...     memory.note("ztf:ZTF18abcdefg", Known(top_class="EW", p_value=0.5))
    ...     memory.of("ztf:ZTF18abcdefg"), memory.of("lsst:7")
    (Known(top_class='EW', p_value=0.5, told=False, alert_key=''), None)
    """

    def __init__(self, path: Path | str | None = None) -> None:
        self._path = path
        with self._explained():
            # Closed by whoever ends the subscription, which may be another thread than the one that reads.
            self._database = sqlite3.connect(path or ":memory:", check_same_thread=False)
            self._database.execute(LAYOUT)
            self._database.execute(TOLD)
            if "alert_key" not in {row[1] for row in self._database.execute("PRAGMA table_info(objects)")}:
                self._database.execute(LATER)
            self._database.commit()

    def of(self, object_id: str) -> Known | None:
        """Return what is known of an object."""
        found = self._database.execute(
            "SELECT top_class, p_value, told, alert_key FROM objects WHERE object_id = ?", (object_id,)
        ).fetchone()
        if found is None:
            return None
        return Known(top_class=found[0], p_value=found[1], told=bool(found[2]), alert_key=found[3])

    def note(self, object_id: str, known: Known) -> None:
        """Remember an object."""
        row = object_id, known.top_class, known.p_value, int(known.told), known.alert_key
        with self._explained():
            self._database.execute("INSERT OR REPLACE INTO objects VALUES (?, ?, ?, ?, ?)", row)

    def forget(self, object_id: str) -> None:
        """Know nothing of an object any more."""
        with self._explained():
            self._database.execute("DELETE FROM objects WHERE object_id = ?", (object_id,))

    def was_told(self, alert_key: str) -> bool:
        """Tell whether the subscriber was told of an alert, as far as is known."""
        found = self._database.execute("SELECT 1 FROM alerts WHERE alert_key = ?", (alert_key,))
        return found.fetchone() is not None

    def note_told(self, alert_key: str) -> None:
        """Remember that the subscriber was told of an alert."""
        with self._explained():
            self._database.execute("INSERT OR REPLACE INTO alerts (alert_key) VALUES (?)", (alert_key,))
            self._database.execute(FORGET_FIRST, (TOLD_MAX,))

    def forget_told(self, alert_key: str) -> None:
        """Know of an alert no more that the subscriber was told of it."""
        with self._explained():
            self._database.execute("DELETE FROM alerts WHERE alert_key = ?", (alert_key,))

    def save(self) -> None:
        """Make what was noted last."""
        with self._explained():
            self._database.commit()

    def close(self) -> None:
        """Forget what was not saved."""
        self._database.close()

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise ConfigurationError(
                f"cannot use {self._path} as the memory of objects: {error}",
                remedy="give each subscription a file of its own, that can be written",
            ) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def differs(verdict: Verdict, known: Known, *, factor: float = CHANGE_FACTOR) -> bool:
    """Tell whether a verdict says something else than what is known: another class, or other odds."""
    if verdict.top_class != known.top_class:
        return True
    if not (verdict.anomaly_p_value > 0.0 and known.p_value > 0.0):
        return verdict.anomaly_p_value != known.p_value
    return abs(math.log(verdict.anomaly_p_value / known.p_value)) >= math.log(factor)
