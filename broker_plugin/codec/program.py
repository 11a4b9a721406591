# SPDX-License-Identifier: BSD-3-Clause
"""From a writer schema to a program that reads a few fields of a record and steps over the rest.

A program is an array of instructions, each of four integers: what to do, and three operands. The machine in
`codec.machine` runs it. What is asked for is a `Layout`: the fields of single records (one row of columns a
packet) and of the records in arrays (one row an element). A nullable field is one instruction, and a run of
unwanted nullable numbers is one instruction for all of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from broker_plugin.codec.writer_schema import RECORDS, WriterSchema
from broker_plugin.surveys.columns import Layout
from broker_plugin.surveys.fields import Field, Kind, RecordTable

__all__ = ["MARKED_ROW", "Op", "Program", "UnsupportedSchemaError", "compile_schema"]

INSTRUCTIONS_MAX = 20_000
"""Longest program; surveys have a few hundred instructions. A type that is used twice is compiled twice, so
that a schema of a few lines could ask for a program without end."""

UNION_MAX = 64
"""Most branches of a union: the machine reads its index from one byte."""

FIXED_MAX_BYTES = 2**31
"""Largest fixed type: the sum over a program must be far from overflowing."""

NOT_NULLABLE = -1

MARKED_ROW = 1
"""Third operand of a text that is one of a few that repeat, as those of epochs do."""


class Op(IntEnum):
    """What an instruction does. `null` is the index of the union's null branch, or -1 without a union."""

    END = 0
    SKIP_INTEGER = 1  # null
    SKIP_BYTES_OF = 2  # null, size
    SKIP_SIZED = 3  # null
    SKIP_TEXT = 4  # null
    SKIP_BOOLEAN = 5  # null
    SKIP_ENUM = 6  # null, number of symbols
    SKIP_NULLABLE_RUN = 7  # null, size, how many
    READ_FLOAT = 8  # null, column
    READ_DOUBLE = 9  # null, column
    READ_INTEGER_AS_NUMBER = 10  # null, column
    READ_INTEGER = 11  # null, column
    READ_TEXT = 12  # null, column, whether it repeats
    READ_CODED_INTEGER = 13  # null, column
    READ_CODED_BOOLEAN = 14  # null, column
    MARK_OTHER = 15  # -, column
    UNION = 16  # -, number of branches; as many JUMPs follow
    JUMP = 17  # -, target
    ARRAY = 18  # null, behind its end, table or -1
    MAP = 19  # null, behind its end, -1
    NEXT = 20  # -, its ARRAY or MAP


