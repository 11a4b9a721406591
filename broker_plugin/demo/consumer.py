# SPDX-License-Identifier: BSD-3-Clause
"""The service's runner, in a thread of the demonstration."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from datetime import datetime

from broker_plugin.codec.decoder import Decoder
from broker_plugin.codec.verdict import Tense, Verdict
from broker_plugin.engine.scorer import Scorer
from broker_plugin.pipeline.batcher import Batcher
from broker_plugin.pipeline.dead_letters import DeadLetters
from broker_plugin.pipeline.filter import AlertFilter
from broker_plugin.pipeline.monitor import QuietMonitor
from broker_plugin.pipeline.outbox import Outbox
from broker_plugin.pipeline.runner import Runner
from broker_plugin.records import AlertBatch, LightCurve
from broker_plugin.streams.kafka import KafkaAddress, KafkaSink, KafkaSource

__all__ = ["DEAD_LETTERS", "INPUT", "OUTPUT", "Consumer"]

INPUT, OUTPUT, DEAD_LETTERS = "alerts", "verdicts", "dead-letters"
GROUP = "astrom3-demo"

BATCH_MAX = 48
BATCH_AGE_S = 0.15
"""Small batches, so that the table moves; a service would take 256."""


class Consumer(QuietMonitor):
    """Reads alerts and writes verdicts and dead letters until it is stopped.

    Parameters
    ----------
    address
        The cluster, input and output alike.
    decoder, scorer
        As for the service.
    """

    def __init__(self, address: KafkaAddress, decoder: Decoder, scorer: Scorer) -> None:
        self.lag = 0
        self.error: BaseException | None = None
        self._recorder = _Recorder(scorer)
        self._stop = threading.Event()
        self._runner = Runner(
            # KIP-848: the embedded cluster makes a member of the classic protocol wait for three seconds.
            KafkaSource(address, [INPUT], group=GROUP, protocol="consumer"),
            KafkaSink(address),
            AlertFilter(decoder, self._recorder, tense=Tense.TEST),
            Outbox(OUTPUT, DeadLetters(topic=DEAD_LETTERS)),
            batcher=Batcher(batch_max=BATCH_MAX, batch_age_s=BATCH_AGE_S),
            stop=self._stop,
            monitor=self,
        )
        self._thread = threading.Thread(target=self._run, name="runner", daemon=True)

    @property
    def light_curves(self) -> dict[str, LightCurve]:
        """What the verdicts were made from, by `alert_key`."""
        return self._recorder.light_curves

    def start(self) -> None:
        """Begin to read."""
        self._thread.start()

    def stop(self) -> None:
        """Finish the open batch and end; nothing happens if it has ended."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()

    def lagging(self, by_topic: Mapping[str, int]) -> None:
        """Hear how many messages lie ahead."""
        self.lag = sum(by_topic.values())

    def _run(self) -> None:
        try:
            self._runner.run()
        except BaseException as error:  # for the thread that waits for this one
            self.error = error


class _Recorder:
    """Passes batches on to the scorer and keeps the light curves that its verdicts are made from."""

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
