# SPDX-License-Identifier: BSD-3-Clause
"""What the pipeline tells of itself while it runs: to metrics, to health checks, to a live table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from broker_plugin.codec.verdict import Verdict
from broker_plugin.errors import StreamPausedError
from broker_plugin.pipeline.filter import Judgement
from broker_plugin.pipeline.stages import StageTimes

__all__ = ["BatchOutcome", "Monitor", "Monitors", "QuietMonitor"]


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchOutcome:
    """A batch whose verdicts and dead letters are acknowledged and whose offsets are committed.

    Parameters
    ----------
    judgements
        In the order of the messages.
    received_at, delivered_at
        When its oldest message was polled, and when all was done.
    times
        Seconds by stage, with the attempts that failed and the pauses between them.
    """

    judgements: tuple[Judgement, ...]
    received_at: datetime
    delivered_at: datetime
    times: StageTimes

    @property
    def verdicts(self) -> list[Verdict]:
        """All verdicts, in order."""
        return [verdict for judgement in self.judgements for verdict in judgement.verdicts]

    @property
    def rejections(self) -> Counter[str]:
        """Number of dead letters by reason."""
        return Counter(str(j.rejection.reason) for j in self.judgements if j.rejection is not None)


class Monitor(Protocol):
    """Is told what happens. It must not raise and should not take long."""

    def beat(self) -> None:
        """Hear that the loop is alive: several times a second, also while a stage is being retried."""
        ...

    def joined(self, joined: bool) -> None:
        """Hear whether the source has given us our share of the stream."""
        ...

    def lagging(self, by_topic: Mapping[str, int]) -> None:
        """Hear how many messages lie ahead on each topic."""
        ...

    def paused(self, pause: StreamPausedError | None) -> None:
        """Hear that nothing more is read until somebody acts, and why; None when it goes on."""
        ...

    def retried(self, stage: str) -> None:
        """Hear that a stage failed for a passing reason and will be tried again."""
        ...

    def succeeded(self, stage: str) -> None:
        """Hear that a stage did its work, at once or after it had failed."""
        ...

    def delivered(self, outcome: BatchOutcome) -> None:
        """Hear that a batch is done."""
        ...


class QuietMonitor:
    """Listens and says nothing; a base for monitors that care for some of it."""

    def beat(self) -> None:
        """Do nothing."""

    def joined(self, joined: bool) -> None:
        """Do nothing."""

    def lagging(self, by_topic: Mapping[str, int]) -> None:
        """Do nothing."""

    def paused(self, pause: StreamPausedError | None) -> None:
        """Do nothing."""

    def retried(self, stage: str) -> None:
        """Do nothing."""

    def succeeded(self, stage: str) -> None:
        """Do nothing."""

    def delivered(self, outcome: BatchOutcome) -> None:
        """Do nothing."""


class Monitors:
    """Passes everything on to several monitors, in order.

    Parameters
    ----------
    monitors
        Who is told.
    """

    def __init__(self, monitors: Iterable[Monitor]) -> None:
        self._monitors = tuple(monitors)

    def beat(self) -> None:
        """Pass it on."""
        for monitor in self._monitors:
            monitor.beat()

    def joined(self, joined: bool) -> None:
        """Pass it on."""
        for monitor in self._monitors:
            monitor.joined(joined)

    def lagging(self, by_topic: Mapping[str, int]) -> None:
        """Pass it on."""
        for monitor in self._monitors:
            monitor.lagging(by_topic)

    def paused(self, pause: StreamPausedError | None) -> None:
        """Pass it on."""
        for monitor in self._monitors:
            monitor.paused(pause)

    def retried(self, stage: str) -> None:
        """Pass it on."""
        for monitor in self._monitors:
            monitor.retried(stage)

    def succeeded(self, stage: str) -> None:
        """Pass it on."""
        for monitor in self._monitors:
            monitor.succeeded(stage)

    def delivered(self, outcome: BatchOutcome) -> None:
        """Pass it on."""
        for monitor in self._monitors:
            monitor.delivered(outcome)
