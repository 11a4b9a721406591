# SPDX-License-Identifier: BSD-3-Clause
"""A second bundle that scores the same alerts to a topic of its own, and can harm nobody.

It has a process of its own, of low priority. Batches that it cannot take at once are dropped and counted: the
stream never waits for it, and holds no more for it than a few batches. If the process dies or hangs, it is
started again after a pause.
"""

from __future__ import annotations

import multiprocessing
import os
import queue
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from types import TracebackType
from typing import Literal, Self

import structlog

from broker_plugin.codec.verdict import Tense, Verdict, encode_container
from broker_plugin.engine.rehearsal import rehearse
from broker_plugin.parent import end_with_parent
from broker_plugin.pipeline.assembly import FilterRecipe
from broker_plugin.pipeline.backoff import Backoff
from broker_plugin.pipeline.dead_letters import DeadLetters
from broker_plugin.pipeline.filter import AlertScorer, Judgement
from broker_plugin.pipeline.outbox import Outbox, framed
from broker_plugin.records import AlertBatch, Provenance
from broker_plugin.signals import held_back, let_through
from broker_plugin.streams.base import Message
from broker_plugin.streams.kafka import KafkaAddress, KafkaSink

__all__ = ["Shadow", "ShadowOutcome", "ShadowRecipe", "ShadowedScorer"]

log = structlog.get_logger(__name__)

ShadowOutcome = Literal["scored", "dropped", "failed"]
"""What became of a batch that the shadow was offered."""

AHEAD = 4
"""Batches that wait for the shadow: enough to ride out a slow one, too few to fill the memory."""

NICENESS = 10
"""The shadow takes the processor when nobody else wants it."""

OPEN_S = 300.0
"""Longest time to open and warm a bundle, on a device that is shared."""

ANSWER_S = 120.0
"""Longest time for a batch; a shadow that takes longer hangs, and is started again."""

END_S = 3.0
"""Time for the shadow to finish its batch when the service ends."""

