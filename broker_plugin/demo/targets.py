# SPDX-License-Identifier: BSD-3-Clause
"""The ranked objects as a table that an observer can load."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

from broker_plugin.demo.findings import ScoredObject
from broker_plugin.engine.explanation import one_in

__all__ = ["TARGETS_NAME", "TARGET_COLUMNS", "targets_text"]

TARGETS_NAME = "targets.csv"

TARGET_COLUMNS = (
    "rank",
    "object_id",
    "ra_deg",
    "dec_deg",
    "source_context",
    "top_class",
    "top_class_probability",
    "anomaly_p_value",
    "one_in",
    "calibration_n",
    "why",
    "tense",
)


def targets_text(ranked: Sequence[ScoredObject]) -> str:
    """Return one line for each object, the strangest first; what is not known is empty."""
    with io.StringIO(newline="") as handle:
        writer = csv.writer(handle)
        writer.writerow(TARGET_COLUMNS)
        for scored in ranked:
            verdict = scored.verdict
            probability = verdict.top_class_probability
            writer.writerow(
                (
                    scored.rank,
                    verdict.object_id,
                    f"{verdict.ra_deg:.7f}",
                    f"{verdict.dec_deg:.7f}",
                    verdict.source_context,
                    verdict.top_class or "",
                    "" if probability is None else f"{probability:.4f}",
                    f"{verdict.anomaly_p_value:.6g}",
                    one_in(verdict.anomaly_p_value, verdict.calibration_n),
                    verdict.calibration_n,
                    verdict.explanation,
                    str(verdict.tense),
                )
            )
        return handle.getvalue()
