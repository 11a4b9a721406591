# SPDX-License-Identifier: BSD-3-Clause
"""Several trainings of the same model beside one another: how far results move by chance alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from trainer.bundle_evaluation import measures_of
from trainer.predictions import PredictionFile
from trainer.report.comparison import MEASURES, Record

__all__ = ["seeds_record"]


def seeds_record(
    trained: Sequence[tuple[str, PredictionFile]], published: Mapping[int, str], settings: Sequence[str]
) -> Record | None:
    """Return the measures of each training and their mean and standard deviation; None of a single one.

    Each is measured on the stars that it has not seen, which differ from seed to seed where the seed also
    draws the split: the spread is then that of training and test sample together.
    """
    if len(trained) < 2:
        return None
    measures = [_measures(file, published, settings) for _, file in trained]
    return {
        "bundles": [
            {"title": title, "stars": len(file.star_id), "measures": found}
            for (title, file), found in zip(trained, measures, strict=True)
        ],
        "same_stars": all(np.array_equal(file.star_id, trained[0][1].star_id) for _, file in trained),
        "spread": {
            measure: {
                setting: _spread([found[measure].get(setting) for found in measures]) for setting in settings
            }
            for measure in MEASURES
        },
    }


def _measures(
    file: PredictionFile, published: Mapping[int, str], settings: Sequence[str]
) -> dict[str, dict[str, Any]]:
    classes = np.array([published[each] for each in file.star_id.tolist()], np.str_)
    found = {
        setting: measures_of(file.by_setting[setting], classes)
        for setting in settings
        if setting in file.by_setting
    }
    return {
        measure: {setting: measures[measure] for setting, measures in found.items()} for measure in MEASURES
    }


def _spread(values: Sequence[float | None]) -> dict[str, float] | None:
    known = [value for value in values if value is not None]
    if len(known) < 2:
        return None
    return {"n": len(known), "mean": float(np.mean(known)), "std": float(np.std(known, ddof=1))}
