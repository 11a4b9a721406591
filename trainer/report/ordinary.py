# SPDX-License-Identifier: BSD-3-Clause
"""Whether p-values keep their promise on ordinary stars, and on the alerts that a fit held back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from broker_plugin.bundle import Manifest
from trainer.predictions import PredictionFile, merged_label
from trainer.report.comparison import Record
from trainer.report.subject import Subject
from trainer.star_settings import PACKET, SETTINGS
from trainer.stream.measure import uniformities

__all__ = ["median_epochs", "p_value_record", "stream_record"]


def median_epochs(subject: Subject, setting: str) -> int | None:
    """Return how many epochs a star has in a setting, in the median; None where it is cut to an alert."""
    if setting == PACKET or not len(subject.stars.star_id):
        return None
    length = np.diff(subject.stars.stars.offsets)
    n_epochs, _ = SETTINGS[setting]
    return int(np.median(length if n_epochs is None else np.minimum(length, n_epochs)))


def p_value_record(subject: Subject, file: PredictionFile, settings: Sequence[str]) -> Record:
    """Return by setting and stratum the shares of ordinary stars with small p-values, and what is due."""
    ordinary = np.flatnonzero(merged_label(subject.stars.published) >= 0)
    record: Record = {}
    for setting in settings:
        found = file.by_setting[setting].take(ordinary)
        if found.stratum is not None and found.calibration_n is not None:
            record[setting] = uniformities(found.anomaly_p_value, found.stratum, found.calibration_n)
    return record


def stream_record(manifest: Manifest) -> list[dict[str, Any]] | None:
    """Return what the fits to streams measured on alerts that were held back, None where there was none."""
    fits = (manifest.stream or {}).get("fits", [])
    measured = [
        {"surveys": fit["surveys"], "objects": fit["objects"], "results": fit["results"]}
        for fit in fits
        if fit.get("results")
    ]
    return measured or None
