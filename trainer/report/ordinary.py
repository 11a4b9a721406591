# SPDX-License-Identifier: BSD-3-Clause
"""Whether p-values keep their promise on ordinary stars, and on the alerts that a fit held back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from broker_plugin.bundle import Manifest, stratum_name
from trainer.predictions import PredictionFile, merged_label
from trainer.report.comparison import Record
from trainer.report.subject import Subject
from trainer.star_settings import PACKET, SETTINGS
from trainer.stream.measure import uniformity

__all__ = ["median_epochs", "p_value_record", "stream_record"]


def median_epochs(subject: Subject, setting: str) -> int | None:
    """Return how many epochs a star has in a setting, in the median; None where it is drawn at random."""
    if setting == PACKET or not len(subject.stars.star_id):
        return None
    length = np.diff(subject.stars.stars.offsets)
    n_epochs, _ = SETTINGS[setting]
    return int(np.median(length if n_epochs is None else np.minimum(length, n_epochs)))


def p_value_record(subject: Subject, file: PredictionFile, settings: Sequence[str]) -> Record:
    """Return by setting the shares of ordinary stars with small p-values, beside what they should be.

    Against the catalogue's strata. A setting falls into one of them but for stars with fewer epochs; a
    `packet` may be of any.
    """
    manifest = subject.bundle.manifest
    ordinary = merged_label(subject.stars.published) >= 0
    record: Record = {}
    for setting in settings:
        p = file.by_setting[setting].anomaly_p_value[ordinary]
        if not len(p):
            continue
        name = _stratum(manifest, median_epochs(subject, setting))
        n = next((stratum.n for stratum in manifest.strata if stratum.name == name), 0)
        record[setting] = {"n": len(p), "stratum": name, "n_calibration": n} | uniformity(p, n)
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


def _stratum(manifest: Manifest, n_epochs: int | None) -> str | None:
    if n_epochs is None:
        return None
    names = tuple(model.name for model in manifest.modalities)
    return stratum_name(names, n_epochs, manifest.epoch_edges)
