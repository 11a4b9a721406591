# SPDX-License-Identifier: BSD-3-Clause
"""Whether the stream is still what the bundle was made for, from the last few thousand alerts.

Three questions, each against what the bundle itself holds:

- `score`: are anomaly p-values uniform? They are, of ordinary alerts like those of the calibration. The
  largest distance (Kolmogorov-Smirnov) of their distribution from the uniform one, for the fusion and each
  modality.
- `class`: are classes as frequent as the class prior says? The population stability index of the mean class
  probabilities of stellar sources.
- `input`: are the values that the encoders read those that their scalers were fitted on? By modality, the
  shift of the mean in standard deviations of the training, as a root mean square over the columns.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from prometheus_client import CollectorRegistry, Gauge

from broker_plugin.bundle import Bundle, Manifest
from broker_plugin.distributions import ks_from_uniform, population_stability
from broker_plugin.engine.encoders import FUSED
from broker_plugin.engine.scores import RawScores
from broker_plugin.pipeline.monitor import BatchOutcome, QuietMonitor
from broker_plugin.prior import BUNDLE, parse_prior

__all__ = ["WINDOW", "DriftWatch"]

WINDOW = 4096
"""Alerts that are looked at: minutes of a busy night. Fewer would make noise look like drift."""

LEAST = 200
"""Alerts below which nothing is told: a uniform sample of so many is 0.06 from uniform by chance."""

REFRESH_S = 5.0
"""Time between two computations: oftener than it is scraped, too seldom to cost anything."""

HEAD = "head"
"""Stands for the source where there is one for all modalities."""


@dataclass(frozen=True, slots=True)
class _Moments:
    """Sums over some alerts' scaled inputs, by column."""

    n_alerts: int
    n: int
    total: NDArray[np.float64]


class DriftWatch(QuietMonitor):
    """Sets gauges `broker_plugin_drift{kind, source}`. All calls come from the loop's thread.

    Parameters
    ----------
    bundle
        Whose reference is compared with.
    registry
        Where the gauges are.
    class_prior
        As for `Scorer`.
    window
        Alerts that are looked at.
    clock
        Seconds that never go back.
    """

    def __init__(
        self,
        bundle: Bundle,
        registry: CollectorRegistry,
        *,
        class_prior: str = BUNDLE,
        window: int = WINDOW,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._class_prior = class_prior
        self._window = window
        self._clock = clock
        self._gauge = Gauge(
            "broker_plugin_drift",
            "Distance of the last alerts from the bundle's reference: score (KS distance of p-values from "
            "uniform), class (population stability index), input (shift in standard deviations).",
            ("kind", "source"),
            registry=registry,
        )
        self._alerts = Gauge(
            "broker_plugin_drift_window_alerts", "Alerts that drift was measured on.", registry=registry
        )
        self.follow(bundle)

    def follow(self, bundle: Bundle) -> None:
        """Begin anew with another bundle's reference."""
        manifest = bundle.manifest
        prior = parse_prior(self._class_prior, manifest.classes)
        self._classes = tuple(manifest.classes)
        self._prior = np.array(prior.frequencies if prior else manifest.class_frequencies, np.float64)
        self._scaled = _scaled_columns(manifest)
        self._p_values: dict[str, deque[float]] = {
            source: deque(maxlen=self._window) for source in (FUSED, *(m.name for m in manifest.modalities))
        }
        self._probabilities: deque[NDArray[np.float64]] = deque(maxlen=self._window)
        self._inputs: dict[str, deque[_Moments]] = {name: deque() for name in self._scaled}
        self._due = self._clock() + REFRESH_S
        self._gauge.clear()
        self._alerts.set(0)

    def scored(self, scores: RawScores) -> None:
        """Take in what the encoders have read of a batch."""
        for name, columns in self._scaled.items():
            tokens = scores.tokens[name]
            if not len(tokens.values):
                continue
            values = tokens.values[:, :columns].astype(np.float64)
            moments = self._inputs[name]
            moments.append(_Moments(int((tokens.lengths > 0).sum()), len(values), values.sum(axis=0)))
            while sum(each.n_alerts for each in moments) - moments[0].n_alerts >= self._window:
                moments.popleft()

    def delivered(self, outcome: BatchOutcome) -> None:
        """Take in the verdicts of a batch."""
        for verdict in outcome.verdicts:
            if not verdict.modalities:
                continue  # nothing is known of it, so nothing is strange
            for source, p_value in verdict.anomaly_p_values.items():
                if source in self._p_values:
                    self._p_values[source].append(p_value)
            if verdict.class_applies:
                self._probabilities.append(
                    np.array([verdict.class_probabilities[name] for name in self._classes])
                )
        if self._clock() >= self._due:
            self._due = self._clock() + REFRESH_S
            self.refresh()

    def refresh(self) -> None:
        """Compute the gauges."""
        for (kind, source), value in self.distances().items():
            self._gauge.labels(kind, source).set(value)
        self._alerts.set(len(self._p_values[FUSED]))

    def distances(self) -> dict[tuple[str, str], float]:
        """Return the distances by kind and source, of what enough alerts are known for."""
        found: dict[tuple[str, str], float] = {}
        for source, p_values in self._p_values.items():
            if len(p_values) >= LEAST:
                found["score", source] = ks_from_uniform(np.array(p_values))
        if len(self._probabilities) >= LEAST:
            shares = np.mean(self._probabilities, axis=0)
            found["class", HEAD] = population_stability(shares, self._prior)
        for name, moments in self._inputs.items():
            if sum(each.n_alerts for each in moments) >= LEAST:
                total = np.sum([each.total for each in moments], axis=0)
                mean = total / sum(each.n for each in moments)
                found["input", name] = float(np.sqrt(np.mean(mean**2)))
        return found


def _scaled_columns(manifest: Manifest) -> Mapping[str, int]:
    """Return how many of the first columns of each modality's tokens were scaled to mean 0 and variance 1."""
    scaled = {
        model.name: len(model.spec.get("mean", model.spec.get("columns", ())))
        for model in manifest.modalities
    }
    return {name: columns for name, columns in scaled.items() if columns}