TICK_S = 0.25
"""How late the end of the service is noticed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShadowRecipe:
    """All that a shadow is made of, in values that can be handed to its process.

    Parameters
    ----------
    recipe
        The filter, with the shadow's bundle.
    topic, address
        Where its verdicts go.
    ack_timeout_s
        Longest wait for their acknowledgement.
    schema_id
        Under which they are framed; None for container files.
    prepare
        Is called first in the process, to set up its log.
    """

    recipe: FilterRecipe
    topic: str
    address: KafkaAddress
    ack_timeout_s: float = 10.0
    schema_id: int | None = None
    prepare: Callable[[], None] | None = None


class ShadowedScorer:
    """Scores as another scorer does, and offers each batch to the shadow too."""

    def __init__(self, scorer: AlertScorer, shadow: Shadow) -> None:
        self._scorer = scorer
        self._shadow = shadow

    def score(
        self, alerts: AlertBatch, *, tense: Tense = Tense.CURRENT, received_at: datetime | None = None
    ) -> list[Verdict]:
        """Return one verdict for each alert, in order."""
        verdicts = self._scorer.score(alerts, tense=tense, received_at=received_at)
        if received_at is not None:  # else nobody sent it: the filter looks whether the scorer is sound
            self._shadow.offer(alerts, received_at)
        return verdicts


class Shadow:
    """Keeps the shadow's process busy. A context: the process lives while it is entered.

    Parameters
    ----------
    recipe
        What the shadow is.
    on_outcome
        Is told what became of each batch, and of how many alerts, by whichever thread knows.
    backoff
        Pauses before the process is started again.
    """

    def __init__(
        self,
        recipe: ShadowRecipe,
        *,
        on_outcome: Callable[[ShadowOutcome, int], None] = lambda outcome, alerts: None,
        backoff: Backoff | None = None,
    ) -> None:
        self._recipe = recipe
        self._on_outcome = on_outcome
        self._backoff = Backoff(first_s=5.0, cap_s=300.0) if backoff is None else backoff
        self._waiting: queue.Queue[tuple[AlertBatch, datetime]] = queue.Queue(AHEAD)
        self._leaving = threading.Event()
        self._child: SpawnProcess | None = None
        self._thread = threading.Thread(target=self._keep, name="shadow", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._leaving.set()
        self._thread.join(END_S)
        child = self._child
        if self._thread.is_alive() and child is not None:
            child.kill()  # it does not take what it is handed
        self._thread.join()

    def offer(self, alerts: AlertBatch, received_at: datetime) -> None:
        """Hand over a batch, or drop it if the shadow is behind. Never waits."""
        try:
            self._waiting.put_nowait((alerts, received_at))
        except queue.Full:
            self._on_outcome("dropped", len(alerts))

    def _keep(self) -> None:
        pauses = self._backoff.pauses()
        while not self._leaving.is_set():
            begun = time.monotonic()
            try:
                child, connection = self._start()
            except OSError as error:  # no process or no memory is left
                log.warning("shadow_not_started", why=error.strerror or str(error))
            else:
                self._tend(child, connection)
            if time.monotonic() - begun > ANSWER_S:
                pauses = self._backoff.pauses()  # it worked for a while
            self._leaving.wait(next(pauses))

    def _tend(self, child: SpawnProcess, connection: Connection) -> None:
        """Feed a process until the service ends or it fails, and end it."""
        self._child = child
        try:
            self._feed(connection)
        except _ShadowFailedError as failure:
            log.warning("shadow_failed", why=str(failure))
        finally:
            connection.close()
            self._child = None
            _end(child)

    def _start(self) -> tuple[SpawnProcess, Connection]:
        # A fresh interpreter: ONNX Runtime's and librdkafka's threads do not survive a fork.
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        child = context.Process(
            target=_score_in_shadow, args=(self._recipe, theirs), name="shadow", daemon=True
        )
        with held_back():  # until it knows that they are not for it
            child.start()
        theirs.close()
        return child, ours

    def _feed(self, connection: Connection) -> None:
        """Hand batches over one by one until the service ends or the shadow fails."""
        opened = self._answer(connection, OPEN_S)
        if opened is None:
            return
        log.info("shadow_opened", digest=opened, topic=self._recipe.topic)
        while not self._leaving.is_set():
            try:
                batch, received_at = self._waiting.get(timeout=TICK_S)
            except queue.Empty:
                if connection.poll(0):  # it has nothing to say, so this is its end
                    self._answer(connection, ANSWER_S)
                continue
            try:
                connection.send((batch, received_at))
                why = self._answer(connection, ANSWER_S)
            except (OSError, _ShadowFailedError) as error:
                self._on_outcome("failed", len(batch))
                raise _ShadowFailedError(str(error)) from error
            if why is None:
                return
            self._on_outcome("failed" if why else "scored", len(batch))
            if why:
                log.warning("shadow_batch_failed", why=why, alerts=len(batch))

    def _answer(self, connection: Connection, timeout_s: float) -> str | None:
        """Return what the shadow says, None if the service ends before."""
        deadline = time.monotonic() + timeout_s
        try:
            while not connection.poll(TICK_S):
                if self._leaving.is_set():
                    return None
                if time.monotonic() > deadline:
                    raise _ShadowFailedError(f"no answer in {timeout_s:g} s")
            return str(connection.recv())
        except (EOFError, OSError) as error:
            raise _ShadowFailedError("its process ended") from error


class _ShadowFailedError(Exception):
    """The shadow's process is of no more use."""


def _end(child: SpawnProcess) -> None:
    child.join(END_S)
    if child.is_alive():
        child.kill()
        child.join()
    child.close()


def _score_in_shadow(recipe: ShadowRecipe, connection: Connection) -> None:
    """Run the shadow's process: say which bundle was opened, then score batch after batch."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # they reach the whole group; the parent ends us in order
    let_through()
    end_with_parent()
    os.nice(NICENESS)
    if recipe.prepare is not None:
        recipe.prepare()
    encode = encode_container if recipe.schema_id is None else framed(recipe.schema_id)
    outbox = Outbox(recipe.topic, DeadLetters(topic=""), encode=encode)
    scorer = recipe.recipe.scorer()
    rehearse(scorer)
    sink = KafkaSink(recipe.address, ack_timeout_s=recipe.ack_timeout_s)
    connection.send(scorer.bundle.digest)
    with suppress(EOFError):
        while True:
            alerts, received_at = connection.recv()
            try:
                verdicts = scorer.score(alerts, tense=Tense.TEST, received_at=received_at)
                parcels = outbox.pack(
                    [
                        Judgement(message=_place(provenance), verdicts=(verdict,))
                        for provenance, verdict in zip(alerts.provenance, verdicts, strict=True)
                    ]
                )
                sink.send([content for parcel in parcels for content in parcel.contents])
            except Exception as error:  # whatever fails in the shadow costs it a batch, and nobody else
                connection.send(str(error) or type(error).__name__)
            else:
                connection.send("")


def _place(provenance: Provenance) -> Message:
    return Message(
        topic=provenance.topic, partition=provenance.partition, offset=provenance.offset, value=b""
    )
