# SPDX-License-Identifier: BSD-3-Clause
"""What a writer schema lacks of the fields that an adapter reads, by the adapter's own tables.

"Missing is normal" holds for values. A field that is no longer in the schema is something else: it is missing
in every alert from now on, and nobody would see it in any one of them. A schema may lack what the survey's
version at that time did not have yet; `since` in the tables says so.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from broker_plugin.surveys.fields import Field, Kind, RecordTable

__all__ = ["Drift", "SchemaNeeds", "drift_of", "release_of"]

RELEASE = re.compile(r"(\d+)[._](\d+)$")

UNNAMED = (0, 0)
"""Release of a schema that does not say which it is, as of brokers that encode anew: taken for the oldest."""

INTEGERS = frozenset({"int", "long"})

CARRIERS: Mapping[Kind, frozenset[str]] = {
    Kind.NUMBER: INTEGERS | {"float", "double"},
    Kind.INTEGER: INTEGERS,
    Kind.TEXT: frozenset({"string"}),
}
"""Avro types in which a field can be read; one of any other type is as good as gone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SchemaNeeds:
    """What an adapter reads, and how it knows that a schema is its survey's.

    Parameters
    ----------
    names
        Matches the full names of the survey's own alert schemas.
    trigger
        Tables of the detection itself. A required field must be in one of those that name it.
    history
        Tables of earlier epochs, without which an alert is poorer and still an alert.
    """

    names: re.Pattern[str]
    trigger: tuple[RecordTable, ...]
    history: tuple[RecordTable, ...]

    def concern(self, schema: Any, name: str) -> bool:
        """Tell whether a schema is, by its name or its trigger record, one of the survey's alerts."""
        types = _named_types(schema)
        paths = [table.path for table in self.trigger if table.path]
        return self.names.fullmatch(name) is not None or any(
            _fields_at(schema, path, types) is not None for path in paths
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """The survey's fields that a schema lacks, as record.field.

    Parameters
    ----------
    required
        Without these no alert can be made.
    expected
        Without these alerts are poorer than the survey's usual ones.
    """

    required: tuple[str, ...] = ()
    expected: tuple[str, ...] = ()


def drift_of(schema: Any, needs: SchemaNeeds, *, release: tuple[int, int] = UNNAMED) -> Drift:
    """Return what a schema lacks.

    Parameters
    ----------
    schema
        A complete Avro schema, its named types defined where they are first used.
    needs
        The adapter's.
    release
        The survey's version that the schema says it is.

    Examples
    --------
    >>> fields = (Field(name="x", path="x"), Field(name="y", path="y", since=(2, 0)))
    >>> table = RecordTable(path="", fields=fields)
    >>> needs = SchemaNeeds(names=re.compile("a"), trigger=(table,), history=())
    >>> schema = {"type": "record", "name": "a", "fields": [{"name": "x", "type": "string"}]}
    >>> drift_of(schema, needs, release=(2, 1)).expected, drift_of(schema, needs).expected
    (('x', 'y'), ('x',))
    """
    types = _named_types(schema)
    found = {
        (table.path, field.path)
        for table in (*needs.trigger, *needs.history)
        for field in table.fields
        if _holds(_fields_at(schema, table.path, types) or {}, field, types)
    }
    required: dict[str, None] = {}
    expected: dict[str, None] = {}
    for table in needs.trigger:
        for field in table.fields:
            name = _spelt(table, field)
            if field.required:
                others = [other.path for other in needs.trigger if field in other.fields]
                if not any((path, field.path) in found for path in others):
                    required[name] = None
            elif _is_missed(table, field, found, release):
                expected[name] = None
    for table in needs.history:
        if release >= table.since and _fields_at(schema, table.path, types) is None:
            expected[table.path] = None
        elif release >= table.since:
            missed = (field for field in table.fields if _is_missed(table, field, found, release))
            expected.update(dict.fromkeys(_spelt(table, field) for field in missed))
    return Drift(required=tuple(required), expected=tuple(expected))


def release_of(text: str) -> tuple[int, int]:
    """Return the version that a schema's text or name ends with; the oldest there can be if it says none.

    Examples
    --------
    >>> release_of("4.02"), release_of("lsst.v9_0"), release_of("") == UNNAMED
    ((4, 2), (9, 0), True)
    """
    found = RELEASE.search(text)
    return (int(found[1]), int(found[2])) if found else UNNAMED


def _is_missed(
    table: RecordTable, field: Field, found: set[tuple[str, str]], release: tuple[int, int]
) -> bool:
    return field.expected and release >= field.since and (table.path, field.path) not in found


def _spelt(table: RecordTable, field: Field) -> str:
    return f"{table.path}.{field.path}" if table.path else field.path


def _holds(fields: Mapping[str, Any], field: Field, types: Mapping[str, Any]) -> bool:
    if field.path not in fields:
        return False
    carriers = CARRIERS.get(field.kind)
    return carriers is None or bool(carriers & set(_kinds(fields[field.path], types)))


def _kinds(node: Any, types: Mapping[str, Any]) -> Iterator[str]:
    """Yield the types that a value of a field may have."""
    if isinstance(node, list):
        for branch in node:
            yield from _kinds(branch, types)
    elif isinstance(node, Mapping):
        yield from _kinds(node.get("type"), types)
    elif isinstance(node, str):
        yield node if node not in types else str(types[node]["type"])


def _fields_at(schema: Any, path: str, types: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return name and type of each field of the record, or of the records of the array, at a path."""
    record = _record(schema, types)
    if record is None:
        return None
    fields = {field["name"]: field["type"] for field in record["fields"]}
    if not path:
        return fields
    inner = _record(fields.get(path), types)
    return None if inner is None else {field["name"]: field["type"] for field in inner["fields"]}


def _record(node: Any, types: Mapping[str, Any]) -> Mapping[str, Any] | None:
    if isinstance(node, str):
        return _record(types[node], types) if node in types else None
    if isinstance(node, list):
        return next((found for branch in node if (found := _record(branch, types)) is not None), None)
    if not isinstance(node, Mapping):
        return None
    if isinstance(node.get("fields"), list):
        return node
    return _record(node.get("items") if node.get("type") == "array" else node.get("type"), types)


def _named_types(schema: Any) -> dict[str, Mapping[str, Any]]:
    named: dict[str, Mapping[str, Any]] = {}
    left = [schema]
    while left:
        node = left.pop()
        if isinstance(node, list):
            left.extend(node)
        elif isinstance(node, Mapping):
            if node.get("type") in ("record", "error", "enum", "fixed"):
                named[str(node.get("name"))] = node
            left.extend(node[key] for key in ("fields", "type", "items", "values") if key in node)
    return named
