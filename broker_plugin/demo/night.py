# SPDX-License-Identifier: BSD-3-Clause
"""Plays messages through the consumer of the service, on a Kafka cluster inside this process.

The loop here is the two people at the ends: a survey that sends, and a subscriber who reads what comes out.
Between them runs the same `Runner` on the same Kafka source and sink as in service, in a thread of its own.
Little more is sent than is read back, since the embedded cluster silently forgets what it cannot hold.
"""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from typing import Any, cast

import fastavro

from broker_plugin.codec.decoder import Decoder
from broker_plugin.codec.verdict import Tense, Verdict, from_record
from broker_plugin.demo.findings import DeadLetter, Playback
from broker_plugin.demo.playlist import Track
from broker_plugin.demo.simulator import Night
from broker_plugin.engine.scorer import Scorer
from broker_plugin.errors import BrokerPluginError
from broker_plugin.pipeline.batcher import Batcher
from broker_plugin.pipeline.dead_letters import PREFIX, DeadLetters
from broker_plugin.pipeline.filter import AlertFilter
from broker_plugin.pipeline.monitor import QuietMonitor
from broker_plugin.pipeline.outbox import Outbox
from broker_plugin.pipeline.runner import Runner
from broker_plugin.records import AlertBatch, LightCurve
from broker_plugin.streams.base import Message, OutgoingMessage
from broker_plugin.streams.embedded import EmbeddedKafka
from broker_plugin.streams.kafka import KafkaAddress, KafkaSink, KafkaSource, KafkaTail

__all__ = ["Progress", "play"]

INPUT, OUTPUT, DEAD_LETTERS = "alerts", "verdicts", "dead-letters"
GROUP = "astrom3-demo"
NOTE_HEADER = "demo_note"

WINDOW = 96
"""Messages sent and not read back yet. Fewer, and the consumer waits; more, and the 5 MB that the embedded
cluster keeps of a partition could be exceeded by long LSST histories."""

WINDOW_BYTES = 1_500_000
"""The same in bytes, a third of what one partition keeps."""

CHUNK = 16
"""Messages sent at a time: the table moves on between them."""

BATCH_MAX = 48
BATCH_AGE_S = 0.15
"""Small batches, so that the table moves; a service would take 256."""

READ_MAX = 256
READ_WAIT_S = 0.05

CONNECT_S = 15.0
STALL_S = 60.0
"""With nothing read back for so long, messages are lost; scoring one batch takes seconds at most."""


@dataclass(slots=True)
class Progress:
    """How far the night is; `verdicts` and `dead_letters` grow in order of arrival."""

    played: int = 0
    lag: int = 0
    started: float = field(default_factory=time.monotonic)
    verdicts: list[Verdict] = field(default_factory=list)
    dead_letters: list[DeadLetter] = field(default_factory=list)

    @property
    def done(self) -> int:
        """Messages that came out."""
        return len(self.verdicts) + len(self.dead_letters)

    @property
    def in_flight(self) -> int:
        """Messages that went in and did not come out yet."""
        return self.played - self.done

    @property
    def seconds(self) -> float:
        """Time since the first message was sent."""
        return time.monotonic() - self.started

    @property
    def rate_per_s(self) -> float:
        """Messages a second so far."""
        return self.done / self.seconds if self.seconds > 0 else 0.0


def play(
    tracks: Iterable[Track],
    scorer: Scorer,
    decoder: Decoder,
    *,
    watch: Callable[[Progress], None] = lambda progress: None,
    night: Night | None = None,
) -> Playback:
    """Play messages through the embedded cluster and return what came out.

    Parameters
    ----------
    tracks
        The messages.
    scorer, decoder
        As for the service.
    watch
        Is called several times a second.
    night
        The simulated night that the messages are of, if they are.

    Raises
    ------
    BrokerPluginError
        If the consumer stopped with an error.
    """
    recorder = _Recorder(scorer)
    with EmbeddedKafka() as cluster:
        address = cluster.address
        survey = KafkaSink(address)
        survey.connect([INPUT, OUTPUT, DEAD_LETTERS], deadline_s=CONNECT_S)
        consumer = _Consumer(address, AlertFilter(decoder, recorder, tense=Tense.TEST))
        verdicts, dead_letters = (_tail(address, topic) for topic in (OUTPUT, DEAD_LETTERS))
        try:
            consumer.start()
            progress = _exchange(iter(tracks), survey, verdicts, dead_letters, consumer, watch)
        finally:
            consumer.stop()
            for end in (verdicts, dead_letters, survey):
                end.close()
    consumer.raise_if_failed()
    return Playback(
        verdicts=tuple(progress.verdicts),
        light_curves=recorder.light_curves,
        dead_letters=tuple(progress.dead_letters),
        played=progress.played,
        seconds=progress.seconds,
        night=night,
    )


