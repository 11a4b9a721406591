# SPDX-License-Identifier: BSD-3-Clause
"""The settings in which a star is seen: all its epochs with or without a period, its first ones, an alert.

Only the epochs of a setting are in the alert that is made for it; an alert that a survey would have sent also
has its reference, from epochs before.
"""

from __future__ import annotations

from collections.abc import Mapping
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from broker_plugin.records import Alert
from trainer.data.unsorted import Unsorted
from trainer.survey_cut import cut_alert
from trainer.windows import first_windows, window_alerts

__all__ = ["EVERY_SETTING", "PACKET", "SETTINGS", "alerts_of"]

SETTINGS: Mapping[str, tuple[int | None, bool]] = {
    "period": (None, True),
    "all": (None, False),
    "100": (100, False),
    "30": (30, False),
    "10": (10, False),
    "3": (3, False),
    "1": (1, False),
}
"""Number of first epochs, None for all, and whether the catalogue's period is given."""

PACKET = "packet"
"""The alert that a survey would have sent, as `trainer.survey_cut` makes it: a trigger and 30 days before."""

EVERY_SETTING = (*SETTINGS, PACKET)

CUT_SEED = 20241108
"""With a star's name it says what is cut from it: the same in every measurement."""


def alerts_of(unsorted: Unsorted, setting: str, rows: NDArray[np.int64]) -> list[Alert]:
    """Return the alert of each of some stars in a setting."""
    if setting != PACKET:
        n_epochs, given = SETTINGS[setting]
        return window_alerts(unsorted.stars, rows, first_windows(unsorted.stars, rows, n_epochs, given=given))
    return [_packet(unsorted, int(row)) for row in rows]


def _number(star_id: str) -> int:
    """Return a number that follows from a star's name."""
    digits = star_id.removeprefix("-")
    return int(digits) if digits.isdecimal() else crc32(star_id.encode())


def _packet(unsorted: Unsorted, row: int) -> Alert:
    """Return a star cut into an alert from its own epochs, by its name alone."""
    stars = unsorted.stars
    if stars.offsets[row] == stars.offsets[row + 1]:
        return window_alerts(
            stars, np.array([row]), first_windows(stars, np.array([row]), None, given=False)
        )[0]
    return cut_alert(stars, row, seed=(CUT_SEED, _number(str(unsorted.star_id[row]))))
