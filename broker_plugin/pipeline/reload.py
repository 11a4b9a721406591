# SPDX-License-Identifier: BSD-3-Clause
"""Another bundle while the stream runs: opened and warmed beside it, taken up between two batches.

A thread looks at what is promoted and prepares it; the loop itself asks, between batches, whether it is time.
A bundle that cannot be prepared changes nothing but a log, a metric and what is tried again later.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

import structlog

from broker_plugin.bundle import Bundle
from broker_plugin.codec.verdict import Tense, Verdict
from broker_plugin.engine.opening import OpeningAbandonedError, abandoned_when
from broker_plugin.engine.rehearsal import rehearse
from broker_plugin.engine.scorer import Scorer
from broker_plugin.engine.scores import RawScores
from broker_plugin.errors import BundleError, ConfigurationError
from broker_plugin.records import AlertBatch
from broker_plugin.repository.layout import BundleRepository
from broker_plugin.repository.promotions import Promotion, in_force

__all__ = ["BundleChange", "BundleWatch", "SwitchableScorer"]

log = structlog.get_logger(__name__)

BundleChange = Literal["switched", "refused"]
"""What became of a promotion."""

POLL_S = 2.0
"""Time between two looks at the repository: one small file, and a promotion need not be noticed sooner."""

RETRY_S = 300.0
"""Time until a bundle that was refused is tried again: what is missing may be on its way to this disk."""


OBSERVER_ERRORS = (ArithmeticError, LookupError, TypeError, ValueError)
"""What numbers that nobody foresaw make a measure of drift raise."""


class SwitchableScorer:
    """Scores with one bundle until it is given another.

    Parameters
    ----------
    scorer
        The first.
    observe
        Is told what each batch of the stream was scored from, and by which bundle.
    """

    def __init__(
        self, scorer: Scorer, *, observe: Callable[[Bundle, RawScores], None] = lambda bundle, scores: None
    ) -> None:
        self.scorer = scorer
        self._observe = observe

    def score(
        self, alerts: AlertBatch, *, tense: Tense = Tense.CURRENT, received_at: datetime | None = None
    ) -> list[Verdict]:
        """Return one verdict for each alert, in order."""
        if not len(alerts):
            return []
        scorer = self.scorer
        verdicts, scores = scorer.examine(alerts, tense=tense, received_at=received_at)
        if received_at is not None:  # else nobody sent it: the filter looks whether the scorer is sound
            try:
                self._observe(scorer.bundle, scores)
            except OBSERVER_ERRORS as error:
                # No alert's fault: raised here, it would make dead letters of the batch.
                log.warning("drift_not_observed", error=type(error).__name__)
        return verdicts


@dataclass(frozen=True, slots=True)
class _Prepared:
    promotion: Promotion
    scorer: Scorer


class BundleWatch:
    """Follows what is promoted under a name. A context: a thread watches while it is entered.

    Parameters
    ----------
    repository, name
        What is followed.
    survey
        Whose noon decides when a promotion takes effect.
    scorer
        Is given the new bundle.
    open_scorer
        Opens a bundle's directory as the service would.
    hurry
        Set it to have the repository looked at now.
    on_change
        Is told of a switch, by the loop, and of a refusal, by the thread.
    clock
        The time of day.
    """

    def __init__(
        self,
        repository: BundleRepository,
        name: str,
        *,
        survey: str,
        scorer: SwitchableScorer,
        open_scorer: Callable[[Path], Scorer],
        hurry: threading.Event | None = None,
        on_change: Callable[[BundleChange], None] = lambda change: None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._repository = repository
        self._name = name
        self._survey = survey
        self._scorer = scorer
        self._open_scorer = open_scorer
        self._hurry = threading.Event() if hurry is None else hurry
        self._on_change = on_change
        self._clock = clock
        self._promotions: tuple[Promotion, ...] = ()
        self._prepared: _Prepared | None = None
        self._refused: dict[str, float] = {}
        self._complaint = ""
        self._leaving = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="bundle-watch", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._leaving.set()
        self._hurry.set()
        self._thread.join()

    def switch_if_due(self) -> None:
        """Take up the prepared bundle if its time has come. For the loop, between two batches."""
        prepared = self._prepared
        if prepared is None:
            return
        holding = in_force(self._promotions, self._survey, self._clock())
        if holding is None or holding.digest != prepared.promotion.digest:
            return
        before = self._scorer.scorer.bundle.digest
        self._scorer.scorer = prepared.scorer
        self._prepared = None
        log.info(
            "bundle_switched",
            bundle=f"{self._name}@{holding.version}",
            digest=holding.digest,
            before=before,
            action=holding.action,
            by=holding.by,
        )
        self._on_change("switched")

    def look(self) -> None:
        """Read what is promoted, and prepare what is or will be in force."""
        try:
            self._promotions = self._repository.promotions(self._name)
        except BundleError as error:
            self._complain(str(error))
            return
        self._complaint = ""
        wanted = list(_wanted(self._promotions, self._survey, self._clock()))
        running = self._scorer.scorer.bundle.digest
        prepared = self._prepared
        if prepared is not None and prepared.promotion.digest not in {each.digest for each in wanted}:
            self._prepared = prepared = None  # taken back before its time
        # What is due comes before what waits: there is room for one beside the one that runs.
        for promotion in wanted:
            if promotion.digest == running:
                continue
            if prepared is None or prepared.promotion.digest != promotion.digest:
                self._prepare(promotion)
            if self._prepared is not None:
                return

    def _watch(self) -> None:
        while not self._leaving.is_set():
            self.look()
            if self._hurry.wait(POLL_S):
                self._hurry.clear()
                self._refused.clear()

    def _prepare(self, promotion: Promotion) -> None:
        if time.monotonic() < self._refused.get(promotion.digest, 0.0):
            return
        bundle = f"{self._name}@{promotion.version}"
        begun = time.perf_counter()
        try:
            with abandoned_when(self._leaving.is_set):
                scorer = self._open(promotion)
        except OpeningAbandonedError:
            return
        except Exception as error:  # whatever is wrong with it, the bundle that runs goes on
            self._refused[promotion.digest] = time.monotonic() + RETRY_S
            why = str(error) if isinstance(error, ConfigurationError) else f"{type(error).__name__}: {error}"
            log.warning("bundle_refused", bundle=bundle, digest=promotion.digest, why=why)
            self._on_change("refused")
            return
        self._prepared = _Prepared(promotion, scorer)
        log.info(
            "bundle_prepared",
            bundle=bundle,
            digest=promotion.digest,
            seconds=round(time.perf_counter() - begun, 3),
            takes_effect=promotion.takes_effect(self._survey).isoformat(timespec="seconds"),
        )

    def _open(self, promotion: Promotion) -> Scorer:
        scorer = self._open_scorer(self._repository.promoted(self._name, promotion))
        rehearse(scorer)
        return scorer

    def _complain(self, why: str) -> None:
        if why != self._complaint:
            self._complaint = why
            log.error("repository_unreadable", why=why)


def _wanted(promotions: Sequence[Promotion], survey: str, when: datetime) -> Iterator[Promotion]:
    """Yield what is in force, then what waits for noon."""
    holding = in_force(promotions, survey, when)
    if holding is not None:
        yield holding
    if promotions and promotions[-1] is not holding:
        yield promotions[-1]
