# SPDX-License-Identifier: BSD-3-Clause
"""How often each ordinary kind of source is drawn.

None of the numbers behind the kinds comes from the training set, and nothing that is simulated here is ever
used for training or calibration.
"""

from __future__ import annotations

from types import MappingProxyType

from broker_plugin.demo.events import (
    draw_active_galaxy,
    draw_artefact,
    draw_dwarf_nova,
    draw_flare,
    draw_microlensing,
    draw_moving,
    draw_supernova,
)
from broker_plugin.demo.sources import Draw
from broker_plugin.demo.stars import (
    draw_cepheid,
    draw_dsct,
    draw_ea,
    draw_ew,
    draw_lpv,
    draw_rotator,
    draw_rrab,
    draw_rrc,
    draw_rrd,
)

__all__ = ["ORDINARY"]

ORDINARY: MappingProxyType[Draw, float] = MappingProxyType(
    {
        draw_rrab: 0.17,
        draw_rrc: 0.07,
        draw_rrd: 0.03,
        draw_ew: 0.17,
        draw_ea: 0.08,
        draw_dsct: 0.07,
        draw_lpv: 0.08,
        draw_cepheid: 0.04,
        draw_rotator: 0.05,
        draw_supernova: 0.07,
        draw_active_galaxy: 0.07,
        draw_dwarf_nova: 0.02,
        draw_flare: 0.02,
        draw_microlensing: 0.01,
        draw_moving: 0.03,
        draw_artefact: 0.02,
    }
)
"""Share of each kind in the night. Not a real stream's, where rejected subtractions, moving objects and
galaxies outnumber pulsating stars; chosen so that a small night shows every kind."""
