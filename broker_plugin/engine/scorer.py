# SPDX-License-Identifier: BSD-3-Clause
"""Alerts in, verdicts out: the heart that every stream, broker and archive is an adapter around."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

from broker_plugin.bundle import Bundle, open_bundle
from broker_plugin.codec.verdict import Tense, Verdict
from broker_plugin.engine.first_start import compile_kernels
from broker_plugin.engine.judgement import Judge
from broker_plugin.engine.opening import begin_step
from broker_plugin.engine.providers import Device, ProviderChoice, choose
from broker_plugin.engine.scores import Graphs, RawScores
from broker_plugin.features.period import find_periods
from broker_plugin.features.warm_up import warm_up
from broker_plugin.precision import Precision
from broker_plugin.prior import BUNDLE, parse_prior
from broker_plugin.records import Alert, AlertBatch

__all__ = ["Scorer"]


class Scorer:
    """Scores alerts with one bundle on one device. Make it with `Scorer.open`.

    Parameters
    ----------
    bundle
        An opened bundle.
    choice
        The execution provider; also an attribute, `provider`, whose `reason` says why it was taken.
    threads
        Threads within one graph.
    embeddings
        Put the fused embedding into every verdict.
    class_prior
        Class frequencies that the probabilities assume, as `prior.parse_prior` reads them.
    decision_rule
        What names the class, a `DecisionRule`: `bundle` for the bundle's own rule, which under another prior
        than the bundle's is `argmax`.

    Examples
    --------
    >>> scorer = Scorer.open("default", device="cpu")
    >>> scorer.score([])
    []
    """

    def __init__(
        self,
        bundle: Bundle,
        choice: ProviderChoice,
        *,
        threads: int = 1,
        embeddings: bool = False,
        class_prior: str = BUNDLE,
        decision_rule: str = BUNDLE,
    ) -> None:
        self.bundle = bundle
        self.provider = choice
        self._graphs = Graphs(bundle, choice, threads=threads)
        self._judge = Judge(
            bundle,
            choice,
            embeddings=embeddings,
            prior=parse_prior(class_prior, bundle.manifest.classes),
            decision_rule=decision_rule,
        )

    @classmethod
    def open(
        cls,
        bundle: str | Path = "default",
        *,
        device: Device | str = "auto",
        worker: int = 0,
        threads: int = 1,
        embeddings: bool = False,
        class_prior: str = BUNDLE,
        decision_rule: str = BUNDLE,
    ) -> Scorer:
        """Open a bundle on a device.

        Parameters
        ----------
        bundle
            Name of an installed bundle, or a directory.
        device
            `auto`, `cpu`, `cuda` or `openvino`. Only `auto` may choose; `scorer.provider.reason` says what
            it took.
        worker
            As for `providers.choose`.
        threads, embeddings, class_prior, decision_rule
            As for the class.

        Raises
        ------
        BundleError, ProviderError
            If the bundle or the device cannot be had; the message says what to do.
        ConfigurationError
            If the class prior is none of this bundle's classes, or there is no such decision rule.
        """
        return cls(
            open_bundle(bundle),
            choose(device, worker=worker),
            threads=threads,
            embeddings=embeddings,
            class_prior=class_prior,
            decision_rule=decision_rule,
        )

    @property
    def precision(self) -> Precision:
        """Number format of the encoders: that of the bundle, or the coarser one of the device."""
        return self._judge.precision

    def warm_up(self) -> None:
        """Compile the features, or load their compiled code, and run every graph at every shape once."""
        compile_kernels()
        begin_step()
        warm_up()
        self._graphs.warm_up()

    def score(
        self,
        alerts: AlertBatch | Iterable[Alert],
        *,
        tense: Tense = Tense.CURRENT,
        received_at: datetime | None = None,
    ) -> list[Verdict]:
        """Return one verdict for each alert, in order.

        A verdict depends on its alert, the bundle and the device alone: not on the order, the size or the
        other members of the batch. Only the times `received_at` and `emitted_at` differ between two calls.
        """
        batch = alerts if isinstance(alerts, AlertBatch) else AlertBatch.from_alerts(alerts)
        if not len(batch):
            return []
        return self.examine(batch, tense=tense, received_at=received_at)[0]

    def examine(
        self, batch: AlertBatch, *, tense: Tense = Tense.CURRENT, received_at: datetime | None = None
    ) -> tuple[list[Verdict], RawScores]:
        """Return the verdicts of `score` and what they rest on, the embeddings of each modality among it."""
        periods = find_periods(batch)
        scores = self._graphs.run(batch, periods)
        now = datetime.now(UTC)
        verdicts = self._judge.verdicts(
            batch, periods, scores, tense=tense, received_at=received_at or now, emitted_at=now
        )
        return verdicts, scores