class UnsupportedSchemaError(ValueError):
    """A schema does something that programs cannot; the packets must be read whole."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Program:
    """Instructions, shape (I, 4), and what they read."""

    code: NDArray[np.int64]
    layout: Layout


def compile_schema(schema: WriterSchema, layout: Layout) -> Program:
    """Return the program that reads the fields of a layout.

    Raises
    ------
    UnsupportedSchemaError
        If the schema has a feature that programs do not have, or not the shape that the layout expects.

    Examples
    --------
    >>> from broker_plugin.codec.writer_schema import vet
    >>> x = {"name": "x", "type": ["null", "double"]}
    >>> schema = vet({"type": "record", "name": "a", "fields": [x]})
    >>> head = RecordTable(path="", fields=(Field(name="our_x", path="x"),))
    >>> compile_schema(schema, Layout(heads=(head,), rows=())).code.tolist()
    [[9, 0, 0, 0], [0, 0, 0, 0]]
    """
    compiler = _Compiler(layout=layout)
    compiler.learn(schema.parsed)
    compiler.packet(schema.parsed)
    compiler.emit(Op.END)
    return Program(code=np.array(_fused(compiler.code), np.int64), layout=layout)


FIXED_SIZE = {"float": 4, "double": 8}
INTEGERS = ("int", "long")


@dataclass(slots=True)
class _Compiler:
    layout: Layout
    code: list[list[int]] = field(default_factory=list)
    named: dict[str, Any] = field(default_factory=dict)

    def learn(self, node: Any) -> None:
        """Note every definition of a named type."""
        for inner in _children(node):
            self.learn(inner)
        if isinstance(node, Mapping) and "name" in node:
            self.named[node["name"]] = node

    def emit(self, op: Op, null: int = 0, second: int = 0, third: int = 0) -> int:
        if len(self.code) >= INSTRUCTIONS_MAX:
            raise UnsupportedSchemaError("its program would be too long")
        self.code.append([int(op), null, second, third])
        return len(self.code) - 1

    def packet(self, node: Any) -> None:
        top = self.resolved(node)
        if not _is_record(top):
            raise UnsupportedSchemaError("its top type is not a record")
        heads = {table.path: table for table in self.layout.heads}
        rows = {table.path: table for table in self.layout.rows}
        own = _wanted(heads[""].fields) if "" in heads else {}
        for member in _members(top):
            path = member["name"]
            if path in heads and path in own:
                raise UnsupportedSchemaError("a field is both a record and a value")
            if path in heads:
                self.branches(member["type"], lambda kind, table=heads[path]: self.head(kind, table))
            elif path in rows:
                number = self.layout.rows.index(rows[path])
                self.rows(member["type"], rows[path], number)
            else:
                self.value(member["type"], own.get(path), self.columns_of(heads.get("")))

    def head(self, kind: Any, table: RecordTable) -> None:
        kind = self.resolved(kind)
        if _is_record(kind):
            self.record(kind, table, self.columns_of(table))
        else:
            self.skip(kind, NOT_NULLABLE)

    def rows(self, node: Any, table: RecordTable, number: int) -> None:
        null, kind = self.nullable(node)
        kind = self.resolved(kind)
        if not (isinstance(kind, Mapping) and kind.get("type") == "array"):
            raise UnsupportedSchemaError("a table is not an array")
        items = self.resolved(kind["items"])
        if not _is_record(items):
            raise UnsupportedSchemaError("a table's rows are not records")
        begin = self.emit(Op.ARRAY, null, 0, number)
        self.record(items, table, _columns(table, 0, 0))
        self.close(begin)

    def record(self, kind: Any, table: RecordTable, columns: Mapping[str, int]) -> None:
        wanted = _wanted(table.fields)
        for member in _members(kind):
            self.value(member["type"], wanted.get(member["name"]), columns, repeats=table in self.layout.rows)

    def columns_of(self, table: RecordTable | None) -> Mapping[str, int]:
        return {} if table is None else _columns(table, *self.layout.head_start(table))

    def value(
        self, node: Any, wanted: Field | None, columns: Mapping[str, int], *, repeats: bool = False
    ) -> None:
        """Read a value into its column, or step over it."""
        if wanted is None:
            null, kind = self.nullable(node)
            self.skip(kind, null)
            return
        column = columns[wanted.name]
        null, kind = self.nullable(node)
        if isinstance(self.resolved(kind), list):
            self.union(kind, lambda branch: self.read(branch, NOT_NULLABLE, wanted, column, repeats=repeats))
        else:
            self.read(kind, null, wanted, column, repeats=repeats)

    def read(self, node: Any, null: int, wanted: Field, column: int, *, repeats: bool) -> None:
        kind = self.resolved(node)
        if kind == "null":
            return
        op = _READ.get((wanted.kind, kind)) if isinstance(kind, str) else None
        if op is not None:
            self.emit(op, null, column, MARKED_ROW if repeats else 0)
        elif null != NOT_NULLABLE:
            self.union(
                ["null", node] if null == 0 else [node, "null"],
                lambda branch: self.read(branch, NOT_NULLABLE, wanted, column, repeats=repeats),
            )
        else:
            if not isinstance(kind, str) and kind["type"] == "enum":
                raise UnsupportedSchemaError("a wanted field is an enum")
            self.skip(kind, NOT_NULLABLE)
            if wanted.kind is Kind.INTEGER:
                self.emit(Op.MARK_OTHER, 0, column)

    def skip(self, node: Any, null: int) -> None:
        """Step over a value."""
        kind = self.resolved(node)
        if isinstance(kind, list):
            self.union(kind, lambda branch: self.skip(branch, NOT_NULLABLE))
        elif kind == "null":
            return
        elif isinstance(kind, str):
            self.skip_primitive(kind, null)
        elif kind["type"] == "enum":
            self.emit(Op.SKIP_ENUM, null, len(kind["symbols"]))
        elif kind["type"] == "fixed":
            if kind["size"] > FIXED_MAX_BYTES:
                raise UnsupportedSchemaError("a fixed type is too large")
            self.emit(Op.SKIP_BYTES_OF, null, kind["size"])
        elif kind["type"] in ("array", "map"):
            begin = self.emit(Op.ARRAY if kind["type"] == "array" else Op.MAP, null, 0, -1)
            inner_null, inner = self.nullable(kind["items"] if kind["type"] == "array" else kind["values"])
            self.skip(inner, inner_null)
            self.close(begin)
        elif null != NOT_NULLABLE:
            self.union(["null", kind] if null == 0 else [kind, "null"], lambda b: self.skip(b, NOT_NULLABLE))
        else:
            for member in _members(kind):
                inner_null, inner = self.nullable(member["type"])
                self.skip(inner, inner_null)

    def skip_primitive(self, kind: str, null: int) -> None:
        if kind in FIXED_SIZE:
            self.emit(Op.SKIP_BYTES_OF, null, FIXED_SIZE[kind])
        elif kind in INTEGERS:
            self.emit(Op.SKIP_INTEGER, null)
        else:
            self.emit(
                {"string": Op.SKIP_TEXT, "bytes": Op.SKIP_SIZED, "boolean": Op.SKIP_BOOLEAN}[kind], null
            )

    def branches(self, node: Any, each: Any) -> None:
        """Compile a type, or each branch of a union, by `each`."""
        kind = self.resolved(node)
        if isinstance(kind, list):
            self.union(kind, each)
        else:
            each(kind)

    def union(self, branches: Sequence[Any], each: Any) -> None:
        if len(branches) > UNION_MAX:
            raise UnsupportedSchemaError("a union has too many branches")
        self.emit(Op.UNION, 0, len(branches))
        jumps = [self.emit(Op.JUMP) for _ in branches]
        ends = []
        for jump, branch in zip(jumps, branches, strict=True):
            self.code[jump][2] = len(self.code)
            if self.resolved(branch) != "null":
                each(branch)
            ends.append(self.emit(Op.JUMP))
        for end in ends:
            self.code[end][2] = len(self.code)

    def close(self, begin: int) -> None:
        self.emit(Op.NEXT, 0, begin)
        self.code[begin][2] = len(self.code)

    def nullable(self, node: Any) -> tuple[int, Any]:
        """Return the place of null in a union of it and one type, and that type; any other type as it is."""
        kind = self.resolved(node)
        if isinstance(kind, list) and len(kind) == 2 and "null" in kind:
            null = kind.index("null")
            return null, kind[1 - null]
        return NOT_NULLABLE, kind

    def resolved(self, node: Any) -> Any:
        """Return what a name or a wrapper stands for: a primitive's name, a union or a definition."""
        for _ in range(len(self.named) + 2):
            if isinstance(node, str) and node in self.named:
                node = self.named[node]
            elif isinstance(node, Mapping) and not isinstance(node.get("type"), str):
                node = node.get("type")
            elif isinstance(node, Mapping) and node["type"] in PLAIN:
                node = node["type"]
            else:
                return node
        raise UnsupportedSchemaError("a name stands for itself")


