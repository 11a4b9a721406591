# SPDX-License-Identifier: BSD-3-Clause
"""Judgements to outgoing messages: verdicts to the output topic, rejections to the dead letters."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from broker_plugin.codec.registry import frame
from broker_plugin.codec.verdict import Verdict, encode_container, encode_datum, schema_text
from broker_plugin.pipeline.dead_letters import DeadLetters
from broker_plugin.pipeline.filter import Judgement
from broker_plugin.streams.base import Headers, Message, OutgoingMessage, encoded

__all__ = ["Encode", "Outbox", "Parcel", "framed"]

Encode = Callable[[Verdict], bytes]
"""How a verdict becomes bytes: `encode_container`, or `framed(schema_id)`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parcel:
    """A message and all that goes out because of it."""

    message: Message
    contents: tuple[OutgoingMessage, ...]


class Outbox:
    """Packs judgements for their topics.

    Parameters
    ----------
    output
        Topic of the verdicts.
    dead_letters
        Maker of dead letters.
    encode
        How a verdict becomes bytes; by default an Avro container file, which needs nothing else to be read.
    """

    def __init__(self, output: str, dead_letters: DeadLetters, *, encode: Encode = encode_container) -> None:
        self._output = output
        self._dead_letters = dead_letters
        self._encode = encode
        self._schema_version = str(json.loads(schema_text())["version"])

    def pack(self, judgements: Sequence[Judgement]) -> list[Parcel]:
        """Return one parcel for each judgement, in order."""
        return [Parcel(message=j.message, contents=self._contents(j)) for j in judgements]

    def _contents(self, judgement: Judgement) -> tuple[OutgoingMessage, ...]:
        if judgement.rejection is not None:
            return (self._dead_letters.pack(judgement.message, judgement.rejection),)
        return tuple(
            OutgoingMessage(
                topic=self._output,
                key=verdict.object_id.encode(),
                value=self._encode(verdict),
                headers=self._headers(verdict, judgement.message),
            )
            for verdict in judgement.verdicts
        )

    def _headers(self, verdict: Verdict, message: Message) -> Headers:
        return (
            ("verdict_id", verdict.verdict_id.encode()),
            ("schema_version", self._schema_version.encode()),
            ("bundle_digest", verdict.bundle_digest.encode()),
            ("source_topic", encoded(message.topic)),
            ("source_partition", str(message.partition).encode()),
            ("source_offset", str(message.offset).encode()),
        )


def framed(schema_id: int) -> Encode:
    """Return the encoding for readers with a schema registry."""
    return lambda verdict: frame(schema_id, encode_datum(verdict))
