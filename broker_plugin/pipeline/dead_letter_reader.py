# SPDX-License-Identifier: BSD-3-Clause
"""Dead letters read back: from their topic or from a file of JSON lines.

Beside the letters their topic holds receipts: a replay writes, in one transaction with what it sends, which
letters it sent. A receipt is therefore there if and only if the letters were replayed, it lies behind them on
the topic, and it outlives them there.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from broker_plugin.errors import ConfigurationError
from broker_plugin.pipeline.dead_letters import PREFIX, REASON, parted
from broker_plugin.streams.base import Headers, Message, OutgoingMessage, encoded

__all__ = [
    "REPLAY_OF",
    "DeadLetter",
    "Place",
    "read_file",
    "read_letter",
    "read_receipt",
    "receipt",
    "replayed_message",
]

Place = tuple[int, int]
"""Where a dead letter lies on its topic: partition and offset. In a file: 0 and the number of its line."""

REPLAY_OF = "dlq_replay_of"
"""Header of a message that a replay sent: topic/partition/offset of the dead letter that it was."""

RECEIPT = f"{PREFIX}receipt"
"""Header of a receipt. What bears it and a reason too is a dead letter whose original had such a header."""

UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
    """A dead letter and what it was.

    Parameters
    ----------
    place
        Where it lies.
    timestamp_ms
        When it was written; None in a file.
    reason, detail
        Why it could not become a verdict.
    topic, partition, offset
        Where the message came from.
    said
        All our headers, by their names without `dead_letter_`.
    value, key, headers
        The message as it came, or what was kept of it.
    """

    place: Place
    timestamp_ms: int | None
    reason: str
    detail: str
    topic: str
    partition: int
    offset: int
    said: Mapping[str, str]
    value: bytes
    key: bytes | None = None
    headers: Headers = ()

    @property
    def is_whole(self) -> bool:
        """Tell whether it holds all of the message."""
        return self.said.get("truncated") == "false" and self.said.get("redacted") == "false"

    def original(self) -> Message:
        """Return the message as it came in."""
        return Message(
            topic=self.topic,
            partition=self.partition,
            offset=self.offset,
            value=self.value,
            key=self.key,
            headers=self.headers,
            timestamp_ms=self.timestamp_ms,
        )


def read_letter(message: Message) -> DeadLetter | None:
    """Return the dead letter in a message of their topic, or None if it is none: a receipt, or foreign."""
    theirs, ours = parted(message.headers)
    if not ours:
        return None
    said = {
        name.removeprefix(PREFIX): value.decode("utf-8", "replace")
        for name, value in ours
        if name.startswith(PREFIX)
    }
    return DeadLetter(
        place=(message.partition, message.offset),
        timestamp_ms=message.timestamp_ms,
        value=message.value,
        key=message.key,
        headers=theirs,
        **_origin(said),
    )


def read_file(path: Path) -> Iterator[DeadLetter]:
    """Yield the dead letters of a file that `replay` wrote.

    Raises
    ------
    ConfigurationError
        If the file cannot be read, or a line of it is no dead letter.
    """
    try:
        with path.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, start=1):
                yield _of_json(path, number, line)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"cannot read dead letters from {path}: {error}") from error


def receipt(topic: str, places: list[Place], sent_to: str) -> OutgoingMessage:
    """Return what says that the letters at these places were replayed."""
    record = {"replayed": [list(place) for place in places], "to": sent_to}
    return OutgoingMessage(topic=topic, value=json.dumps(record).encode(), headers=((RECEIPT, b"1"),))


def read_receipt(message: Message) -> frozenset[Place]:
    """Return the places that a receipt is for; none if the message is no receipt.

    Examples
    --------
    >>> made = receipt("dead", [(0, 17)], "alerts")
    >>> read_receipt(Message(topic="dead", partition=0, offset=20, value=made.value, headers=made.headers))
    frozenset({(0, 17)})
    """
    names = {name for name, _ in message.headers}
    if RECEIPT not in names or REASON in names:
        return frozenset()
    try:
        return frozenset(
            (int(number), int(offset)) for number, offset in json.loads(message.value)["replayed"]
        )
    except (ValueError, KeyError, TypeError):
        return frozenset()


def replayed_message(letter: DeadLetter, *, to: str, dead_letters: str) -> OutgoingMessage:
    """Return the message that a letter was, for a topic, with a header that says so."""
    partition, offset = letter.place
    headers = tuple((name, value) for name, value in letter.headers if name != REPLAY_OF)
    return OutgoingMessage(
        topic=to,
        value=letter.value,
        key=letter.key,
        headers=(*headers, (REPLAY_OF, encoded(f"{dead_letters}/{partition}/{offset}"))),
    )


def _of_json(path: Path, number: int, line: str) -> DeadLetter:
    try:
        record = json.loads(line)
        value = base64.b64decode(record.pop("value_base64"), validate=True)
        said = {
            name: str(held).lower() if isinstance(held, bool) else str(held) for name, held in record.items()
        }
        said["reason"]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigurationError(
            f"line {number} of {path} is no dead letter; give a file that `replay` wrote, OUT.dead.jsonl"
        ) from error
    return DeadLetter(place=(0, number), timestamp_ms=None, value=value, **_origin(said))


def _origin(said: Mapping[str, str]) -> dict[str, Any]:
    return {
        "reason": said.get("reason", UNKNOWN),
        "detail": said.get("detail", ""),
        "topic": said.get("topic", ""),
        "partition": _whole(said.get("partition")),
        "offset": _whole(said.get("offset")),
        "said": said,
    }


def _whole(text: str | None) -> int:
    return int(text) if text is not None and text.lstrip("-").isdecimal() else -1
