# SPDX-License-Identifier: BSD-3-Clause
"""Raw scores compared with the bundle's calibration: probabilities, class sets and p-values by stratum."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from broker_plugin.bundle import Bundle, Stratum
from broker_plugin.calibration import class_sets, p_value_of_one, softmax
from broker_plugin.decision import ARGMAX, TEMPERED, decided, tempered_weights
from broker_plugin.engine.encoders import FUSED
from broker_plugin.engine.scores import RawScores
from broker_plugin.errors import BundleError
from broker_plugin.prior import ClassPrior, reweighted
from broker_plugin.records import AlertBatch
from broker_plugin.strata import StreamStrata

__all__ = ["Calibrated", "Calibrator"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibrated:
    """What the calibration makes of the scores of a batch; one entry for each alert.

    Parameters
    ----------
    probabilities
        Of the classes, for the prior that was asked for.
    named
        Position of the class that the decision rule names.
    class_sets
        Positions of the classes in the conformal set, the most probable first.
    p_values
        By source: the fusion and the modalities that the alert has.
    basis
        Name and size of the stratum behind them.
    """

    probabilities: list[list[float]]
    named: list[int]
    class_sets: list[list[int]]
    p_values: list[dict[str, float]]
    basis: list[tuple[str, int]]


class Calibrator:
    """The calibration of one bundle.

    Parameters
    ----------
    prior
        Class frequencies that the probabilities are to assume, None for the bundle's own.
    rule
        The decision rule.

    Raises
    ------
    BundleError
        If the bundle lacks a part of its calibration.
    """

    def __init__(self, bundle: Bundle, *, prior: ClassPrior | None, rule: str) -> None:
        self._bundle = bundle
        self._prior = prior
        self._even = [1.0] * len(bundle.manifest.classes)
        self._weights_of_all = self._common_weights(rule)
        arrays = bundle.arrays(bundle.manifest.calibration_file)
        _require_calibration(bundle, frozenset(arrays))
        # Searched one score at a time, which plain numbers answer several times faster than numpy's.
        self._ordinary = {tuple(name.rpartition("/")[::2]): array("d", each) for name, each in arrays.items()}
        self._stream = StreamStrata(bundle.manifest.stream_strata)
        self._own_forest = {model.survey for model in bundle.manifest.forests} - {None}
        self._edges = np.array(bundle.manifest.epoch_edges)
        self._catalogue: dict[tuple[tuple[str, ...], int], Stratum] = {}

    def calibrate(self, batch: AlertBatch, scores: RawScores) -> Calibrated:
        """Return what the scores of a batch mean."""
        strata = self._catalogue_strata(batch, scores)
        position = self._stream.positions(
            batch.survey, batch.source_context, scores.modalities, batch.n_epochs
        )
        self._require_own_strata(batch, scores, position)
        basis = [
            (catalogue.name, catalogue.n) if at < 0 else (self._stream[at].name, self._stream[at].n)
            for catalogue, at in zip(strata, position.tolist(), strict=True)
        ]
        own = softmax(scores.fusion.logits, np.array([stratum.temperature for stratum in strata]))
        probabilities = own
        if self._prior is not None:
            frequencies = self._bundle.manifest.class_frequencies
            probabilities = reweighted(own, frequencies, self._prior.frequencies)
        return Calibrated(
            probabilities=probabilities.tolist(),
            named=decided(probabilities, self._weights(strata)).tolist(),
            # Their threshold is one of the bundle's own probabilities; so taken, a set holds as large a share
            # of each class under every prior.
            class_sets=class_sets(own, np.array([stratum.class_threshold for stratum in strata])),
            p_values=self._p_values(scores, basis),
            basis=basis,
        )

    def _common_weights(self, rule: str) -> NDArray[np.float64] | None:
        """Return the weights (1, C) of a rule that has the same for all strata."""
        if rule == ARGMAX:
            return np.array([self._even])
        if rule == TEMPERED:
            frequencies = self._prior.frequencies if self._prior else self._bundle.manifest.class_frequencies
            return tempered_weights(frequencies)[None]
        return None

    def _catalogue_strata(self, batch: AlertBatch, scores: RawScores) -> list[Stratum]:
        bins = np.searchsorted(self._edges, batch.n_epochs, side="right").tolist()
        kinds = list(zip(scores.modalities, bins, strict=True))
        for kind, n_epochs in zip(kinds, batch.n_epochs.tolist(), strict=True):
            if kind not in self._catalogue:
                self._catalogue[kind] = self._bundle.stratum_of(kind[0], n_epochs)
        return [self._catalogue[kind] for kind in kinds]

    def _weights(self, strata: Sequence[Stratum]) -> NDArray[np.float64]:
        """Return the weights of the classes (B, C) by the decision rule."""
        if self._weights_of_all is not None:
            return self._weights_of_all
        return np.array([stratum.class_weights or self._even for stratum in strata])

    def _p_values(self, scores: RawScores, basis: Sequence[tuple[str, int]]) -> list[dict[str, float]]:
        """Return p-values by source.

        They are 1 where a stratum has no scores of a source to compare with, and where an alert has no
        modality at all: of nothing, nothing is strange.
        """
        anomaly = {source: each.tolist() for source, each in scores.anomaly.items()}
        found = []
        for row, (modalities, (stratum, _)) in enumerate(zip(scores.modalities, basis, strict=True)):
            p_values = dict.fromkeys((FUSED, *modalities), 1.0)
            for source in p_values if modalities else ():
                ordinary = self._ordinary.get((stratum, source))
                if ordinary is not None:
                    p_values[source] = p_value_of_one(anomaly[source][row], ordinary)
            found.append(p_values)
        return found

    def _require_own_strata(self, batch: AlertBatch, scores: RawScores, position: NDArray[np.int64]) -> None:
        """Refuse to compare scores of a survey's own forest with scores of the common one."""
        for survey in self._own_forest & set(batch.survey):
            found = zip(batch.survey, scores.modalities, position.tolist(), strict=True)
            used = {at for name, modalities, at in found if name == survey and modalities}
            if any(at < 0 or self._stream[at].forest != survey for at in used):
                raise BundleError(
                    f"bundle {self._bundle.manifest.name} scores {survey} by a forest of its own and "
                    "has no calibration of that forest for one of the alerts",
                    remedy="fit it again with trainer fit-anomaly",
                )


def _require_calibration(bundle: Bundle, names: frozenset[str]) -> None:
    manifest = bundle.manifest
    for stratum in manifest.strata:
        if stratum.class_weights is not None and len(stratum.class_weights) != len(manifest.classes):
            raise BundleError(
                f"bundle {manifest.name} has {len(stratum.class_weights)} class weights for "
                f"{stratum.name} and {len(manifest.classes)} classes",
                remedy="export it again",
            )
    forests = {forest.source for forest in manifest.forests if forest.survey is None}
    needed = [
        (stratum.name, source)
        for stratum in manifest.strata
        for source in forests & {FUSED, *stratum.name.partition("/")[0].split("+")}
    ]
    for name, source in (*needed, *((stream.name, FUSED) for stream in manifest.stream_strata)):
        if f"{name}/{source}" not in names:
            raise BundleError(
                f"bundle {manifest.name} has no {source} scores for {name}", remedy="export it again"
            )
