# SPDX-License-Identifier: BSD-3-Clause
"""Many messages to columns at once, by compiled programs; whatever these cannot do is left to a full reader.

A message is left over, by its number, where its schema has no program, its bytes are damaged, or it holds no
record. It costs itself only.
"""

from __future__ import annotations

import io
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from broker_plugin.codec.limits import Limits
from broker_plugin.codec.matrices import Matrices
from broker_plugin.codec.packets import CONTAINER_MAGIC, FRAME, FRAME_MAGIC, SYNC_BYTES, ContainerReader
from broker_plugin.codec.program import Program, UnsupportedSchemaError, compile_schema
from broker_plugin.codec.writer_schema import WriterSchema
from broker_plugin.errors import RejectedAlert
from broker_plugin.surveys import epochs
from broker_plugin.surveys.base import ColumnAdapter, SurveyAdapter
from broker_plugin.surveys.columns import Layout, PacketColumns

__all__ = ["BulkReader", "Found", "compiled_kernels", "warm_up"]

PLANS_KEPT = 64
"""Schemas whose programs are kept: a few versions of a few surveys."""

HEADERS_KEPT = 16
"""Headers of containers that are recognised by their bytes: a new message is compared with each in turn."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What was read of some messages of one survey.

    Parameters
    ----------
    message
        The message that each packet came in.
    schemas
        Those of the packets, None for one that is not known.
    schema
        The place of each packet's schema among them.
    """

    adapter: ColumnAdapter
    columns: PacketColumns
    message: NDArray[np.int64]
    schemas: tuple[WriterSchema | None, ...]
    schema: NDArray[np.int64]

    def is_within(self, limits: Limits) -> NDArray[np.bool_]:
        """Return by packet whether its histories, and the number of packets in its message, are allowed."""
        n_epochs = sum(
            (np.bincount(packet, minlength=self.columns.n) for packet in self.columns.packet_of.values()),
            np.zeros(self.columns.n, np.int64),
        )
        n_alerts = np.bincount(self.message)[self.message]
        return np.asarray((n_epochs <= limits.epochs) & (n_alerts <= limits.message_alerts))


@dataclass(frozen=True, slots=True)
class _Plan:
    schema: WriterSchema
    adapter: ColumnAdapter
    program: Program


@dataclass(frozen=True, slots=True)
class _Header:
    """The header of container files: its bytes up to the marker, and what it says."""

    content: bytes
    plan: _Plan | None


@dataclass(slots=True)
class _Group:
    """Messages of one plan: where their bytes are."""

    plan: _Plan
    segments: list[tuple[int, int, int, int, int]] = field(default_factory=list)


class BulkReader:
    """Reads the columns of messages that are container files, or framed with a schema id.

    Parameters
    ----------
    schema_of
        Returns the writer schema of a framed message's schema id.
    adapters
        The surveys to expect, in the order in which they are asked.
    limits
        What a message may be. One of more bytes than values are allowed is left over too: it would have to be
        counted.
    """

    def __init__(
        self,
        *,
        schema_of: Callable[[int], WriterSchema],
        adapters: Sequence[SurveyAdapter],
        limits: Limits,
    ) -> None:
        self._schema_of = schema_of
        self._adapters = tuple(adapters)
        self._max_bytes = min(limits.message_bytes, limits.message_values)
        self._plans: OrderedDict[int, tuple[WriterSchema, _Plan | None]] = OrderedDict()
        self._headers: list[_Header] = []

    def read(self, values: Sequence[bytes]) -> Iterator[Found]:
        """Yield the columns of messages, survey by survey; what is not among them is left over.

        Raises
        ------
        TransientError
            If `schema_of` raises it.
        """
        import pyarrow as pa  # takes 0.2 s

        groups: dict[int, _Group] = {}
        alive = []
        for message, value in enumerate(values):
            if not 0 < len(value) <= self._max_bytes:
                continue
            try:
                plan, begin, records = self._planned(value)
            except RejectedAlert:
                continue
            if plan is None:
                continue
            buffer = pa.py_buffer(value)
            alive.append(buffer)
            group = groups.setdefault(id(plan), _Group(plan))
            group.segments.append((buffer.address, len(value), begin, records, message))
        by_adapter: dict[int, list[_Group]] = {}
        for group in groups.values():
            by_adapter.setdefault(id(group.plan.adapter), []).append(group)
        for together in by_adapter.values():
            yield from _read_groups(together, len(values))
        del alive

    def _planned(self, value: bytes) -> tuple[_Plan | None, int, int]:
        """Return how a message is to be read, where its records begin and how many there are."""
        if value.startswith(CONTAINER_MAGIC):
            header = self._header(value)
            return header.plan, len(header.content), -1
        if value[0] == FRAME_MAGIC and len(value) > FRAME.size:
            _, schema_id = FRAME.unpack_from(value)
            return self._plan(self._schema_of(schema_id)), FRAME.size, 1
        return None, 0, 0

    def _header(self, value: bytes) -> _Header:
        for place, header in enumerate(self._headers):
            if value.startswith(header.content):
                if place:
                    self._headers.insert(0, self._headers.pop(place))
                return header
        source = io.BytesIO(value)
        reader = ContainerReader(source, max_bytes=self._max_bytes)
        content = value[: source.tell() - SYNC_BYTES]
        plan = self._plan(reader.writer_schema) if reader.codec == b"null" else None
        self._headers = [_Header(content, plan), *self._headers[: HEADERS_KEPT - 1]]
        return self._headers[0]

    def _plan(self, schema: WriterSchema) -> _Plan | None:
        kept = self._plans.get(id(schema))
        if kept is None:
            kept = self._plans[id(schema)] = schema, self._made(schema)
            if len(self._plans) > PLANS_KEPT:
                self._plans.popitem(last=False)
        return kept[1]

    def _made(self, schema: WriterSchema) -> _Plan | None:
        adapter = _adapter_of(schema, self._adapters)
        if not isinstance(adapter, ColumnAdapter):
            return None
        try:
            return _Plan(schema, adapter, compile_schema(schema, adapter.layout))
        except UnsupportedSchemaError:
            return None


