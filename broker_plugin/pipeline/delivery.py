# SPDX-License-Identifier: BSD-3-Clause
"""At-least-once delivery: offsets are committed when everything that they cover is acknowledged.

A process that dies in between sends the same verdicts again after its restart, under the same `verdict_id`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Protocol, TypeVar, runtime_checkable

from broker_plugin.pipeline.dead_letters import shrink
from broker_plugin.pipeline.ledger import Ledger
from broker_plugin.pipeline.outbox import Parcel
from broker_plugin.streams.base import Message, Sink, Source
from broker_plugin.streams.limits import Oversize

__all__ = ["AtLeastOnce", "Attempt", "Delivery", "GroupSource", "Owner", "owned_messages"]

Result = TypeVar("Result")


class Attempt(Protocol):
    """Takes one step of a stage, again after a pause as long as it fails for a passing reason."""

    def __call__(self, stage: str, step: Callable[[], Result]) -> Result:
        """Return what the step returned."""
        ...


class Delivery(Protocol):
    """Sends parcels and marks their messages as done."""

    def deliver(self, parcels: Sequence[Parcel], attempt: Attempt) -> Sequence[Parcel]:
        """Return the parcels that were delivered: all but those that are no longer ours, and come again."""
        ...


@runtime_checkable
class Owner(Protocol):
    """Whoever can lose messages to others. Asked for by itself, so that no other duty decides over it."""

    def owned(self, messages: Sequence[Message]) -> list[Message]:
        """Return those messages that were not given to another member since they were polled."""
        ...


@runtime_checkable
class GroupSource(Source, Owner, Protocol):
    """A source that shares its stream with other processes, as a member of a group."""

    def stay(self) -> None:
        """Answer the group while a batch is worked on; called several times a second, it costs nothing."""
        ...

    def keep_alive(self) -> None:
        """Stay in the group without taking messages."""
        ...

    def joined(self) -> bool:
        """Tell whether the group has given us our share."""
        ...

    def lag_by_topic(self) -> Mapping[str, int]:
        """Return how many messages lie ahead on each topic of which we have a share."""
        ...


class AtLeastOnce:
    """Sends, waits for the acknowledgements, then commits.

    Parameters
    ----------
    source, sink
        The two ends of the pipeline.
    ledger
        Where to write what was done, if anywhere.
    """

    def __init__(self, source: Source, sink: Sink, *, ledger: Ledger | None = None) -> None:
        self._source = source
        self._sink = sink
        self._ledger = ledger

    def deliver(self, parcels: Sequence[Parcel], attempt: Attempt) -> Sequence[Parcel]:
        """Return the parcels that were sent, and whose offsets are committed."""
        sent = attempt("produce", partial(self._send, parcels))
        if self._ledger is not None:
            # Made once for all attempts, so that it is one entry however often it arrives.
            entry = self._ledger.entry(sent)
            attempt("ledger", partial(self._sink.send, entry.messages))
            self._ledger.accept(entry)
        return attempt("commit", partial(self._commit, sent))

    def _commit(self, parcels: Sequence[Parcel]) -> list[Parcel]:
        ours = owned_parcels(self._source, parcels)
        self._source.commit([parcel.message for parcel in ours])
        return ours

    def _send(self, parcels: Sequence[Parcel]) -> list[Parcel]:
        ours = owned_parcels(self._source, parcels)
        contents = [message for parcel in ours for message in parcel.contents]
        while contents:
            try:
                self._sink.send(contents)
                break
            except Oversize as refused:
                contents = [shrink(message) for message in refused.messages]
        return ours


def owned_messages(source: Source, messages: Sequence[Message]) -> list[Message]:
    """Return the messages that are still ours: all of them, where nobody else reads the stream."""
    return source.owned(messages) if isinstance(source, Owner) else list(messages)


def owned_parcels(source: Source, parcels: Sequence[Parcel]) -> list[Parcel]:
    """Return the parcels whose messages are still ours."""
    ours = {id(message) for message in owned_messages(source, [parcel.message for parcel in parcels])}
    return [parcel for parcel in parcels if id(parcel.message) in ours]
