# SPDX-License-Identifier: BSD-3-Clause
"""What decision rules gain and cost against naming the most probable class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from trainer.predictions import MERGED, PredictionFile, merged_label
from trainer.report.comparison import Record, interval_list
from trainer.resampling import class_measures, resamples
from trainer.rules import RULE_MEASURES, Rule

__all__ = ["rule_record"]


def rule_record(
    rule: Rule, file: PredictionFile, published: Mapping[int, str], settings: Sequence[str], *, seed: int
) -> Record:
    """Return by setting the measures of what a rule names, and their lead over the most probable class."""
    label = merged_label(np.array([published[each] for each in file.star_id.tolist()], np.str_))
    known = label >= 0
    weights = resamples(int(known.sum()), seed=seed)
    record: Record = {}
    for setting in settings:
        found = file.by_setting[setting]
        named = rule(found)
        if named is None or not known.any():
            continue
        probable = found.probability[known].argmax(axis=1)
        ruled, plain = (
            class_measures(weights, label[known], each, n_classes=len(MERGED))
            for each in (named[known], probable)
        )
        record[setting] = {
            each: {"by_rule": interval_list(ruled[each]), "lead": interval_list(ruled[each] - plain[each])}
            for each in RULE_MEASURES
        }
    return record
