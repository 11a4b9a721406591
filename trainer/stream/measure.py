# SPDX-License-Identifier: BSD-3-Clause
"""Whether p-values keep their promise on objects that were held back, and what planted anomalies get.

Every split draws forest, calibration and test objects anew. Objects are held back in two ways: by object
alone, as if a calibration were made of the very nights that it is used on, and by exposure too, so that
nothing of a test alert's exposure was seen before. Strata are those that the finished bundle has, filled with
the split's fewer objects.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from broker_plugin.calibration import p_value
from broker_plugin.engine.encoders import FUSED
from broker_plugin.strata import StreamStratum
from trainer.stream.fit import Fitted, Material, fit_parts, p_values_of, part_rows
from trainer.stream.views import Encoded, Float32Array

__all__ = [
    "LEVELS",
    "TESTED_MIN",
    "TEST_SHARE",
    "catalogue_p_values",
    "ks_distance",
    "measure",
    "uniformities",
    "uniformity",
]

FloatArray = NDArray[np.float64]

LEVELS = (0.1, 0.01)
"""Levels at which exceedance is counted."""

KS_MEAN = 0.8687
"""Mean of Kolmogorov's distribution, sqrt(pi / 2) ln 2: times 1 / sqrt(n), the distance by chance alone."""

TEST_SHARE = 0.2
"""Share of the objects that a split holds back."""

TESTED_MIN = 50
"""Fewest objects of a stratum whose p-values are tested at all: half of them would miss a tail of 1 %."""

TEST_MIN = 20
"""Fewest held-back objects of a stratum, in the mean of the splits, for it to be tested at all."""


def measure(
    material: Material, plan: Sequence[StreamStratum], *, seeds: Iterable[int], by_exposure: bool
) -> dict[str, Any]:
    """Return the results of several splits: strata, planted anomalies, choices of forests.

    The same objects and anomalies are also compared with the catalogue stars that the bundle came with.

    Parameters
    ----------
    by_exposure
        Whether test objects share no exposure with the others.
    """
    ordinary: dict[str, list[tuple[FloatArray, int]]] = {}
    catalogue: dict[str, list[tuple[FloatArray, int]]] = {}
    planted: dict[str, list[dict[str, FloatArray]]] = {}
    taken: dict[str, list[str]] = {}
    splits = 0
    for seed in seeds:
        splits += 1
        parts = part_rows(material, test_share=TEST_SHARE, seed=seed, by_exposure=by_exposure)
        fitted = fit_parts(material, parts, plan, seed=seed)
        modalities = material.engine.modalities
        p_values, position = p_values_of(material.encoded, material.sources, parts.test, fitted, modalities)
        of_catalogue = catalogue_p_values(material, material.encoded, material.sources, parts.test)
        for each in np.unique(position[position >= 0]):
            stratum, inside = fitted.strata[each], position == each
            ordinary.setdefault(stratum.name, []).append((p_values[inside], stratum.n))
            catalogue.setdefault(stratum.name, []).append((of_catalogue[inside], 0))
        for kind, values in _planted(material, parts.test, fitted).items():
            planted.setdefault(kind, []).append(values)
        for survey in sorted(set(material.encoded.survey.tolist())):
            own = FUSED in fitted.forests.own.get(survey, {})
            taken.setdefault(survey, []).append("stream" if own else "bundle")
    return {
        "splits": splits,
        "test_share": TEST_SHARE,
        "strata": {stratum.name: _stratum(ordinary.get(stratum.name, []), splits) for stratum in plan},
        "strata_with_catalogue": {
            stratum.name: _stratum(catalogue.get(stratum.name, []), splits) for stratum in plan
        },
        "planted": {basis: _summary(values) for basis, values in planted.items()},
        "forests_taken": {survey: {n: names.count(n) for n in set(names)} for survey, names in taken.items()},
    }


def uniformity(p_values: FloatArray, n_calibration: int) -> dict[str, float | None]:
    """Return the shares at `LEVELS`, what they should be and its error, and the distance from uniformity.

    A share of p-values at a level is at most the level: with n calibration objects p is a multiple of
    1 / (n + 1). Where even the smallest p-value is above the level, there is nothing to count.
    """
    n_effective = 1.0 / (1.0 / len(p_values) + (1.0 / n_calibration if n_calibration else 0.0))
    result: dict[str, float | None] = {
        "ks": ks_distance(p_values),
        "ks_due": KS_MEAN / math.sqrt(n_effective),
    }
    for level in LEVELS:
        n = n_calibration or 10**6
        expected = math.floor(level * (n + 1) + 1e-9) / (n + 1)
        known = expected > 0
        result[f"share_{level}"] = float((p_values <= level + 1e-12).mean()) if known else None
        result[f"expected_{level}"] = expected if known else None
        variance = expected * (1 - expected) * (1 / len(p_values) + 1 / n)
        result[f"error_{level}"] = math.sqrt(variance) if known else None
    return result


