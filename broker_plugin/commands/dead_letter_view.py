# SPDX-License-Identifier: BSD-3-Clause
"""How `dlq` shows dead letters: counted by what they have in common, one by one, or one of them whole."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from rich.table import Table
from rich.text import Text

from broker_plugin.codec.packets import decode_message
from broker_plugin.codec.schemas import SchemaStore
from broker_plugin.commands.output import print_table
from broker_plugin.errors import RejectedAlert, TransientError
from broker_plugin.instants import iso_utc
from broker_plugin.pipeline.dead_letter_reader import DeadLetter, Place

__all__ = ["Format", "Group", "group_letters", "show_each", "show_groups", "show_whole"]

Format = Literal["table", "json"]

HEX_BYTES = 512
"""What is shown of bytes that nobody can decode: the head tells what they are."""

HEX_LINE = 16

BYTES_SHOWN = 32
"""Longer byte strings of a packet (image cutouts) are shown by their length."""


@dataclass(slots=True, kw_only=True)
class Group:
    """Dead letters of one reason, from one input partition."""

    reason: str
    topic: str
    partition: int
    letters: int = 0
    replayed: int = 0
    oldest_ms: int | None = None
    newest_ms: int | None = None
    newest_at: Place = (0, 0)

    def add(self, letter: DeadLetter, *, replayed: bool) -> None:
        """Count a letter."""
        self.letters += 1
        self.replayed += replayed
        if self.newest_ms is None or (letter.timestamp_ms or 0) >= self.newest_ms:
            self.newest_at, self.newest_ms = letter.place, letter.timestamp_ms
        if self.oldest_ms is None or (letter.timestamp_ms or 0) < self.oldest_ms:
            self.oldest_ms = letter.timestamp_ms


def group_letters(letters: Iterable[DeadLetter], replayed: frozenset[Place]) -> list[Group]:
    """Return the groups of letters, that of the newest letter first."""
    groups: dict[tuple[str, str, int], Group] = {}
    for letter in letters:
        key = (letter.reason, letter.topic, letter.partition)
        group = groups.setdefault(key, Group(reason=key[0], topic=key[1], partition=key[2]))
        group.add(letter, replayed=letter.place in replayed)
    return sorted(groups.values(), key=lambda group: (group.newest_ms or 0, group.newest_at), reverse=True)


def show_groups(groups: Sequence[Group], output_format: Format) -> None:
    """Write the groups."""
    if output_format == "json":
        for group in groups:
            record = {
                "reason": group.reason,
                "topic": group.topic,
                "partition": group.partition,
                "dead_letters": group.letters,
                "replayed": group.replayed,
                "oldest": iso_utc(group.oldest_ms),
                "newest": iso_utc(group.newest_ms),
                "newest_at": _place(group.newest_at),
            }
            _write(json.dumps(record))
        return
    table = _table("reason", "from", "letters", "replayed", "oldest", "newest", "newest at")
    for group in groups:
        table.add_row(
            *map(Text, (group.reason, f"{group.topic}[{group.partition}]")),
            f"{group.letters:,}",
            f"{group.replayed:,}",
            _clock(group.oldest_ms),
            _clock(group.newest_ms),
            _place(group.newest_at),
        )
    print_table(table)


def show_each(letters: Sequence[DeadLetter], replayed: frozenset[Place], output_format: Format) -> None:
    """Write letters one by one."""
    if output_format == "json":
        for letter in letters:
            _write(json.dumps(_summary(letter) | {"replayed": letter.place in replayed}))
        return
    table = _table("at", "time", "reason", "from", "detail", "replayed")
    for letter in letters:
        origin = f"{letter.topic}[{letter.partition}]@{letter.offset}"
        table.add_row(
            _place(letter.place),
            _clock(letter.timestamp_ms),
            *map(Text, (letter.reason, origin, letter.detail)),
            "yes" if letter.place in replayed else "",
        )
    print_table(table)


def show_whole(letter: DeadLetter, schemas: SchemaStore, output_format: Format) -> None:
    """Write everything that a letter holds, its bytes decoded where they can be."""
    packets, why_not = _packets(letter, schemas)
    content: dict[str, Any] = {"packets": packets} if packets else {"not_decoded": why_not}
    if output_format == "json":
        whole = _summary(letter) | {
            "said": dict(letter.said),
            "key": _text_of(letter.key),
            "headers": [[name, _text_of(value)] for name, value in letter.headers],
            **content,
            "value_hex": letter.value.hex() if not packets else None,
        }
        _write(json.dumps(whole))
        return
    table = Table(box=None, show_header=False)
    rows: dict[str, object] = {
        "at": _place(letter.place),
        "time": _clock(letter.timestamp_ms),
        **letter.said,
        "key": _text_of(letter.key),
    }
    for name, value in (
        *rows.items(),
        *((f"header {name}", _text_of(value)) for name, value in letter.headers),
    ):
        table.add_row(Text(name, style="bold"), Text(str(value)))
    print_table(table)
    for packet in packets:
        _write(json.dumps(packet, indent=2))
    if not packets:
        _write(f"\n{len(letter.value)} bytes, not decoded: {why_not}")
        _write("\n".join(_hex_lines(letter.value[:HEX_BYTES])))


def _packets(letter: DeadLetter, schemas: SchemaStore) -> tuple[list[Any], str]:
    try:
        decoded = decode_message(letter.value, schema_of=schemas.writer_schema)
    except RejectedAlert as rejection:
        return [], rejection.detail
    except TransientError as error:
        return [], str(error)
    return [_plain(packet) for packet in decoded.packets], ""


def _plain(value: Any) -> Any:
    """Return a packet's value as JSON can hold it."""
    if isinstance(value, Mapping):
        return {str(name): _plain(held) for name, held in value.items()}
    if isinstance(value, list):
        return [_plain(held) for held in value]
    if isinstance(value, bytes):
        return value.hex() if len(value) <= BYTES_SHOWN else f"{len(value)} bytes"
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value


def _summary(letter: DeadLetter) -> dict[str, Any]:
    return {
        "at": _place(letter.place),
        "time": iso_utc(letter.timestamp_ms),
        "reason": letter.reason,
        "detail": letter.detail,
        "topic": letter.topic,
        "partition": letter.partition,
        "offset": letter.offset,
        "whole": letter.is_whole,
    }


def _text_of(value: bytes | None) -> str | None:
    """Return bytes as text where they are printable, else as hexadecimal digits."""
    if value is None:
        return None
    text = value.decode("utf-8", "replace")
    return text if text.isprintable() and "\ufffd" not in text else f"0x{value.hex()}"


def _hex_lines(value: bytes) -> list[str]:
    lines = []
    for start in range(0, len(value), HEX_LINE):
        part = value[start : start + HEX_LINE]
        shown = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in part)
        lines.append(f"{start:08x}  {part.hex(' '):<{3 * HEX_LINE}} {shown}")
    return lines


def _place(place: Place) -> str:
    return f"{place[0]}:{place[1]}"


def _clock(timestamp_ms: int | None) -> str:
    return (iso_utc(timestamp_ms) or "")[:19].replace("T", " ")


def _table(*columns: str) -> Table:
    table = Table(*columns, box=None)
    for column in table.columns:
        long = column.header in ("from", "detail")
        column.no_wrap, column.overflow = not long, "fold"
        column.justify = "right" if column.header in ("letters", "replayed") else "left"
    return table


def _write(line: str) -> None:
    sys.stdout.write(f"{line}\n")
