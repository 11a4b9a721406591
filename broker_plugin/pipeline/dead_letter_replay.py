# SPDX-License-Identifier: BSD-3-Clause
"""Dead letters given another chance, each at most once: sent to a topic again, or judged again.

What is sent and the receipt that says so are one Kafka transaction. A replay first takes the transactional id
of its dead-letter topic, which ends whatever an earlier or a concurrent one has under way, and only then
reads the receipts: so no letter is sent twice, whenever a replay was cut short and however many are started.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Protocol

from broker_plugin.errors import ConfigurationError, TransientError
from broker_plugin.pipeline.dead_letter_reader import (
    DeadLetter,
    Place,
    read_letter,
    read_receipt,
    receipt,
    replayed_message,
)
from broker_plugin.pipeline.filter import AlertFilter
from broker_plugin.pipeline.outbox import Outbox
from broker_plugin.signals import unbroken
from broker_plugin.streams.base import Message, OutgoingMessage, Sink
from broker_plugin.streams.limits import Oversize

__all__ = ["Plan", "Rejudge", "Remedy", "SendAgain", "make_plan", "replay_letters"]

BATCH_MAX = 500
"""Letters in one transaction: what a crash makes the next replay do again is read, not sent."""

BATCH_MAX_BYTES = 16_000_000
"""Bytes in one transaction, so that it ends well inside its time."""


class Remedy(Protocol):
    """What a replay does with letters."""

    def targets(self, origins: set[str]) -> list[str]:
        """Return the topics that it will write to, for letters that came from these topics."""
        ...

    def contents(self, letters: Sequence[DeadLetter]) -> list[tuple[OutgoingMessage, ...]]:
        """Return what is sent for each letter; nothing where the letter stays dead."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class SendAgain:
    """Sends the bytes, key and headers as they came in, to one topic or to where each came from."""

    dead_letters: str
    to: str = ""

    def targets(self, origins: set[str]) -> list[str]:
        """Return the topics that it will write to."""
        return [self.to] if self.to else sorted(origins)

    def contents(self, letters: Sequence[DeadLetter]) -> list[tuple[OutgoingMessage, ...]]:
        """Return one message for each letter."""
        return [
            (replayed_message(letter, to=self.to or letter.topic, dead_letters=self.dead_letters),)
            for letter in letters
        ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejudge:
    """Judges letters with the bundle and the schemas of today, and sends their verdicts."""

    alert_filter: AlertFilter
    outbox: Outbox
    output: str

    def targets(self, origins: set[str]) -> list[str]:
        """Return the topic of the verdicts."""
        return [self.output]

    def contents(self, letters: Sequence[DeadLetter]) -> list[tuple[OutgoingMessage, ...]]:
        """Return the verdicts of each letter; none where it is rejected again."""
        judgements = self.alert_filter.judge([letter.original() for letter in letters])
        parcels = self.outbox.pack([judgement for judgement in judgements if judgement.rejection is None])
        sent = {id(parcel.message): parcel.contents for parcel in parcels}
        return [sent.get(id(judgement.message), ()) for judgement in judgements]


@dataclass(slots=True, kw_only=True)
class Plan:
    """What a replay will do: the letters to be sent, and why the others are not.

    Parameters
    ----------
    places
        Letters to be sent, in the order of the topic, with the topic that each came from.
    replayed
        How many were replayed before.
    not_whole
        How many cannot be: they hold only the head of their message, or nothing of it.
    """

    places: dict[Place, str] = field(default_factory=dict)
    replayed: int = 0
    not_whole: int = 0


def make_plan(
    messages: Iterator[Message], reasons: Collection[str] = (), *, limit: int | None = None
) -> Plan:
    """Return what to do with the letters of a topic, having read all of it.

    Parameters
    ----------
    messages
        The topic, receipts included.
    reasons
        Of the letters that are wanted; all, where none is named.
    limit
        Most letters to be sent, the first ones.
    """
    plan, done = Plan(), set[Place]()
    for message in messages:
        letter = read_letter(message)
        if letter is None:
            done |= read_receipt(message)
        elif not reasons or letter.reason in reasons:
            if letter.is_whole:
                plan.places[letter.place] = letter.topic
            else:
                plan.not_whole += 1
    before = len(plan.places)
    left = ((place, origin) for place, origin in plan.places.items() if place not in done)
    plan.places = dict(left)
    plan.replayed = before - len(plan.places)
    plan.places = dict(islice(plan.places.items(), limit))
    return plan


def replay_letters(
    messages: Iterator[Message],
    plan: Plan,
    remedy: Remedy,
    sink: Sink,
    *,
    dead_letters: str,
    advance: Callable[[int], None],
) -> Counter[str]:
    """Send the letters of a plan, a batch a transaction; return how many were sent and how many stay dead.

    Parameters
    ----------
    messages
        The dead-letter topic once more.
    sink
        Sends all of its messages in one transaction.
    dead_letters
        The topic's name, which the receipts go to.
    advance
        Is told how many letters more are done.

    Raises
    ------
    TransientError
        If Kafka stays away. What was sent is remembered, so trying again sends the rest.
    ConfigurationError
        If a topic does not take a message.
    """
    counts: Counter[str] = Counter(sent=0, still_dead=0)
    for letters in _batches(messages, plan):
        contents = remedy.contents(letters)
        done = [letter.place for letter, sent in zip(letters, contents, strict=True) if sent]
        if done:
            outgoing = [message for sent in contents for message in sent]
            target = ", ".join(remedy.targets({letter.topic for letter in letters}))
            _send(sink, [*outgoing, receipt(dead_letters, done, target)])
        counts.update(sent=len(done), still_dead=len(letters) - len(done))
        advance(len(letters))
    return counts


def _batches(messages: Iterator[Message], plan: Plan) -> Iterator[list[DeadLetter]]:
    batch: list[DeadLetter] = []
    size, left = 0, len(plan.places)
    for message in messages:
        if (message.partition, message.offset) in plan.places and (letter := read_letter(message)):
            batch.append(letter)
            size += len(letter.value)
            left -= 1
        if batch and (len(batch) >= BATCH_MAX or size >= BATCH_MAX_BYTES or not left):
            yield batch
            batch, size = [], 0
        if not left:
            return
    if batch:
        yield batch


def _send(sink: Sink, messages: Sequence[OutgoingMessage]) -> None:
    # Never tried again from here: taking the transactional id anew would end a replay that was started since,
    # with receipts that this one has not read.
    try:
        with unbroken():  # a transaction that is left open holds up the topics' readers until it times out
            sink.send(messages)
    except Oversize as error:
        raise ConfigurationError(str(error)) from error
    except TransientError as error:
        raise TransientError(f"{error}; the next replay knows what this one has sent") from error
    except ConfigurationError as error:
        raise ConfigurationError(f"{error}; or another `dlq replay` of this topic took over") from error
