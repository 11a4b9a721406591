# SPDX-License-Identifier: BSD-3-Clause
"""Judgements to outgoing messages: verdicts to the output topic, rejections to the dead letters."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from broker_plugin.codec.registry import frame
from broker_plugin.codec.verdict import Verdict, encode_container, encode_datum, schema_text
from broker_plugin.pipeline.dead_letters import DeadLetters
from broker_plugin.pipeline.filter import Judgement
from broker_plugin.pipeline.routing import EmbeddingTopic, Route, without_embedding
from broker_plugin.records import Alert
from broker_plugin.streams.base import Headers, Message, OutgoingMessage, encoded

__all__ = ["Encode", "Outbox", "Parcel", "framed"]

Encode = Callable[[Verdict], bytes]
"""How a verdict becomes bytes: `encode_container`, or `framed(schema_id)`."""

HOP_FORMAT = ("_format", b"avro")
"""Header by which SCiMMA's `hop-client` knows an Avro container file; other readers ignore it."""


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
    routes
        What chooses candidates, each for its topic.
    embeddings
        Where the embeddings go, which leave the verdicts then; by default nowhere.
    """

    def __init__(
        self,
        output: str,
        dead_letters: DeadLetters,
        *,
        encode: Encode = encode_container,
        routes: Sequence[Route] = (),
        embeddings: EmbeddingTopic | None = None,
    ) -> None:
        self._output = output
        self._dead_letters = dead_letters
        self._encode = encode
        self._routes = tuple(routes)
        self._embeddings = embeddings
        self._format: Headers = (HOP_FORMAT,) if encode is encode_container else ()
        self._schema_version = str(json.loads(schema_text())["version"])

    def pack(self, judgements: Sequence[Judgement]) -> list[Parcel]:
        """Return one parcel for each judgement, in order."""
        return [Parcel(message=j.message, contents=self._contents(j)) for j in judgements]

    def _contents(self, judgement: Judgement) -> tuple[OutgoingMessage, ...]:
        if judgement.rejection is not None:
            return (self._dead_letters.pack(judgement.message, judgement.rejection),)
        alerts = judgement.alerts or (None,) * len(judgement.verdicts)
        return tuple(
            content
            for verdict, alert in zip(judgement.verdicts, alerts, strict=True)
            for content in self._of(verdict, alert, judgement.message)
        )

    def _of(self, verdict: Verdict, alert: Alert | None, message: Message) -> Iterator[OutgoingMessage]:
        small = verdict if self._embeddings is None else without_embedding(verdict)
        yield OutgoingMessage(
            topic=self._output,
            key=verdict.object_id.encode(),
            value=self._encode(small),
            headers=self._headers(verdict, message),
        )
        if self._embeddings is not None and verdict.embedding is not None:
            yield self._embeddings.message(verdict)
        for route in self._routes:
            yield from route.candidates(small, alert)

    def _headers(self, verdict: Verdict, message: Message) -> Headers:
        return (
            ("verdict_id", verdict.verdict_id.encode()),
            ("schema_version", self._schema_version.encode()),
            ("bundle_digest", verdict.bundle_digest.encode()),
            ("inputs_digest", verdict.inputs_digest.encode()),
            ("source_topic", encoded(message.topic)),
            ("source_partition", str(message.partition).encode()),
            ("source_offset", str(message.offset).encode()),
            *self._format,
        )


def framed(schema_id: int) -> Encode:
    """Return the encoding for readers with a schema registry."""
    return lambda verdict: frame(schema_id, encode_datum(verdict))