def warm_up() -> None:
    """Compile machine and adapters, or load them from their cache: seconds at the first start, one later."""
    from broker_plugin.codec.machine import run_segments

    epochs.warm_up()

    matrices = Matrices(Layout(heads=(), rows=()), 0, 0)
    nothing = np.zeros((0, 5), np.int64)
    run_segments(np.zeros((1, 4), np.int64), nothing, 0, np.zeros(0, np.bool_), *matrices.arrays())


def compiled_kernels() -> tuple[Path, bool]:
    """Return the folder of the machine's compiled code, and whether that of the adapters is there too."""
    from broker_plugin.codec.machine import run_segments
    from broker_plugin.kernels import are_compiled

    place, is_there = are_compiled(run_segments)
    return place, is_there and epochs.compiled_kernels()[1]


def _adapter_of(schema: WriterSchema, adapters: Sequence[SurveyAdapter]) -> SurveyAdapter | None:
    """Return the adapter that would take every packet of a schema."""
    parsed = schema.parsed
    members = parsed.get("fields", ()) if isinstance(parsed, dict) else ()
    names = [member["name"] for member in members]
    able = [adapter for adapter in adapters if set(adapter.marks) <= set(names)]
    return able[0] if len(able) == 1 else None


def _read_groups(groups: Sequence[_Group], n_messages: int) -> Iterator[Found]:
    """Yield what the messages of some plans of one adapter hold, as much at a time as there is room for."""
    from broker_plugin.codec.machine import run_segments  # compiles

    adapter = groups[0].plan.adapter
    segments = [np.array(group.segments, np.int64) for group in groups]
    given_up = np.zeros(n_messages, np.bool_)
    at, first = 0, 0
    while at < len(groups):
        rest = [segments[at][first:], *segments[at + 1 :]]
        n_bytes = sum(int(each[:, 1].sum()) for each in rest)
        matrices = Matrices(adapter.layout, n_bytes, sum(map(len, rest)))
        begun, schema = (at, first), np.zeros(0, np.int64)
        while at < len(groups):
            first = run_segments(
                groups[at].plan.program.code, segments[at], first, given_up, *matrices.arrays()
            )
            schema = np.append(schema, np.full(matrices.n_packets - len(schema), at))
            if first < len(segments[at]):
                break
            at, first = at + 1, 0
        if matrices.n_packets:
            yield Found(
                adapter=adapter,
                columns=matrices.columns(),
                message=matrices.messages(),
                schemas=tuple(group.plan.schema for group in groups),
                schema=schema,
            )
        elif (at, first) == begun:  # too much for empty matrices: left over
            first += int((segments[at][first:, 4] == segments[at][first, 4]).sum())
            if first == len(segments[at]):
                at, first = at + 1, 0
