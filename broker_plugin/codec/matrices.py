# SPDX-License-Identifier: BSD-3-Clause
"""The room that compiled programs write into, and the columns that are made of it."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from broker_plugin.surveys.columns import Columns, Layout, PacketColumns, columns_of_matrices, width
from broker_plugin.surveys.fields import RecordTable, plain_text

__all__ = ["Matrices"]

ROW_MIN_BYTES = 64
"""Room for rows is made as if each took so many bytes of its message; Rubin's shortest take about a hundred.
Too large, and a batch is read in several turns."""

ROOM_MAX = 200_000
"""Most rows of a table in one turn; they take 60 MB at the most."""

TEXTS_MAX = 50_000
TEXT_ROOM_BYTES = 1_000_000
"""Room for texts in one turn: a name, a version and an asteroid for each of some thousand packets."""

PACKETS, TEXTS, POOL = 0, 1, 2
"""Positions in the counts that a program keeps."""

NUMBERS, OTHERS, USED = 0, 1, 5
"""Positions in a table's line: where its numbers and its other values begin, and how many rows it has."""


class Matrices:
    """Room for one turn.

    Parameters
    ----------
    layout
        What is read.
    n_bytes, n_messages
        Of the messages that are to be read.
    """

    def __init__(self, layout: Layout, n_bytes: int, n_messages: int) -> None:
        self._layout = layout
        room = min(n_bytes // ROW_MIN_BYTES + 1000, ROOM_MAX)
        packets = 2 * n_messages + 100
        heads = [width(table) for table in layout.heads]
        head = sum(numbers for numbers, _ in heads), sum(others for _, others in heads)
        shapes = [(packets, *head), *((room, *width(table)) for table in layout.rows)]
        self._tables = np.zeros((len(shapes), 6), np.int64)
        numbers = others = 0
        for line, (rows, n_numbers, n_others) in zip(self._tables, shapes, strict=True):
            line[:5] = numbers, others, n_numbers, n_others, rows
            numbers += rows * n_numbers
            others += rows * n_others
        self._numbers = np.empty(numbers, np.float64)
        self._others = np.empty(others, np.int64)
        self._message = np.empty(packets, np.int64)
        self._rows = np.empty((packets, len(layout.rows)), np.int64)
        self._counts = np.zeros(4, np.int64)
        self._pool = np.empty(TEXT_ROOM_BYTES, np.uint8)
        self._bounds = np.zeros(TEXTS_MAX + 1, np.int64)

    def arrays(self) -> tuple[Any, ...]:
        """Return what `machine.run_segments` writes into, in its order."""
        return (
            self._numbers, self._others, self._tables, self._message, self._rows, self._counts, self._pool,
            self._bounds,
        )  # fmt: skip

    @property
    def n_packets(self) -> int:
        """Number of packets that were read."""
        return int(self._counts[PACKETS])

    def messages(self) -> NDArray[np.int64]:
        """Return the message of each packet."""
        return self._message[: self.n_packets].copy()

    def columns(self) -> PacketColumns:
        """Return the columns of the packets that were read."""
        texts = self._texts()
        numbers, others = self._block(0, self.n_packets)
        heads: dict[str, Columns] = {}
        for table in self._layout.heads:
            first_number, first_other = self._layout.head_start(table)
            n_numbers, n_others = width(table)
            heads[table.path] = columns_of_matrices(
                numbers[:, first_number : first_number + n_numbers],
                others[:, first_other : first_other + n_others],
                table,
                texts,
            )
        rows: dict[str, Columns] = {}
        packet_of: dict[str, NDArray[np.int64]] = {}
        for place, table in enumerate(self._layout.rows):
            rows[table.path] = self._row_columns(place, table, texts)
            counts = np.diff(self._rows[: self.n_packets, place], prepend=0)
            packet_of[table.path] = np.repeat(np.arange(self.n_packets), counts)
        return PacketColumns(n=self.n_packets, heads=heads, rows=rows, packet_of=packet_of)

    def _row_columns(self, place: int, table: RecordTable, texts: list[str | None]) -> Mapping[str, Any]:
        numbers, others = self._block(place + 1, int(self._tables[place + 1, USED]))
        return columns_of_matrices(numbers, others, table, texts)

    def _block(self, table: int, n_rows: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        line = self._tables[table]
        n_numbers, n_others = line[2:4]
        numbers = self._numbers[line[NUMBERS] : line[NUMBERS] + n_rows * n_numbers]
        others = self._others[line[OTHERS] : line[OTHERS] + n_rows * n_others]
        return numbers.reshape(n_rows, n_numbers), others.reshape(n_rows, n_others)

    def _texts(self) -> list[str | None]:
        every = self._pool[: self._counts[POOL]].tobytes().decode("ascii")
        bounds = self._bounds[: self._counts[TEXTS] + 1].tolist()
        texts = [every[begin:end] for begin, end in pairwise(bounds)]
        meaning = {text: plain_text(text) for text in set(texts)}
        return [meaning[text] for text in texts]
