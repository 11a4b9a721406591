# SPDX-License-Identifier: BSD-3-Clause
"""Forests and strata of one split of an archive.

For each survey with stellar alerts enough, two forests compete for every source of scores: the bundle's,
grown on catalogue stars, and one of the stream's own stellar alerts. That one wins which is better at
anomalies planted into *calibration* alerts, so that test alerts stay out of the choice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from broker_plugin.calibration import p_value
from broker_plugin.engine.encoders import FUSED, Forest
from broker_plugin.records import SourceContext
from broker_plugin.strata import StreamStrata, StreamStratum
from trainer.anomaly import GLOBAL_TREES, MODALITY_TREES, ForestSet, fit_single
from trainer.stream.objects import deal
from trainer.stream.pooling import fill_strata
from trainer.stream.views import Encoded, Engine, Float32Array, View

__all__ = ["Fitted", "Forests", "Material", "Parts", "fit_parts", "p_values_of", "part_rows"]

FOREST_SHARE = 0.19
"""Share of a survey's stellar objects that its forest is grown on. More makes a steadier forest and leaves
fewer objects to the strata: with too few, short and long light curves share one and drown each other."""

FOREST_MIN = 100
"""Fewest stellar objects of a forest; samples of some dozens do well (Liu et al. 2008)."""

MOSTLY_STELLAR = 0.9
"""Least share of stellar objects in an exposure that a forest may take: the exposure's other objects are
lost, since they may not calibrate, and asteroids and galaxies are scarce."""

CHOICE_MARGIN = 0.02
"""By how much the mean p-value of planted anomalies must fall for a forest of the stream to be taken. Some
hundred planted anomalies tell means apart to 0.01, and without gain the bundle's own forest is kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Planted:
    """Planted anomalies: the object that each was planted into, its kind, and its embeddings by source."""

    host: NDArray[np.intp]
    kind: NDArray[np.str_]
    encoded: Encoded
    sources: Mapping[str, Float32Array]


@dataclass(frozen=True, slots=True, kw_only=True)
class Material:
    """An archive's objects, encoded once for all splits.

    Parameters
    ----------
    thing, group
        Equal for alerts of one object, and for alerts of one object or one exposure, (N,).
    sources
        Embeddings of the alerts as they are, by source.
    views
        The alerts with every subset of their modalities.
    """

    engine: Engine
    encoded: Encoded
    thing: NDArray[np.int64]
    group: NDArray[np.int64]
    sources: Mapping[str, Float32Array]
    views: Sequence[View]
    planted: Planted


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """Rows of the objects for the forests, the calibration and the test."""

    forest: NDArray[np.intp]
    calibration: NDArray[np.intp]
    test: NDArray[np.intp]


@dataclass(frozen=True, slots=True, kw_only=True)
class Forests:
    """The bundle's common forests, and those of single surveys, by survey and source."""

    common: Mapping[str, Forest]
    own: Mapping[str, Mapping[str, ForestSet]] = field(default_factory=dict)

    def __call__(
        self, survey: str | None, source: str, embedding: NDArray[np.float32]
    ) -> NDArray[np.float64]:
        """Return the scores of embeddings (V, D): `trainer.stream.pooling.Scores`."""
        own = self.own.get(survey or "", {}).get(source)
        return self.common[source].score(embedding) if own is None else own.score(embedding)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitted:
    """Forests, strata and scores of a split.

    Parameters
    ----------
    choice
        By survey and source, the mean p-value of planted anomalies with either forest, and which was taken.
    """

    forests: Forests
    strata: list[StreamStratum]
    scores: dict[str, NDArray[np.float32]]
    choice: dict[str, dict[str, dict[str, float | str]]]


def part_rows(material: Material, *, test_share: float, seed: int, by_exposure: bool = True) -> Parts:
    """Return the parts of a split; no object and no exposure lies in both forest and calibration.

    Parameters
    ----------
    by_exposure
        Whether the test part has no exposure in common with the others either. It never has an object.
    """
    encoded, group = material.encoded, material.group
    shares = (1.0 - test_share, test_share) if test_share else (1.0,)
    is_test = deal(group if by_exposure else material.thing, shares, seed=seed) == 1
    stellar = _stellar(encoded)
    part = np.ones(len(encoded), np.int64)
    for number, survey in enumerate(sorted(set(encoded.survey.tolist()))):
        rows = np.flatnonzero(~is_test & (encoded.survey == survey))
        purity = np.bincount(group[rows], stellar[rows]) / np.maximum(np.bincount(group[rows]), 1)
        useful = rows[purity[group[rows]] >= MOSTLY_STELLAR]
        share = min(FOREST_SHARE * stellar[rows].sum() / max(len(useful), 1), 1.0)
        if share * len(useful) < FOREST_MIN:
            continue  # too few for a forest: all of them calibrate
        part[useful] = deal(group[useful], (share, 1.0 - share), seed=seed + 1 + number)
    return Parts(
        forest=np.flatnonzero(~is_test & (part == 0)),
        calibration=np.flatnonzero(~is_test & (part == 1)),
        test=np.flatnonzero(is_test),
    )


