# SPDX-License-Identifier: BSD-3-Clause
"""Writer schemas made safe: a schema comes from the network as much as the bytes that it describes.

Decoding costs memory and time in proportion to the bytes only if every value takes at least one byte and no
type contains itself. Otherwise a block of nothing could hold 2**60 empty records, and a chain of a type
within itself could be as deep as the message is long. No survey needs either, so both are refused. Docs,
defaults and logical types are dropped: nothing here reads them, and a date outside the calendar is no reason
to lose an alert.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import fastavro

__all__ = ["SchemaError", "WriterSchema", "full_name", "parse_json", "vet"]

SCHEMA_MAX_BYTES = 1_000_000
"""Longest schema text that is parsed: a hundred times a survey's, so only an attack is longer."""

DEPTH_MAX = 64
"""Deepest nesting of types; surveys have about ten. Keeps decoding, which recurses, off the stack's end."""

TYPES_MAX = 10_000
"""Most types in a schema, those of fields and the branches of unions: seven times the most that a survey or
broker has. A schema is kept while messages come with it, and each type takes some 400 bytes."""

PRIMITIVES = frozenset({"boolean", "int", "long", "float", "double", "bytes", "string"})
"""Types that take at least one byte. `null`, which takes none, may only stand in a union: its index does."""

VERSIONED_NAME = re.compile(r"(?P<version>[a-z]+\.v\d+_\d+)\.alert")
"""Schema names that say the version, as Rubin's do."""

RECORDS = frozenset({"record", "error"})


class SchemaError(ValueError):
    """A schema is not valid, not complete or not safe to decode with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WriterSchema:
    """A schema to decode with.

    Parameters
    ----------
    name
        Full name of the top type, such as `lsst.v9_0.alert`.
    parsed
        What fastavro takes.
    declared
        What the schema itself says of its version, as ZTF's do; "" if nothing.
    """

    name: str
    parsed: Any
    declared: str = ""

    @property
    def version(self) -> str:
        """What the name says of the survey's version, such as `lsst.v9_0`; "" if nothing."""
        found = VERSIONED_NAME.fullmatch(self.name)
        return found["version"] if found else ""


def parse_json(text: str | bytes) -> Any:
    """Return the JSON value of a schema's text.

    Raises
    ------
    SchemaError
        If it is too long, too deep or not JSON.
    """
    if len(text) > SCHEMA_MAX_BYTES:
        raise SchemaError(f"the schema is longer than {SCHEMA_MAX_BYTES} bytes")
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise SchemaError("the schema is not JSON") from error


def vet(schema: Any, library: Mapping[str, Any] | None = None) -> WriterSchema:
    """Return a schema that is complete and safe to decode with.

    Parameters
    ----------
    schema
        JSON value of the schema.
    library
        Definitions of named types, by full name, to which the schema may refer.

    Raises
    ------
    SchemaError
        If it is not valid, refers to a type that nobody defines, or could cost more than its bytes.

    Examples
    --------
    >>> vet({"type": "record", "name": "a", "namespace": "b", "fields": [{"name": "x", "type": "int"}]}).name
    'b.a'
    """
    vetted = _Vetting(library=library or {}).visit(schema, "", 0)
    try:
        parsed = fastavro.parse_schema(vetted)
    except Exception as error:  # fastavro has no common base class, and any failure means the same
        raise SchemaError(f"the schema is not valid Avro ({type(error).__name__})") from error
    name = vetted.get("name", vetted["type"]) if isinstance(vetted, dict) else "union"
    version = schema.get("version") if isinstance(schema, Mapping) else None
    return WriterSchema(name=str(name), parsed=parsed, declared=version if isinstance(version, str) else "")


def full_name(name: str, namespace: str) -> str:
    """Return the full name of a type.

    Examples
    --------
    >>> full_name("alert", "lsst.v9_0"), full_name("ztf.alert", "other"), full_name("alert", "")
    ('lsst.v9_0.alert', 'ztf.alert', 'alert')
    """
    return name if "." in name or not namespace else f"{namespace}.{name}"


@dataclass(slots=True)
class _Vetting:
    """One walk over a schema: what is defined so far and what is being defined."""

    library: Mapping[str, Any]
    defined: set[str] = field(default_factory=set)
    open: set[str] = field(default_factory=set)
    n_types: int = 0

    def visit(self, node: Any, namespace: str, depth: int, *, in_union: bool = False) -> Any:
        if depth > DEPTH_MAX:
            raise SchemaError("the schema is nested too deeply")
        self.n_types += 1
        if self.n_types > TYPES_MAX:
            raise SchemaError(f"the schema has more than {TYPES_MAX} types")
        if isinstance(node, str):
            return self._named(node, namespace, depth, in_union=in_union)
        if isinstance(node, list):
            if in_union or not node:
                raise SchemaError("the schema has an empty union or one within another")
            return [self.visit(branch, namespace, depth + 1, in_union=True) for branch in node]
        if not isinstance(node, Mapping):
            raise SchemaError("the schema has a type that is no name, union or definition")
        kind = node.get("type")
        if not isinstance(kind, str):
            return self.visit(kind, namespace, depth + 1, in_union=in_union)
        if kind in RECORDS or kind in ("enum", "fixed"):
            return self._definition(node, namespace, depth)
        if kind == "array":
            return {"type": "array", "items": self.visit(node.get("items"), namespace, depth + 1)}
        if kind == "map":
            return {"type": "map", "values": self.visit(node.get("values"), namespace, depth + 1)}
        return self.visit(kind, namespace, depth + 1, in_union=in_union)

    def _named(self, name: str, namespace: str, depth: int, *, in_union: bool) -> Any:
        if name in PRIMITIVES or (name == "null" and in_union):
            return name
        if name == "null":
            raise SchemaError("the schema has a null outside a union, which takes no bytes")
        wanted = full_name(name, namespace)
        for candidate in (wanted, name):
            if candidate in self.open:
                raise SchemaError("the schema has a type that contains itself")
            if candidate in self.defined:
                return candidate
            if candidate in self.library:
                return self.visit(self.library[candidate], candidate.rpartition(".")[0], depth + 1)
        raise SchemaError("the schema refers to a type that it does not define")

    def _definition(self, node: Mapping[str, Any], namespace: str, depth: int) -> Any:
        short = node.get("name")
        if not isinstance(short, str) or not short:
            raise SchemaError("the schema has a definition without a name")
        own = node.get("namespace")
        name = full_name(short, own if isinstance(own, str) else namespace)
        if name in self.defined or name in self.open:
            raise SchemaError("the schema defines a type twice")
        self.open.add(name)
        vetted = {"type": node["type"], "name": name} | self._body(node, name.rpartition(".")[0], depth)
        self.open.discard(name)
        self.defined.add(name)
        return vetted

    def _body(self, node: Mapping[str, Any], namespace: str, depth: int) -> dict[str, Any]:
        if node["type"] == "enum":
            return {"symbols": node.get("symbols")}
        if node["type"] == "fixed":
            size = node.get("size")
            if type(size) is not int or size < 1:
                raise SchemaError("the schema has a fixed type without a size")
            return {"size": size}
        members = node.get("fields")
        if not isinstance(members, list) or not members:
            raise SchemaError("the schema has a record without fields, which takes no bytes")
        return {"fields": [self._field(member, namespace, depth) for member in members]}

    def _field(self, member: Any, namespace: str, depth: int) -> dict[str, Any]:
        if not isinstance(member, Mapping) or not isinstance(member.get("name"), str):
            raise SchemaError("the schema has a field without a name")
        return {"name": member["name"], "type": self.visit(member.get("type"), namespace, depth + 1)}
