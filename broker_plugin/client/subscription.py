# SPDX-License-Identifier: BSD-3-Clause
"""A subscription: an iterator over what was asked for, that commits what its reader has finished with.

What the loop's body has in hand is finished when the next one is asked for, or when the `with` block ends in
order. Only then do the group's offsets move behind it: a reader that breaks off in the middle gets it again.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Generic, Protocol, Self, TypeVar

import structlog

from broker_plugin.client.conditions import Conditions, Filter
from broker_plugin.client.memory import ObjectMemory
from broker_plugin.codec.verdict import Verdict
from broker_plugin.errors import RejectedAlert, TransientError
from broker_plugin.pipeline.backoff import Backoff
from broker_plugin.streams.base import Message

__all__ = ["Item", "Reading", "Subscription", "warn_in_log"]

log = structlog.get_logger(__name__)

POLL_S = 0.25
"""Longest wait in one poll; bounds how late a stop is noticed."""

POLL_MAX = 256

COMMIT_S = 1.0
"""Longest time between two commits while verdicts come slowly; what is handled in it may come twice."""

Item = TypeVar("Item")


class Reading(Protocol):
    """A topic as a subscriber reads it."""

    def poll(self, batch_max: int, timeout_s: float) -> Sequence[Message]:
        """Return up to `batch_max` messages, waiting at most `timeout_s` for the first."""
        ...

    def owned(self, messages: Sequence[Message]) -> list[Message]:
        """Return those messages that no other member of the group has been given since."""
        ...

    def commit(self, messages: Sequence[Message]) -> None:
        """Mark messages as done."""
        ...

    def keep_alive(self) -> None:
        """Stay in the group without taking messages."""
        ...

    def joined(self) -> bool:
        """Tell whether there is something to read from."""
        ...

    def close(self) -> None:
        """Leave without committing anything more."""
        ...


def warn_in_log(text: str) -> None:
    """Write a warning to the log."""
    log.warning("subscription_troubled", detail=text)


class Subscription(Generic[Item]):
    """What was asked for, one after the other; a context manager, since it leaves its group in order.

    Parameters
    ----------
    source
        Where the messages come from; closed with the subscription.
    read
        Returns what a message holds; raises `RejectedAlert` if that is something else.
    verdict_of
        Returns the verdict of it, on which the conditions are.
    conditions
        Which of them are wanted.
    memory
        What is known of objects; closed with the subscription.
    limit
        End after so many, and what else is due of the same message: a retraction comes with what moves up.
    timeout_s
        End when nothing has come on the topic, or could be read, for so long; None to wait for ever.
    stop
        Ends it from another thread or a signal handler.
    warn
        Is told of what was skipped or is tried again.
    after_poll
        Called when all that one poll brought is through.

    Attributes
    ----------
    n_read, n_wanted
        How many were read so far, and how many of them were asked for.
    n_other_tense
        How many of those that were read are of another tense than the one that is asked for.
    n_skipped
        How many messages were something else.

    Examples
    --------
    >>> from broker_plugin.codec.schemas import SchemaStore
    >>> from broker_plugin.pipeline.verdict_reader import verdict_reader
    >>> from broker_plugin.streams.memory import MemorySource
    >>> source = MemorySource([Message(topic="verdicts", partition=0, offset=6, value=b"no verdict")])
    >>> verdicts = Subscription(
    ...     source,
    ...     verdict_reader(SchemaStore()).read,
    ...     verdict_of=lambda verdict: verdict,
    ...     conditions=Conditions(),
    ...     timeout_s=0,
    ...     warn=print,
    ... )
    >>> with verdicts:
    ...     for verdict in verdicts:
    ...         print(verdict.object_id)
    a message was skipped: the message is neither an Avro container file nor framed with a schema id
    >>> source.committed
    {('verdicts', 0): 7}
    """

    def __init__(
        self,
        source: Reading,
        read: Callable[[bytes], Item],
        *,
        verdict_of: Callable[[Item], Verdict],
        conditions: Conditions,
        memory: ObjectMemory | None = None,
        limit: int | None = None,
        timeout_s: float | None = None,
        stop: threading.Event | None = None,
        warn: Callable[[str], None] | None = None,
        after_poll: Callable[[], None] = lambda: None,
    ) -> None:
        self.n_read = self.n_wanted = self.n_other_tense = self.n_skipped = 0
        self._source = source
        self._read = read
        self._verdict_of = verdict_of
        self._conditions = conditions
        self._memory = ObjectMemory() if memory is None else memory
        self._filter = Filter(conditions, self._memory)
        self._left = float("inf") if limit is None else limit
        self._timeout_s = timeout_s
        self._stop = threading.Event() if stop is None else stop
        self._warn = warn_in_log if warn is None else warn
        self._after_poll = after_poll
        self._waiting: deque[Message] = deque()
        self._held: dict[str, Item] = {}  # what the ranking holds, by verdict
        self._due: deque[tuple[Item, tuple[Message, Verdict]]] = deque()  # of one message, in turn
        self._in_hand: tuple[Message, Verdict] | None = None
        self._done: list[Message] = []
        self._pauses = Backoff().pauses()
        self._last_commit_s = self._nothing_since_s = time.monotonic()
        self._warned: set[str] = set()
        self._closed = False

    @property
    def strangest(self) -> tuple[Verdict, ...]:
        """The ranking as it stands, where one was asked for."""
        return self._filter.strangest

    @property
    def watched(self) -> tuple[str, ...]:
        """What the one in hand matches of the watch list, by the list's names; none without a list."""
        return () if self._in_hand is None else self._filter.watched(self._in_hand[1])

    def stop(self) -> None:
        """End the iteration; from another thread or a signal handler too."""
        self._stop.set()

    def give_back(self) -> None:
        """Say that what is in hand was not handled, and end: the group gets it again."""
        self._in_hand = None
        self._stop.set()

    def wait(self, pause_s: float) -> bool:
        """Wait in the body of the loop without losing the group; return False if it is to end.

        A body that takes minutes calls this now and then, with no pause: a member that is not heard of for
        five minutes is dropped.
        """
        end_s = time.monotonic() + pause_s
        self._source.keep_alive()
        while (left_s := end_s - time.monotonic()) > 0 and not self._stop.wait(min(left_s, POLL_S)):
            self._source.keep_alive()
        return not self._stop.is_set()

    def close(self) -> None:
        """Leave the group. What is in hand counts as unhandled."""
        if self._closed:
            return
        self._closed = True
        try:
            self._commit()
        finally:
            self._memory.close()
            self._source.close()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Item:
        if self._closed:
            raise StopIteration
        self._finish()
        self._nothing_since_s = time.monotonic()  # what the body took is no waiting
        # The group gets a message again of which something is due, but what moved up would not come again.
        while (self._left > 0 or self._due) and not self._stop.is_set():
            some_came = bool(self._due or self._waiting) or self._poll()
            item = self._next_wanted()
            if item is not None:
                self._left -= 1
                return item
            stuck = bool(self._waiting)
            if self._done and not stuck:
                self._after_poll()
                self._commit()
            if (stuck or not some_came) and self._timed_out():
                break
        self._after_poll()
        self._commit()
        raise StopIteration

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self._finish()
        self.close()

    def _next_wanted(self) -> Item | None:
        """Return the next of those that wait; None if none is wanted, or the rest cannot be read now."""
        while self._waiting and not self._due and not self._stop.is_set():
            message = self._waiting.popleft()
            try:
                self._take_in(message)
            except TransientError as error:
                self._waiting.appendleft(message)
                self._pause(error)
                return None
        if not self._due:
            return None
        item, self._in_hand = self._due.popleft()
        self.n_wanted += 1
        return item

    def _take_in(self, message: Message) -> None:
        """Read a message, of which one or more may be due, or none."""
        if not self._source.owned([message]):
            return  # another member of the group handles it
        try:
            item = self._read(message.value)
        except RejectedAlert as rejection:
            self.n_skipped += 1
            self._warn_once(f"a message was skipped: {rejection.detail}")
            self._done.append(message)
            return
        self.n_read += 1
        verdict = self._verdict_of(item)
        self.n_other_tense += not self._conditions.has_tense(verdict)
        for name in self._conditions.selection.unknown(verdict):
            known = ", ".join(verdict.class_probabilities)
            self._warn_once(f"no class {name!r} in the taxonomy {verdict.taxonomy}; there are {known}")
        told = self._filter.told_by(verdict)
        items = self._held | {verdict.verdict_id: item}
        self._held = {each.verdict_id: items[each.verdict_id] for each in self._filter.held}
        self._due.extend((items[each.verdict_id], (message, each)) for each in told)
        if not told:
            self._done.append(message)

    def _finish(self) -> None:
        """Count what the body had in hand as handled, and its message when all that is due of it was."""
        if self._in_hand is not None:
            message, verdict = self._in_hand
            self._in_hand = None
            self._filter.told(verdict)
            if self._due:
                return
            self._done.append(message)
            if time.monotonic() - self._last_commit_s >= COMMIT_S:
                self._commit()

    def _poll(self) -> bool:
        """Take messages in; return whether any came."""
        try:
            self._waiting.extend(self._source.poll(POLL_MAX, POLL_S))
        except TransientError as error:
            self._pause(error)
        if self._waiting or not self._source.joined():
            self._nothing_since_s = time.monotonic()
        if self._waiting:
            self._pauses = Backoff().pauses()
        return bool(self._waiting)

    def _commit(self) -> None:
        # The memory first: what is read again after a failure between the two is then known.
        self._last_commit_s = time.monotonic()
        self._memory.save()
        if not self._done:
            return
        try:
            self._source.commit(self._done)
            self._done = []
        except TransientError as error:
            self._warn_once(f"{error}; what was read since the last commit may come again")

    def _pause(self, error: TransientError) -> None:
        self._warn_once(f"{error}; trying again")
        self.wait(next(self._pauses))

    def _timed_out(self) -> bool:
        waited_s = time.monotonic() - self._nothing_since_s
        return self._timeout_s is not None and waited_s >= self._timeout_s

    def _warn_once(self, text: str) -> None:
        if text not in self._warned:
            self._warned.add(text)
            self._warn(text)
