# SPDX-License-Identifier: BSD-3-Clause
"""What the graphs of a bundle say of a batch, before it is calibrated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from broker_plugin.bundle import Bundle
from broker_plugin.engine.encoders import FUSED, Encoder, Forest, Fusion, Head
from broker_plugin.engine.providers import ProviderChoice
from broker_plugin.errors import BundleError, NotFiniteError
from broker_plugin.features.base import Tokens
from broker_plugin.features.period import Periods, catalogue_periods, without_catalogue_period
from broker_plugin.records import AlertBatch

__all__ = ["Graphs", "RawScores"]

Array = TypeVar("Array", NDArray[np.float32], NDArray[np.float64])

SUBSETS = 1024
"""Subsets of modalities whose names are kept: more than bundles of a few modalities have."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RawScores:
    """Uncalibrated scores of a batch.

    Of an alert whose period a catalogue gives, `anomaly`, and the fusion's `oddity` and `surprise`, are those
    without that period; all else is with it.

    Parameters
    ----------
    modalities
        The modalities that each alert has, in the order of the manifest.
    fusion
        Fused embedding, logits and neighbours.
    embeddings
        Embeddings (B, D) by source: `fused` and each modality, zero where the modality is missing.
    anomaly
        Anomaly scores (B,) by source; meaningless where the modality is missing.
    tokens
        What each modality's encoder read.
    """

    modalities: tuple[tuple[str, ...], ...]
    fusion: Fusion
    embeddings: Mapping[str, NDArray[np.float32]]
    anomaly: Mapping[str, NDArray[np.float64]]
    tokens: Mapping[str, Tokens]

    def with_strangeness(self, rows: NDArray[np.intp], other: RawScores) -> RawScores:
        """Return these scores with what `other` says of how strange the alerts at some rows are."""

        def put(own: Array, theirs: Array) -> Array:
            own = own.copy()
            own[rows] = theirs
            return own

        fusion = replace(
            self.fusion,
            oddity=put(self.fusion.oddity, other.fusion.oddity),
            surprise=put(self.fusion.surprise, other.fusion.surprise),
        )
        anomaly = {source: put(each, other.anomaly[source]) for source, each in self.anomaly.items()}
        return replace(self, fusion=fusion, anomaly=anomaly)


class Graphs:
    """The encoders, the head and the forests of one bundle on one device."""

    def __init__(self, bundle: Bundle, choice: ProviderChoice, *, threads: int) -> None:
        manifest = bundle.manifest
        self._name = manifest.name
        self._encoders = [Encoder(bundle, model, choice, threads=threads) for model in manifest.modalities]
        self._head = Head(bundle, manifest.head, choice, threads=threads)
        self._forests: dict[str | None, dict[str, Forest]] = {}
        for model in manifest.forests:
            of_survey = self._forests.setdefault(model.survey, {})
            of_survey[model.source] = Forest(bundle, model, threads=threads)
        if FUSED not in self._forests.get(None, {}):
            raise BundleError(
                f"bundle {self._name} has no forest over the fused embedding", remedy="export it again"
            )

    def warm_up(self) -> None:
        """Run every graph at every shape once."""
        for encoder in self._encoders:
            encoder.warm_up()
        self._head.warm_up()
        for forests in self._forests.values():
            for forest in forests.values():
                forest.warm_up()

    def run(self, batch: AlertBatch, periods: Periods) -> RawScores:
        """Return the scores of a batch.

        How strange an alert is gets asked without the period of a catalogue: the calibration knows no alert
        that has one, and an alert whose period is given looks the less strange for it.

        Raises
        ------
        NotFiniteError
            If a graph gives a number that is not finite.
        """
        scores = self._run(batch, periods)
        rows = np.flatnonzero(catalogue_periods(batch))
        if not len(rows):
            return scores
        unaided = self._run(without_catalogue_period(batch.take(rows)), periods.take(rows))
        return scores.with_strangeness(rows, unaided)

    def _run(self, batch: AlertBatch, periods: Periods) -> RawScores:
        names = [encoder.model.name for encoder in self._encoders]
        tokens = [encoder.modality.tokens(batch, periods) for encoder in self._encoders]
        embeddings = [encoder.encode(part) for encoder, part in zip(self._encoders, tokens, strict=True)]
        present = np.stack([part.lengths > 0 for part in tokens], axis=1)
        fusion = self._head.fuse(np.stack(embeddings, axis=1), present)
        by_source = dict(zip(names, embeddings, strict=True))
        anomaly = self._anomaly(by_source | {FUSED: fusion.surprise}, batch.survey)
        self._require_finite(
            fusion.fused, fusion.logits, fusion.similarity, fusion.oddity, fusion.surprise, *anomaly.values()
        )
        return RawScores(
            modalities=tuple(_those(tuple(names), tuple(row)) for row in present.tolist()),
            fusion=fusion,
            embeddings=by_source | {FUSED: fusion.fused},
            anomaly=anomaly,
            tokens=dict(zip(names, tokens, strict=True)),
        )

    def _anomaly(
        self, embeddings: Mapping[str, NDArray[np.float32]], survey: Sequence[str]
    ) -> dict[str, NDArray[np.float64]]:
        """Return the scores by source: of a survey's own forest where it has one, else of the common one."""
        common = self._forests[None]
        anomaly = {source: np.zeros(len(survey)) for source in common}
        for name in dict.fromkeys(survey):
            # Nearly every batch is of one survey, and needs no rows to be picked.
            alone = survey.count(name) == len(survey)
            rows = slice(None) if alone else np.flatnonzero([each == name for each in survey])
            forests = common | self._forests.get(name, {})
            for source, scores in anomaly.items():
                scores[rows] = forests[source].score(embeddings[source][rows])
        return anomaly

    def _require_finite(self, *arrays: NDArray[np.floating]) -> None:
        if not all(np.isfinite(array).all() for array in arrays):
            raise NotFiniteError(
                f"bundle {self._name} gave a number that is not finite", remedy="roll back to another"
            )


@lru_cache(SUBSETS)
def _those(names: tuple[str, ...], present: tuple[bool, ...]) -> tuple[str, ...]:
    return tuple(name for name, there in zip(names, present, strict=True) if there)
