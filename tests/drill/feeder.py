# SPDX-License-Identifier: BSD-3-Clause
"""A survey that sends: messages at a steady rate, from a thread, whatever becomes of the broker meanwhile."""

from __future__ import annotations

import threading
import time

from confluent_kafka import KafkaError, Message, Producer

from tests.drill.stream import AlertStream
from tests.support.cluster import IN_FLIGHT, KafkaCluster

__all__ = ["Feeder"]

STEP_S = 0.05
"""Time between two instalments."""

FLUSH_S = 300.0
"""Longest wait for the last acknowledgement: a broker may be stopped for a minute and then busy."""


class Feeder:
    """Sends a stream to a topic, as far as it was released, at a rate.

    Parameters
    ----------
    cluster, topic
        Where to.
    stream
        What.
    rate_per_s
        Messages a second.
    """

    def __init__(self, cluster: KafkaCluster, topic: str, stream: AlertStream, *, rate_per_s: float) -> None:
        self._topic = topic
        self._stream = stream
        self._rate_per_s = rate_per_s
        self._released = 0
        self._stop = threading.Event()
        self._failures: list[KafkaError] = []
        self.sent = 0
        self._producer = Producer(
            {
                "bootstrap.servers": cluster.bootstrap,
                "enable.idempotence": True,
                "max.in.flight": IN_FLIGHT,
                "message.timeout.ms": 0,  # as long as it takes
                "linger.ms": 5,
                "queue.buffering.max.kbytes": 1_000_000,
                "log_level": 0,
            }
        )
        self._thread = threading.Thread(target=self._send, name="feeder", daemon=True)
        self._thread.start()

    def release(self, number: int) -> None:
        """Let the first so many messages go."""
        self._released = max(self._released, min(number, self._stream.size))

    def finish(self) -> None:
        """Send the rest at once, and wait until all of it is acknowledged."""
        self.release(self._stream.size)
        self._rate_per_s = float("inf")
        self._thread.join(FLUSH_S)
        assert not self._thread.is_alive(), f"only {self.sent} messages could be sent"
        unsent = self._producer.flush(FLUSH_S)
        assert not unsent, f"{unsent} messages of the stream were not acknowledged"
        assert not self._failures, f"the stream itself could not be sent: {self._failures[0]}"

    def cut(self) -> None:
        """End the stream with what is sent by now."""
        self._stop.set()
        self._thread.join()
        self._stream.cut(self.sent)

    def close(self) -> None:
        """Give up what is not sent."""
        self._stop.set()
        self._thread.join(10.0)
        self._producer.purge()

    def _send(self) -> None:
        allowed, then = 0.0, time.monotonic()
        while self.sent < self._stream.size and not self._stop.wait(STEP_S):
            now = time.monotonic()
            allowed = min(allowed + (now - then) * self._rate_per_s, self._stream.size)
            then = now
            while self.sent < min(allowed, self._released):
                key, value, _ = self._stream.message(self.sent)
                try:
                    self._producer.produce(self._topic, value, key, on_delivery=self._note)
                except BufferError:
                    break
                self.sent += 1
            allowed = min(allowed, self.sent + 1.0)  # what was not released is not made up for
            self._producer.poll(0)

    def _note(self, error: KafkaError | None, message: Message) -> None:
        if error is None and message.offset() is None:
            error = KafkaError(KafkaError._STATE, "acknowledged without an offset")
        if error is not None:
            self._failures.append(error)