def fit_parts(
    material: Material,
    parts: Parts,
    plan: Sequence[StreamStratum],
    *,
    seed: int,
) -> Fitted:
    """Fit the forests of a split, choose among them, and fill the planned strata with what calibrates."""
    encoded, engine = material.encoded, material.engine
    common = Forests(common=engine.forests)
    base_strata, base_scores = fill_strata(plan, encoded, material.views, parts.calibration, common)
    own: dict[str, dict[str, ForestSet]] = {}
    choice: dict[str, dict[str, dict[str, float | str]]] = {}
    for survey in sorted(set(encoded.survey[parts.forest].tolist())):
        rows = parts.forest[(encoded.survey == survey)[parts.forest] & _stellar(encoded)[parts.forest]]
        grown = _grow(material, rows, seed=seed)
        rival = Forests(common=engine.forests, own={survey: grown})
        of_survey = [stratum for stratum in plan if survey in stratum.surveys]
        strata, scores = fill_strata(of_survey, encoded, material.views, parts.calibration, rival)
        hosts = np.flatnonzero(
            np.isin(material.planted.host, parts.calibration)
            & (encoded.survey[material.planted.host] == survey)
        )
        choice[survey], own[survey] = {}, {}
        for source, forest in grown.items():
            bundle = _planted_p(material, hosts, base_strata, base_scores, common, source)
            stream = _planted_p(material, hosts, strata, scores, rival, source)
            taken = stream < bundle - CHOICE_MARGIN
            if taken:
                own[survey][source] = forest
            choice[survey][source] = {
                "bundle": round(bundle, 4),
                "stream": round(stream, 4),
                "taken": "stream" if taken else "bundle",
            }
    forests = Forests(common=engine.forests, own={name: each for name, each in own.items() if each})
    # What no forest was grown on may calibrate.
    unused = ~np.isin(encoded.survey[parts.forest], list(forests.own))
    rows = np.sort(np.concatenate([parts.calibration, parts.forest[unused]]))
    strata, scores = fill_strata(plan, encoded, material.views, rows, forests)
    return Fitted(forests=forests, strata=strata, scores=scores, choice=choice)


def p_values_of(
    encoded: Encoded,
    sources: Mapping[str, Float32Array],
    rows: NDArray[np.intp],
    fitted: Fitted,
    modalities: Sequence[str],
    *,
    source: str = FUSED,
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return p-values and positions of strata of alerts, as the service would; NaN and -1 for none.

    An alert has no p-value of a source that it lacks, or all objects of its stratum do.
    """
    having = encoded.modalities(modalities)
    position = StreamStrata(fitted.strata).positions(
        encoded.survey[rows].tolist(),
        encoded.context[rows].tolist(),
        [having[row] for row in rows],
        encoded.n_epochs[rows],
    )
    p_values = np.full(len(rows), np.nan)
    has_source = np.array([source == FUSED or source in having[row] for row in rows], np.bool_)
    for each in np.unique(position[has_source & (position >= 0)]):
        stratum = fitted.strata[each]
        calibration = fitted.scores.get(f"{stratum.name}/{source}")
        if calibration is None:
            continue
        inside = has_source & (position == each)
        score = fitted.forests(stratum.forest, source, sources[source][rows[inside]])
        # The service's scores are float32.
        rounded = score.astype(np.float32)
        p_values[inside] = p_value(rounded, calibration)
    return p_values, position


def _planted_p(
    material: Material,
    hosts: NDArray[np.intp],
    strata: list[StreamStratum],
    scores: dict[str, NDArray[np.float32]],
    forests: Forests,
    source: str,
) -> float:
    """Return the mean p-value of planted anomalies, the mean over their kinds; 1 where there are none."""
    planted = material.planted
    fitted = Fitted(forests=forests, strata=strata, scores=scores, choice={})
    p_values, _ = p_values_of(
        planted.encoded, planted.sources, hosts, fitted, material.engine.modalities, source=source
    )
    kinds = planted.kind[hosts]
    known = ~np.isnan(p_values)
    means = [p_values[known & (kinds == kind)].mean() for kind in np.unique(kinds[known])]
    return float(np.mean(means)) if means else 1.0


def _grow(material: Material, rows: NDArray[np.intp], *, seed: int) -> dict[str, ForestSet]:
    grown = {}
    for position, (source, embedding) in enumerate(material.sources.items()):
        having = rows
        if source != FUSED:
            column = material.engine.modalities.index(source)
            having = rows[material.encoded.present[rows, column]]
        if source in material.engine.forests and len(having) >= FOREST_MIN:
            trees = GLOBAL_TREES if source == FUSED else MODALITY_TREES
            grown[source] = fit_single(embedding[having], seed=seed + position, trees=trees)
    return grown


def _stellar(encoded: Encoded) -> NDArray[np.bool_]:
    return np.asarray(encoded.context == str(SourceContext.STELLAR))
