# SPDX-License-Identifier: BSD-3-Clause
"""The settings in which a star is seen: all its epochs with or without a period, its first ones, an alert.

Only the epochs of a setting are in the alert that is made for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from broker_plugin.records import Alert, SourceContext
from trainer.augment import imitate
from trainer.data.unsorted import Unsorted
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

EVERY_SETTING = (*SETTINGS, PACKET)

PACKET_EPOCHS_MAX = 100
"""Most epochs of a `packet`; their number is uniform in the logarithm."""


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
    rng = np.random.default_rng((20241108, _number(str(unsorted.star_id[row]))))
    n_epochs = int(np.exp(rng.uniform(0.0, np.log(PACKET_EPOCHS_MAX + 1))))
    alert = imitate(stars, row, rng, n_epochs=max(1, n_epochs), alert_id=row, observed_share=1.0)
    return replace(alert, source_context=SourceContext.STELLAR)
