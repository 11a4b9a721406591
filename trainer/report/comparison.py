# SPDX-License-Identifier: BSD-3-Clause
"""A bundle and its baselines on the same stars: measures with intervals, and differences star by star."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import confusion_matrix

from trainer.metrics import reliability
from trainer.predictions import MERGED, PredictionFile, Predictions, merged_label, near_anomaly
from trainer.resampling import (
    areas,
    calibration_chances,
    calibration_errors,
    class_measures,
    interval_of,
    resamples,
)

__all__ = [
    "MEASURES",
    "Contender",
    "Record",
    "area_of",
    "compare",
    "interval_list",
    "interval_lists",
    "resampled_measures",
]

FloatArray = NDArray[np.float64]

Record = dict[str, Any]
"""Results as they stand in the JSON file: numbers, texts, lists and records of them."""

MEASURES = ("macro_f1", "balanced_accuracy", "accuracy", "ece", "near_ood_auroc")
"""What the bundle and its baselines are compared by."""

CHANCES: Mapping[str, str] = {"ece": "ece_chances"}
"""Under which name `resampled_measures` says how far a measure may be off; others have percentiles."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Contender:
    """What one classifier says of stars.

    Parameters
    ----------
    budget
        What it was trained with, in words.
    """

    name: str
    budget: str
    file: PredictionFile


def compare(
    bundle: Contender,
    baselines: Sequence[Contender],
    published: Mapping[int, str],
    settings: Sequence[str],
    *,
    seed: int,
) -> Record:
    """Return the measures of each contender in each setting, and the bundle's lead over each baseline.

    Every measure is a value with the ends of its 95 % interval over resamples of the stars; a difference is
    over the resamples of the stars that both have answered on.

    Parameters
    ----------
    published
        Published class of every star.
    """
    contenders: Record = {}
    for each in (bundle, *baselines):
        found = _samples(each.file, published, settings, seed=seed)
        contenders[each.name] = {"budget": each.budget, "stars": len(each.file.star_id)} | {
            "settings": {setting: sample.record() for setting, sample in found.items()}
        }
    return {
        "measures": list(MEASURES),
        "classes": list(MERGED),
        "contenders": contenders,
        "lead": {
            each.name: _lead(bundle.file, each.file, published, settings, seed=seed) for each in baselines
        },
    }


def resampled_measures(
    found: Predictions, label: NDArray[np.int64], odd: NDArray[np.bool_], weights: FloatArray
) -> dict[str, FloatArray]:
    """Return each of `MEASURES` that can be had, and its `CHANCES`, over the resamples (R,).

    F1 by class, shape (R, C), is among them.

    Parameters
    ----------
    label
        Position in `MERGED` of each star's class, -1 for a star that counts for no class.
    odd
        Stars that are to be found as anomalies among those of a class.
    """
    known = label >= 0
    measures: dict[str, FloatArray] = {}
    if known.any() and found.classifies:
        probability = found.probability[known]
        named = probability.argmax(axis=1)
        measures |= class_measures(weights[:, known], label[known], named, n_classes=len(MERGED))
        of_known = (weights[:, known], probability, label[known])
        measures["ece"] = calibration_errors(*of_known)
        measures[CHANCES["ece"]] = calibration_chances(*of_known)
    measures["near_ood_auroc"] = area_of(found, known, odd, weights)
    return measures


def area_of(
    found: Predictions, known: NDArray[np.bool_], odd: NDArray[np.bool_], weights: FloatArray
) -> FloatArray:
    """Return the area under the ROC curve of odd stars against known ones over the resamples (R,)."""
    rows = known | odd
    return areas(weights[:, rows], found.anomaly_score[rows], odd[rows])


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sample:
    """Predictions in one setting with the stars' classes, and the resamples they are measured on."""

    found: Predictions
    published: NDArray[np.str_]
    weights: FloatArray

    def measures(self) -> dict[str, FloatArray]:
        """Return each measure over the resamples (R,), F1 by class as (R, C)."""
        label = merged_label(self.published)
        near = near_anomaly(self.published)
        return resampled_measures(self.found, label, near, self.weights)

    def record(self) -> Record:
        """Return the measures with their intervals, and what is drawn of them."""
        label = merged_label(self.published)
        known, near = label >= 0, near_anomaly(self.published)
        measures = self.measures()
        record: Record = {"n": int(known.sum()), "n_near": int(near.sum())}
        record |= interval_lists(measures)
        record["near_ood_auroc_by_class"] = {
            name: {"n": int((self.published == name).sum())}
            | {"auroc": interval_list(area_of(self.found, known, self.published == name, self.weights))}
            for name in np.unique(self.published[near]).tolist()
        }
        if "f1_by_class" in measures:
            truth, probability = label[known], self.found.probability[known]
            named = probability.argmax(axis=1)
            record["f1_by_class"] = {
                name: interval_list(measures["f1_by_class"][:, k]) for k, name in enumerate(MERGED)
            }
            record["confusion"] = confusion_matrix(truth, named, labels=range(len(MERGED))).tolist()
            record["reliability"] = reliability(probability, truth)
            doubt = replace(self.found, anomaly_score=1 - self.found.probability.max(axis=1))
            record["near_ood_auroc_of_confidence"] = interval_list(area_of(doubt, known, near, self.weights))
        return record


def _samples(
    file: PredictionFile, published: Mapping[int, str], settings: Sequence[str], *, seed: int
) -> dict[str, _Sample]:
    classes = np.array([published[each] for each in file.star_id.tolist()], np.str_)
    weights = resamples(len(classes), seed=seed)
    return {
        setting: _Sample(found=file.by_setting[setting], published=classes, weights=weights)
        for setting in settings
        if setting in file.by_setting
    }


def _lead(
    one: PredictionFile,
    other: PredictionFile,
    published: Mapping[int, str],
    settings: Sequence[str],
    *,
    seed: int,
) -> Record:
    """Return by setting and measure how far one is above the other, on the stars that both have.

    By percentiles, the calibration error too: what chance adds to both cancels, as far as they are alike.
    """
    star_id, rows, other_rows = np.intersect1d(one.star_id, other.star_id, return_indices=True)
    both = [_taken(file, taken) for file, taken in ((one, rows), (other, other_rows))]
    ours, theirs = (_samples(file, published, settings, seed=seed) for file in both)
    lead: Record = {}
    for setting in ours:
        if setting not in theirs:
            continue
        found, against = ours[setting].measures(), theirs[setting].measures()
        lead[setting] = {"n": len(star_id)} | {
            name: interval_list(found[name] - against[name])
            for name in MEASURES
            if name in found and name in against
        }
    return lead


def _taken(file: PredictionFile, rows: NDArray[np.intp]) -> PredictionFile:
    return PredictionFile(
        star_id=file.star_id[rows],
        by_setting={name: found.take(rows) for name, found in file.by_setting.items()},
        about=file.about,
    )


def interval_lists(measures: Mapping[str, FloatArray]) -> Record:
    """Return the `interval_list` of each of `MEASURES` that there is; none of them can be negative."""
    record: Record = {}
    for name in MEASURES:
        if name in measures:
            found = interval_list(measures[name], chances=measures.get(CHANCES.get(name, "")))
            record[name] = None if found is None else [max(end, 0.0) for end in found]
    return record


def interval_list(values: FloatArray, *, chances: FloatArray | None = None) -> list[float] | None:
    """Return value, low and high end, None where the sample does not allow one; see `interval_of`."""
    found = interval_of(values, chances=chances)
    return None if found is None else [found.value, found.low, found.high]