PLAIN = frozenset({"null", "boolean", "int", "long", "float", "double", "bytes", "string"})

_READ = {
    (Kind.NUMBER, "float"): Op.READ_FLOAT,
    (Kind.NUMBER, "double"): Op.READ_DOUBLE,
    (Kind.NUMBER, "int"): Op.READ_INTEGER_AS_NUMBER,
    (Kind.NUMBER, "long"): Op.READ_INTEGER_AS_NUMBER,
    (Kind.INTEGER, "int"): Op.READ_INTEGER,
    (Kind.INTEGER, "long"): Op.READ_INTEGER,
    (Kind.TEXT, "string"): Op.READ_TEXT,
    (Kind.ANY, "string"): Op.READ_TEXT,
    (Kind.ANY, "int"): Op.READ_CODED_INTEGER,
    (Kind.ANY, "long"): Op.READ_CODED_INTEGER,
    (Kind.ANY, "boolean"): Op.READ_CODED_BOOLEAN,
}


def _is_record(kind: Any) -> bool:
    return isinstance(kind, Mapping) and kind.get("type") in RECORDS


def _members(record: Any) -> list[Any]:
    members: list[Any] = record["fields"]
    if len({member["name"] for member in members}) < len(members):
        raise UnsupportedSchemaError("a record has two fields of one name")
    return members