def uniformities(
    p_values: FloatArray, stratum: NDArray[np.str_], calibration_n: NDArray[np.int64]
) -> dict[str, dict[str, float | None]]:
    """Return `uniformity` of each stratum that holds `TESTED_MIN` objects, with their number.

    Parameters
    ----------
    stratum, calibration_n
        Name and size of the stratum behind each p-value (B,).
    """
    found = {}
    for name in np.unique(stratum):
        rows = stratum == name
        if (n := int(rows.sum())) >= TESTED_MIN:
            size = int(calibration_n[rows][0])
            found[str(name)] = {"n": n, "calibration_n": size} | uniformity(p_values[rows], size)
    return found


def ks_distance(p_values: FloatArray) -> float:
    """Return the Kolmogorov-Smirnov distance of p-values from uniformity.

    Examples
    --------
    >>> round(ks_distance(np.arange(1, 101) / 100), 3), ks_distance(np.full(9, 0.5))
    (0.01, 0.5)
    """
    ordered = np.sort(p_values)
    n = len(ordered)
    above = np.arange(1, n + 1) / n - ordered
    below = ordered - np.arange(n) / n
    return float(max(above.max(), below.max()))


def catalogue_p_values(
    material: Material, encoded: Encoded, sources: Mapping[str, Float32Array], rows: NDArray[np.intp]
) -> FloatArray:
    """Return the p-values that the bundle's catalogue stars give alerts."""
    bundle = material.engine.bundle
    arrays = bundle.arrays(bundle.manifest.calibration_file)
    having = encoded.modalities(material.engine.modalities)
    names = [bundle.stratum_of(having[row], int(encoded.n_epochs[row])).name for row in rows]
    score = material.engine.forests[FUSED].score(sources[FUSED][rows])
    p_values = np.ones(len(rows))
    for name in set(names):
        inside = np.array([each == name for each in names])
        p_values[inside] = p_value(score[inside], arrays[f"{name}/{FUSED}"])
    return p_values


def _planted(material: Material, test: NDArray[np.intp], fitted: Fitted) -> dict[str, dict[str, FloatArray]]:
    """Return p-values of what was planted into test objects, by basis and `<stratum> <kind>`.

    The basis is a source of scores on the stream's strata, or the catalogue for the fused one.
    """
    planted = material.planted
    rows = np.flatnonzero(np.isin(planted.host, test))
    names = material.engine.modalities
    by_basis = {"catalogue": catalogue_p_values(material, planted.encoded, planted.sources, rows)}
    position = np.zeros(len(rows), np.int64)
    for source in material.engine.forests:
        by_basis[source], position = p_values_of(
            planted.encoded, planted.sources, rows, fitted, names, source=source
        )
    found: dict[str, dict[str, FloatArray]] = {basis: {} for basis in by_basis}
    for each in np.unique(position[position >= 0]):
        for kind in np.unique(planted.kind[rows]):
            inside = (position == each) & (planted.kind[rows] == kind)
            for basis, p_values in by_basis.items():
                known = inside & ~np.isnan(p_values)
                if known.any():
                    found[basis][f"{fitted.strata[each].name} {kind}"] = p_values[known]
    return found


def _stratum(splits: list[tuple[FloatArray, int]], n_splits: int) -> dict[str, Any]:
    n_test = sum(len(p_values) for p_values, _ in splits)
    if n_test < TEST_MIN * n_splits:
        return {"n_test": n_test, "untested": f"too few to test: {n_test} objects in {n_splits} splits"}
    each = [uniformity(p_values, n) for p_values, n in splits]
    return {
        "n_test": n_test,
        "n_calibration": float(np.mean([n for _, n in splits])),
        "ks_all_splits": ks_distance(np.concatenate([p_values for p_values, _ in splits])),
    } | {name: _spread([result[name] for result in each]) for name in each[0]}


def _summary(splits: list[dict[str, FloatArray]]) -> dict[str, Any]:
    names = sorted({name for split in splits for name in split})
    return {
        name: {
            "n": sum(len(split[name]) for split in splits if name in split),
            "auroc": _spread([1.0 - float(split[name].mean()) for split in splits if name in split]),
            "share_0.1": _spread([float((split[name] <= 0.1).mean()) for split in splits if name in split]),
            "share_0.01": _spread([float((split[name] <= 0.01).mean()) for split in splits if name in split]),
        }
        for name in names
    }


def _spread(values: Sequence[float | None]) -> dict[str, float] | None:
    """Return mean and standard deviation over the splits that could tell."""
    known = [value for value in values if value is not None]
    if not known:
        return None
    return {"mean": round(float(np.mean(known)), 4), "spread": round(float(np.std(known)), 4)}
