# SPDX-License-Identifier: BSD-3-Clause
"""What waits to be written while a store is away."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from broker_plugin.store.history import NOTHING, Rows, joined

__all__ = ["Backlog"]


class Backlog:
    """Rows by key, the first to wait first; the oldest go when they are too many.

    Parameters
    ----------
    rows_max
        Most rows.

    Attributes
    ----------
    dropped
        Number of rows that went unwritten.
    """

    def __init__(self, *, rows_max: int) -> None:
        self.dropped = 0
        self._rows_max = rows_max
        self._rows: dict[str, Rows] = {}
        self._n_rows = 0

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, key: str) -> Rows:
        return self._rows.get(key, NOTHING)

    def oldest(self, n: int) -> list[str]:
        """Return the keys of those that wait for longest."""
        return [key for key, _ in zip(self._rows, range(n), strict=False)]

    def put(self, new: Mapping[str, Rows]) -> None:
        """Let rows wait."""
        for key, rows in new.items():
            waiting = joined([self[key], rows])
            self._n_rows += len(waiting) - len(self[key])
            self._rows[key] = waiting
        while self._n_rows > self._rows_max:
            lost = self._take(next(iter(self._rows)))
            self.dropped += len(lost)

    def take(self, keys: Iterable[str]) -> dict[str, Rows]:
        """Return those of the keys that wait, and let them wait no longer."""
        return {key: self._take(key) for key in keys if key in self._rows}

    def _take(self, key: str) -> Rows:
        rows = self._rows.pop(key)
        self._n_rows -= len(rows)
        return rows
