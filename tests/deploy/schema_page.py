# SPDX-License-Identifier: BSD-3-Clause
"""Avro schemas as tables for people."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from tests.support.artefacts import REPOSITORY

__all__ = ["schema_tables"]

SCHEMAS = REPOSITORY / "broker_plugin/codec/schemas"

NO_DEFAULT = object()


def schema_tables(name: str) -> str:
    """Return the tables of a schema's record and of the records in it, in Markdown."""
    schema = json.loads((SCHEMAS / f"{name}.avsc").read_text("utf-8"))
    return "\n".join(_table(record) for record in _records(schema))


def _records(schema: Any) -> Iterator[dict[str, Any]]:
    if isinstance(schema, dict) and schema.get("type") == "record":
        yield schema
        for field in schema["fields"]:
            yield from _records(field["type"])
    elif isinstance(schema, dict):
        for inner in (schema.get("items"), schema.get("values"), schema.get("type")):
            yield from _records(inner)
    elif isinstance(schema, list):
        for inner in schema:
            yield from _records(inner)


def _table(record: dict[str, Any]) -> str:
    about = f" {record['doc']}" if record.get("doc") else ""
    rows = [f"### {record['name']}", "", f"{len(record['fields'])} fields.{about}", ""]
    rows += ["| field | type | unit | UCD | default | what it says |", "|---|---|---|---|---|---|"]
    for field in record["fields"]:
        cells = [
            f"`{field['name']}`",
            _type(field["type"]),
            field.get("unit", ""),
            field.get("ucd", ""),
            _default(field.get("default", NO_DEFAULT)),
            field["doc"].replace("|", "\\|"),
        ]
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join([*rows, ""])


def _type(schema: Any) -> str:
    """Return a type as a person would say it.

    Examples
    --------
    >>> _type(["null", {"type": "array", "items": "float"}])
    'list of float, or null'
    """
    if isinstance(schema, list):
        named = [_type(one) for one in schema if one != "null"]
        return " or ".join(named) + (", or null" if "null" in schema else "")
    if not isinstance(schema, dict):
        return str(schema)
    if schema["type"] == "enum":
        return " / ".join(f"`{symbol}`" for symbol in schema["symbols"])
    if schema["type"] == "array":
        return f"list of {_type(schema['items'])}"
    if schema["type"] == "map":
        return f"map of {_type(schema['values'])}"
    if schema["type"] == "record":
        return f"[{schema['name']}](#{schema['name'].lower()})"
    return str(schema.get("logicalType", schema["type"]))


def _default(value: Any) -> str:
    return "" if value is NO_DEFAULT else f"`{json.dumps(value)}`"