def _children(node: Any) -> Iterator[Any]:
    if isinstance(node, list):
        yield from node
    elif isinstance(node, Mapping):
        yield from (member["type"] for member in node.get("fields", ()))
        yield from (node[key] for key in ("items", "values", "type") if key in node and node[key] is not node)


def _wanted(fields: Sequence[Field]) -> dict[str, Field]:
    return {entry.path: entry for entry in fields if entry.kind is not Kind.PRESENCE}


def _columns(table: RecordTable, first_number: int, first_integer: int) -> dict[str, int]:
    """Return the column of each field: numbers are counted by themselves, all others together."""
    found: dict[str, int] = {}
    for entry in table.fields:
        if entry.kind is Kind.NUMBER:
            found[entry.name], first_number = first_number, first_number + 1
        elif entry.kind is not Kind.PRESENCE:
            found[entry.name], first_integer = first_integer, first_integer + 1
    return found


def _fused(code: list[list[int]]) -> list[list[int]]:
    """Return the code with neighbouring skips of one kind made into one, and its targets moved along."""
    targets = {line[2] for line in code if line[0] in (Op.JUMP, Op.ARRAY, Op.MAP)}
    targets |= {line[2] for line in code if line[0] == Op.NEXT}
    # An array's body begins behind it, so that nothing may be joined across its ends.
    fused: list[list[int]] = []
    moved: list[int] = []
    for position, line in enumerate(code):
        last = fused[-1] if fused and position not in targets else None
        if last is not None and _joins(last, line):
            if line[1] == NOT_NULLABLE:
                last[2] += line[2]
            else:
                last[:] = [int(Op.SKIP_NULLABLE_RUN), line[1], line[2], _count(last) + 1]
            moved.append(len(fused) - 1)
        else:
            moved.append(len(fused))
            fused.append(list(line))
    moved.append(len(fused))
    for line in fused:
        if line[0] in (Op.JUMP, Op.ARRAY, Op.MAP, Op.NEXT):
            line[2] = moved[line[2]]
    return fused


def _joins(last: list[int], line: list[int]) -> bool:
    if line[0] != Op.SKIP_BYTES_OF or last[1] != line[1]:
        return False
    if line[1] == NOT_NULLABLE:
        return last[0] == Op.SKIP_BYTES_OF
    return last[0] in (Op.SKIP_BYTES_OF, Op.SKIP_NULLABLE_RUN) and last[2] == line[2]


def _count(line: list[int]) -> int:
    return line[3] if line[0] == Op.SKIP_NULLABLE_RUN else 1
