# SPDX-License-Identifier: BSD-3-Clause
"""Plays messages through the consumer of the service, on a Kafka cluster inside this process.

The loop here is the two people at the ends: a survey that sends, and a subscriber who reads what comes out.
Between them runs the same `Runner` on the same Kafka source and sink as in service, in a thread of its own.
Little more is sent than is read back, since the embedded cluster silently forgets what it cannot hold.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import islice

from broker_plugin.codec.decoder import Decoder
from broker_plugin.codec.schemas import SchemaStore
from broker_plugin.codec.verdict import Verdict
from broker_plugin.demo.consumer import DEAD_LETTERS, INPUT, OUTPUT, Consumer
from broker_plugin.demo.findings import DeadLetter, Playback
from broker_plugin.demo.playlist import Track
from broker_plugin.demo.simulator import Night
from broker_plugin.engine.scorer import Scorer
from broker_plugin.errors import BrokerPluginError
from broker_plugin.pipeline.dead_letters import PREFIX
from broker_plugin.pipeline.verdict_reader import verdict_reader
from broker_plugin.streams.base import Message, OutgoingMessage
from broker_plugin.streams.embedded import EmbeddedKafka
from broker_plugin.streams.kafka import KafkaAddress, KafkaSink, KafkaTail

__all__ = ["Progress", "play"]

NOTE_HEADER = "demo_note"
"""Header that says what is wrong with a message; a dead letter keeps the headers of its message."""

WINDOW = 96
"""Messages sent and not read back yet. Fewer, and the consumer waits for the survey."""

WINDOW_BYTES = 1_500_000
"""The same in bytes: a third of what the embedded cluster keeps of one partition."""

CHUNK = 16
"""Messages sent at a time: the table moves on between them."""

READ_MAX = 256
READ_WAIT_S = 0.05

CONNECT_S = 15.0

STALL_S = 60.0
"""With nothing read back for so long, messages are lost; scoring a batch takes seconds at most."""


@dataclass(slots=True)
class Progress:
    """How far the night is; what came back is in order of arrival, and `ended` is when the last of it did."""

    played: int = 0
    lag: int = 0
    started: float = field(default_factory=time.monotonic)
    ended: float = field(default_factory=time.monotonic)
    verdicts: list[Verdict] = field(default_factory=list)
    dead_letters: list[DeadLetter] = field(default_factory=list)
    origins: list[tuple[int, int]] = field(default_factory=list)

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
        """Time from the first message sent to the last one read back."""
        return self.ended - self.started

    @property
    def rate_per_s(self) -> float:
        """Messages a second that came out so far."""
        return self.done / self.seconds if self.seconds > 0 else 0.0


def play(
    tracks: Iterable[Track],
    scorer: Scorer,
    decoder: Decoder,
    *,
    watch: Callable[[Progress], None] = lambda progress: None,
    night: Night | None = None,
    stop: threading.Event | None = None,
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
    stop
        Set it to send no more; what was sent is still read back.

    Raises
    ------
    BrokerPluginError
        If the consumer stopped with an error.
    """
    progress = Progress()
    with EmbeddedKafka() as cluster:
        survey = _Survey(cluster.address, tracks, stop or threading.Event())
        consumer = Consumer(cluster.address, decoder, scorer)
        subscriber = _Subscriber(cluster.address)
        try:
            consumer.start()
            _play_out(progress, survey, consumer, subscriber, watch)
            consumer.stop()
            subscriber.read(progress)  # what came twice would come now
        finally:
            consumer.stop()
            survey.close()
            subscriber.close()
    if consumer.error is not None:
        what = f"{type(consumer.error).__name__}: {consumer.error}"
        raise BrokerPluginError(f"the consumer stopped: {what}") from consumer.error
    return Playback(
        verdicts=tuple(progress.verdicts),
        light_curves=consumer.light_curves,
        dead_letters=tuple(progress.dead_letters),
        origins=tuple(progress.origins),
        played=progress.played,
        seconds=progress.seconds,
        night=night,
    )


def _play_out(
    progress: Progress,
    survey: _Survey,
    consumer: Consumer,
    subscriber: _Subscriber,
    watch: Callable[[Progress], None],
) -> None:
    """Send and read back until all has come out, or nothing comes any more."""
    progress.started = progress.ended = time.monotonic()
    while not (survey.over and progress.in_flight <= 0):
        survey.send(progress)
        before = progress.done
        subscriber.read(progress)
        # The consumer looks at its lag now and then: what has come out since is no longer behind.
        progress.lag = min(consumer.lag, progress.in_flight)
        now = time.monotonic()
        if progress.done != before or progress.in_flight <= 0:
            progress.ended = now
        watch(progress)
        if consumer.error is not None or now - progress.ended > STALL_S:
            return


class _Survey:
    """Sends the messages, as many as may be under way."""

    def __init__(self, address: KafkaAddress, tracks: Iterable[Track], stop: threading.Event) -> None:
        self.over = False
        self._stop = stop
        self._tracks = iter(tracks)
        self._sizes: list[int] = []
        self._sink = KafkaSink(address)
        self._sink.connect([INPUT, OUTPUT, DEAD_LETTERS], deadline_s=CONNECT_S)

    def send(self, progress: Progress) -> None:
        """Send the next messages, if there is room."""
        self.over = self.over or self._stop.is_set()
        waiting = max(0, progress.in_flight)
        waiting_bytes = sum(self._sizes[-waiting:]) if waiting else 0
        if self.over or waiting >= WINDOW or waiting_bytes >= WINDOW_BYTES:
            return
        chunk = list(islice(self._tracks, CHUNK))
        self._sink.send([_outgoing(track) for track in chunk])
        self._sizes += [len(track.value) for track in chunk]
        progress.played += len(chunk)
        self.over = not chunk

    def close(self) -> None:
        self._sink.close()


class _Subscriber:
    """Reads the verdicts and the dead letters, as anybody could."""

    def __init__(self, address: KafkaAddress) -> None:
        self._reader = verdict_reader(SchemaStore(installed=False))
        self._verdicts = KafkaTail(address, OUTPUT, from_beginning=True)
        self._dead_letters = KafkaTail(address, DEAD_LETTERS, from_beginning=True)
        for tail in (self._verdicts, self._dead_letters):
            tail.connect(deadline_s=CONNECT_S)

    def read(self, progress: Progress) -> None:
        """Read what has come."""
        verdicts = self._verdicts.poll(READ_MAX, READ_WAIT_S)
        dead_letters = self._dead_letters.poll(READ_MAX, 0.0)
        progress.verdicts += [self._reader.read(message.value) for message in verdicts]
        progress.dead_letters += [_dead_letter(message) for message in dead_letters]
        progress.origins += [_origin(message, "source_") for message in verdicts]
        progress.origins += [_origin(message, PREFIX) for message in dead_letters]

    def close(self) -> None:
        self._verdicts.close()
        self._dead_letters.close()


def _outgoing(track: Track) -> OutgoingMessage:
    headers = ((NOTE_HEADER, track.note.encode()),) if track.note else ()
    return OutgoingMessage(topic=INPUT, value=track.value, headers=headers)


def _origin(message: Message, prefix: str) -> tuple[int, int]:
    said = dict(message.headers)
    return int(said[f"{prefix}partition"]), int(said[f"{prefix}offset"])


def _dead_letter(message: Message) -> DeadLetter:
    said = {name: value.decode("utf-8", "replace") for name, value in message.headers}
    return DeadLetter(
        reason=said.get(f"{PREFIX}reason", ""),
        detail=said.get(f"{PREFIX}detail", ""),
        note=said.get(NOTE_HEADER, ""),
    )
