# SPDX-License-Identifier: BSD-3-Clause
"""Whether the stream is still what the bundle was made for, from the last few thousand alerts.

Three questions, each against what the bundle itself holds. A bundle that was fitted to a stream knows what
the stream was like then (`stream_reference`); of another one the training stands for it.

- `score`: are anomaly p-values uniform? They are, of ordinary alerts like those of the calibration. The
  largest distance (Kolmogorov-Smirnov) of their distribution from the uniform one, for the fusion and each
  modality.
- `class`: are classes as frequent as they were, or as the class prior says, if the operator gave one? The
  population stability index of the mean class probabilities of stellar sources.
- `input`: do the encoders read the same values? By modality, the shift of the mean in standard deviations, as
  a root mean square over the columns.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping
from queue import SimpleQueue

import numpy as np
from numpy.typing import NDArray
from prometheus_client import CollectorRegistry, Gauge

from broker_plugin.bundle import Bundle, Manifest
from broker_plugin.distributions import ks_from_uniform, population_stability
from broker_plugin.engine.encoders import FUSED
from broker_plugin.engine.scores import RawScores
from broker_plugin.pipeline.monitor import BatchOutcome, QuietMonitor
from broker_plugin.prior import BUNDLE, parse_prior
from broker_plugin.stream_reference import InputSums, StreamReference, reference_of, scaled_columns

__all__ = ["LEAST", "WINDOW", "DriftWatch"]

FloatArray = NDArray[np.float64]

WINDOW = 4096
"""Alerts that are looked at: minutes of a busy night. Fewer would make noise look like drift."""

LEAST = 200
"""Alerts below which nothing is told: a uniform sample of so many is 0.06 from uniform by chance."""

REFRESH_S = 5.0
"""Time between two computations: oftener than it is scraped, too seldom to cost anything."""

HEAD = "head"
"""Stands for the source where there is one for all modalities."""

Read = tuple[int, InputSums]
"""What one modality's encoder has read of a batch: of how many alerts, and the sums."""


class DriftWatch(QuietMonitor):
    """Sets gauges `broker_plugin_drift{kind, source}`.

    Batches are scored by one thread (`scored`) and delivered by another (all other calls), which may be one
    batch behind: what was scored with the next bundle already waits until a delivery takes it up.

    Parameters
    ----------
    bundle
        Whose reference is compared with.
    survey
        Whose alerts they are.
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
        survey: str,
        registry: CollectorRegistry,
        *,
        class_prior: str = BUNDLE,
        window: int = WINDOW,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._survey = survey
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
        self._scored: SimpleQueue[tuple[Bundle, dict[str, Read]]] = SimpleQueue()
        self.follow(bundle)

    def follow(self, bundle: Bundle) -> None:
        """Begin anew with another bundle's reference."""
        self._digest = bundle.digest
        manifest = bundle.manifest
        reference = reference_of(manifest, self._survey)
        self._classes = tuple(manifest.classes)
        self._shares = _expected_shares(manifest, reference, self._class_prior)
        scaled = scaled_columns(manifest)
        self._reference = {
            name: _expected_inputs(reference, name, columns) for name, columns in scaled.items()
        }
        self._p_values: dict[str, deque[float]] = {
            source: deque(maxlen=self._window) for source in (FUSED, *(m.name for m in manifest.modalities))
        }
        self._probabilities: deque[NDArray[np.float64]] = deque(maxlen=self._window)
        self._inputs: dict[str, deque[Read]] = {name: deque() for name in scaled}
        self._due = self._clock() + REFRESH_S
        self._gauge.clear()
        self._alerts.set(0)

    def scored(self, bundle: Bundle, scores: RawScores) -> None:
        """Note what a bundle's encoders have read of a batch."""
        read = {}
        for name, columns in scaled_columns(bundle.manifest).items():
            tokens = scores.tokens[name]
            read[name] = int((tokens.lengths > 0).sum()), InputSums(tokens.values, columns)
        self._scored.put((bundle, read))

    def delivered(self, outcome: BatchOutcome) -> None:
        """Take in the verdicts of a batch, and all that was scored since the one before."""
        while not self._scored.empty():
            bundle, read = self._scored.get()
            if bundle.digest != self._digest:
                self.follow(bundle)
            self._take_in(read)
        for verdict in outcome.verdicts:
            if not verdict.modalities:
                continue  # nothing is known of it, so nothing is strange
            if verdict.bundle_digest != self._digest:
                continue  # of the bundle before, whose classes may have been others
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

    def _take_in(self, read: Mapping[str, Read]) -> None:
        for name, found in read.items():
            if not found[0]:
                continue
            sums = self._inputs[name]
            sums.append(found)
            while sum(n for n, _ in sums) - sums[0][0] >= self._window:
                sums.popleft()

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
            found["class", HEAD] = population_stability(shares, self._shares)
        for name, sums in self._inputs.items():
            if sum(n for n, _ in sums) >= LEAST:
                mean = np.sum([each.total for _, each in sums], axis=0) / sum(each.n for _, each in sums)
                expected, spread = self._reference[name]
                found["input", name] = float(np.sqrt(np.mean(((mean - expected) / spread) ** 2)))
        return found


def _expected_shares(manifest: Manifest, reference: StreamReference | None, class_prior: str) -> FloatArray:
    """Return the frequencies of the classes that nothing is new at."""
    prior = parse_prior(class_prior, manifest.classes)
    if prior is not None:
        return np.array(prior.frequencies, np.float64)
    if reference is not None and reference.classes is not None:
        return np.array([reference.classes.get(name, 0.0) for name in manifest.classes], np.float64)
    return np.array(manifest.class_frequencies, np.float64)


def _expected_inputs(
    reference: StreamReference | None, name: str, columns: int
) -> tuple[FloatArray, FloatArray]:
    """Return mean and spread of a modality's inputs; of the training they are 0 and 1."""
    noted = None if reference is None else reference.inputs.get(name)
    if noted is None or len(noted.mean) != columns:
        return np.zeros(columns), np.ones(columns)
    return np.array(noted.mean), np.array(noted.std)