def _exchange(
    tracks: Iterator[Track],
    survey: KafkaSink,
    verdicts: KafkaTail,
    dead_letters: KafkaTail,
    consumer: _Consumer,
    watch: Callable[[Progress], None],
) -> Progress:
    """Send and read back until all has come out, or nothing comes any more."""
    progress = Progress()
    sent_bytes: list[int] = []
    last_news = time.monotonic()
    over = False
    while not (over and progress.in_flight <= 0):
        if (
            not over
            and progress.in_flight < WINDOW
            and _recent(sent_bytes, progress.in_flight) < WINDOW_BYTES
        ):
            chunk = list(islice(tracks, CHUNK))
            over = not chunk
            survey.send([_outgoing(track) for track in chunk])
            sent_bytes += [len(track.value) for track in chunk]
            progress.played += len(chunk)
        before = progress.done
        progress.verdicts += [_verdict(message) for message in verdicts.poll(READ_MAX, READ_WAIT_S)]
        progress.dead_letters += [_dead_letter(message) for message in dead_letters.poll(READ_MAX, 0.0)]
        progress.lag = consumer.lag
        now = time.monotonic()
        last_news = now if progress.done != before or progress.in_flight == 0 else last_news
        watch(progress)
        if consumer.failed or now - last_news > STALL_S:
            break
    return progress


def _recent(sent_bytes: list[int], in_flight: int) -> int:
    return sum(sent_bytes[-in_flight:]) if in_flight > 0 else 0


class _Recorder:
    """Passes batches on to the scorer and keeps the light curves that the verdicts are made from."""

    def __init__(self, scorer: Scorer) -> None:
        self._scorer = scorer
        self.light_curves: dict[str, LightCurve] = {}

    def score(
        self, alerts: AlertBatch, *, tense: Tense = Tense.TEST, received_at: datetime | None = None
    ) -> list[Verdict]:
        verdicts = self._scorer.score(alerts, tense=tense, received_at=received_at)
        for row, verdict in enumerate(verdicts):
            self.light_curves[verdict.alert_key] = alerts[row].light_curve
        return verdicts


class _Consumer(QuietMonitor):
    """The service's runner, in a thread."""

    def __init__(self, address: KafkaAddress, alert_filter: AlertFilter) -> None:
        self.lag = 0
        self._error: BaseException | None = None
        self._stop = threading.Event()
        source = KafkaSource(address, [INPUT], group=GROUP, protocol="consumer")
        self._runner = Runner(
            source,
            KafkaSink(address),
            alert_filter,
            Outbox(OUTPUT, DeadLetters(topic=DEAD_LETTERS)),
            batcher=Batcher(batch_max=BATCH_MAX, batch_age_s=BATCH_AGE_S),
            stop=self._stop,
            monitor=self,
        )
        self._thread = threading.Thread(target=self._run, name="runner", daemon=True)

    @property
    def failed(self) -> bool:
        return self._error is not None

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()

    def lagging(self, messages: int) -> None:
        self.lag = messages

    def raise_if_failed(self) -> None:
        if isinstance(self._error, BrokerPluginError):
            raise self._error
        if self._error is not None:
            raise BrokerPluginError("the consumer stopped; the cause is above") from self._error

    def _run(self) -> None:
        try:
            self._runner.run()
        except BaseException as error:  # handed to the thread that waits for this one
            self._error = error


def _tail(address: KafkaAddress, topic: str) -> KafkaTail:
    tail = KafkaTail(address, topic, from_beginning=True)
    tail.connect(deadline_s=CONNECT_S)
    return tail


def _outgoing(track: Track) -> OutgoingMessage:
    headers = ((NOTE_HEADER, track.note.encode()),) if track.note else ()
    return OutgoingMessage(topic=INPUT, value=track.value, headers=headers)


def _verdict(message: Message) -> Verdict:
    (record,) = fastavro.reader(io.BytesIO(message.value))
    return from_record(cast("dict[str, Any]", record))


def _dead_letter(message: Message) -> DeadLetter:
    said = {name: value.decode("utf-8", "replace") for name, value in message.headers}
    return DeadLetter(
        reason=said.get(f"{PREFIX}reason", ""),
        detail=said.get(f"{PREFIX}detail", ""),
        note=said.get(NOTE_HEADER, ""),
    )
