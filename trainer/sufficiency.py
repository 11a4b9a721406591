# SPDX-License-Identifier: BSD-3-Clause
"""Whether there are stars enough for what is done with them, told before the work and not after it."""

from __future__ import annotations

import math

import numpy as np

from broker_plugin.errors import ConfigurationError
from trainer.config import STRATUM_MIN
from trainer.data.splits import Split
from trainer.preparation import Prepared, bin_limits, calibration_set

__all__ = ["require_calibration", "require_classes"]


def require_classes(prepared: Prepared) -> None:
    """Make sure that there are classes to tell apart, and training stars of each.

    Raises
    ------
    ConfigurationError
        If there is one class only, or a class has no training star.
    """
    classes = prepared.run.classes
    if len(classes) == 1:
        raise ConfigurationError(
            f"all labelled stars are of class {classes[0]}", remedy="give stars of another class too"
        )
    there = set(prepared.stars.label[prepared.members(Split.TRAIN)].tolist())
    if lacking := [name for label, name in enumerate(classes) if label not in there]:
        names = ", ".join(lacking)
        raise ConfigurationError(
            f"no star of class {names} falls to training",
            remedy=f"give more of them, or name {names} in data.held_out_classes",
        )


def require_calibration(prepared: Prepared) -> None:
    """Make sure that every stratum of the calibration has its alerts, one of a star.

    Where the stars alone do not tell, since alerts lack a modality or come out with fewer epochs than wished
    for, the alerts of the calibration are made, which it finds in the run's cache later.

    Raises
    ------
    ConfigurationError
        If too few stars fall to the calibration, or too few of them give an alert of a stratum.
    """
    settings = prepared.run.settings
    members = prepared.members(Split.CALIBRATION)
    if len(members) < STRATUM_MIN:
        share = settings.data.split_fractions[Split.CALIBRATION]
        raise ConfigurationError(
            f"{len(members)} stars fall to the calibration, {STRATUM_MIN} are needed",
            remedy=f"give {math.ceil(STRATUM_MIN / share):,} labelled stars or more, or raise the third of "
            "data.split_fractions (a dataset names its splits itself)",
        )
    of_bin = _stars_of_bin if prepared.has_windows else _alerts_of_bin
    for bin_ in range(1, len(settings.calibration.epoch_edges)):
        if (n := of_bin(prepared, bin_)) < STRATUM_MIN:
            low, _ = bin_limits(settings, bin_)
            raise ConfigurationError(
                f"{n} of {len(members)} stars of the calibration give an alert of {low} epochs or more with "
                f"every modality, {STRATUM_MIN} are needed",
                remedy="give more stars, raise the third of data.split_fractions or "
                f"calibration.alerts_per_stratum, or leave out calibration.epoch_edges from {low} on",
            )


def _stars_of_bin(prepared: Prepared, bin_: int) -> int:
    """Return how many stars of the calibration have a window in a bin; each has all modalities."""
    low, _ = bin_limits(prepared.run.settings, bin_)
    n_epochs = np.diff(prepared.stars.offsets)[prepared.members(Split.CALIBRATION)]
    return int((n_epochs >= low).sum())


def _alerts_of_bin(prepared: Prepared, bin_: int) -> int:
    """Return how many alerts of a bin have every modality; strata of fewer modalities have no fewer."""
    tokens = calibration_set(prepared, bin_).tokens.values()
    return int(np.all([each.lengths > 0 for each in tokens], axis=0).sum())
