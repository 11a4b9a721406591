# SPDX-License-Identifier: BSD-3-Clause
"""What is injected, how often and how strong: the priors, written down before anything was measured.

They are frozen: a change moves every number that was published with them, so it needs a new `PRIORS_VERSION`.
No code and no constant is shared with `trainer.augment` or `trainer.odd`, which make training alerts.

Discoveries, four kinds, each as frequent as the others:

microlensing
    A point source behind a point lens (Paczynski 1986, ApJ 304, 1), without blending: impact parameter
    u0 ~ U(0, 1); Einstein time log-normal, median 30 d, 0.8 in ln. This spans both of OGLE-IV's means, about
    20 d in the bulge (Mroz et al. 2019, ApJS 244, 29) and three times that in the plane (Mroz et al. 2020,
    ApJS 249, 16); lenses at high latitude, where the hosts lie, belong to the disc.
fade
    A dust decline of an R Coronae Borealis star (Clayton 2012, JAAVSO 40, 539): depth ~ U(1, 8) mag, reached
    within days to weeks, then a minimum of weeks to months, then a recovery over months to years that is
    exponential in magnitude.
outburst
    Outbursts of a dwarf nova (Otulakowska-Hypka et al. 2016, MNRAS 460, 2526; Coppejans et al. 2016, MNRAS
    456, 4441): amplitude ~ U(2, 6) mag, up within two days, a plateau of one day (normal outbursts) to two
    weeks (superoutbursts), down at 0.2 to 1.5 mag a day, again after weeks to years. All outbursts of a star
    are alike; intervals scatter by a third.
flare
    One white-light flare of the template of Davenport et al. (2014, ApJ 797, 122). Relative amplitudes follow
    dN/dA ~ A^-2, as the flare-frequency distributions of active M dwarfs do (Hawley et al. 2014, ApJ 797,
    121), from 0.5 mag, below which Catalina's errors leave nothing, to 6 mag, about the largest that
    ASAS-SN saw (Schmidt et al. 2019, ApJ 876, 115). The width at half maximum is 10 min at an amplitude of 1
    and grows as A^0.64: durations go as energy^0.39 (Maehara et al. 2015, EPS 67, 59), energy as amplitude
    times width; scatter 0.3 dex.

An event counts as one only if `EPOCHS_MIN` epochs show it: measured ones, within the setting's first epochs,
inside the Einstein time of a lens or changed by `SEEN_MAG` otherwise. Nothing else selects: neither the
host's variability nor the signal-to-noise ratio. Where a draw fails another is made, so that hosts too faint
to follow a fade are rarer among the fades; how many draws failed is reported.

Instrumental jumps, three kinds, counted apart:

zero_point
    All magnitudes of one visit, or in half of the cases of all later ones, are off by the same 0.1 to 1 mag.
outlier
    One exposure is 1 to 5 mag too bright (satellite, cosmic ray) or too faint (cloud, bad flat field).
saturation
    In a fifth to three fifths of the visits the star's core saturates, so that every exposure reads too faint
    by the size of a normal deviate of 0.3 to 1 mag, at its usual error.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

__all__ = [
    "ARTEFACTS",
    "DISCOVERIES",
    "EINSTEIN_LN_SIGMA",
    "EINSTEIN_MEDIAN_DAY",
    "EPOCHS_MIN",
    "FADE_DECLINE_DAY",
    "FADE_DEPTH_MAG",
    "FADE_MINIMUM_DAY",
    "FADE_RECOVERY_DAY",
    "FLARE_AMPLITUDE_MAG",
    "FLARE_INDEX",
    "FLARE_WIDTH_DEX",
    "FLARE_WIDTH_MINUTE",
    "FLARE_WIDTH_POWER",
    "IMPACT",
    "OUTBURST_AMPLITUDE_MAG",
    "OUTBURST_DECLINE_MAG_PER_DAY",
    "OUTBURST_INTERVAL_DAY",
    "OUTBURST_INTERVAL_SCATTER",
    "OUTBURST_PLATEAU_DAY",
    "OUTBURST_RISE_DAY",
    "OUTLIER_MAG",
    "PRIORS_VERSION",
    "SATURATED_SHARE",
    "SATURATION_MAG",
    "SEEN_MAG",
    "STEP_LASTS_SHARE",
    "STEP_MAG",
]

PRIORS_VERSION = "1"

Range = tuple[float, float]

DISCOVERIES = ("microlensing", "fade", "outburst", "flare")
ARTEFACTS = ("zero_point", "outlier", "saturation")

EPOCHS_MIN: Mapping[str, int] = MappingProxyType({"microlensing": 3, "fade": 3, "outburst": 3, "flare": 2})
"""Fewest epochs that show an event. One exposure alone cannot be told from a satellite, so a flare has two;
a Catalina visit has four exposures, so an outburst may have been seen in one visit only."""

SEEN_MAG = 0.2
"""Change from which on an epoch shows an event: twice Catalina's median error."""

IMPACT: Range = (0.0, 1.0)
EINSTEIN_MEDIAN_DAY = 30.0
EINSTEIN_LN_SIGMA = 0.8

FADE_DEPTH_MAG: Range = (1.0, 8.0)
FADE_DECLINE_DAY: Range = (5.0, 50.0)
"""Log-uniform, as are the next two."""
FADE_MINIMUM_DAY: Range = (10.0, 100.0)
FADE_RECOVERY_DAY: Range = (50.0, 500.0)
"""Time in which the remaining fade, in magnitudes, falls to 1/e."""

OUTBURST_AMPLITUDE_MAG: Range = (2.0, 6.0)
OUTBURST_RISE_DAY: Range = (0.5, 2.0)
"""Log-uniform, as are the next three."""
OUTBURST_PLATEAU_DAY: Range = (1.0, 14.0)
OUTBURST_DECLINE_MAG_PER_DAY: Range = (0.2, 1.5)
OUTBURST_INTERVAL_DAY: Range = (20.0, 1000.0)
OUTBURST_INTERVAL_SCATTER = 0.33

FLARE_AMPLITUDE_MAG: Range = (0.5, 6.0)
FLARE_INDEX = 2.0
FLARE_WIDTH_MINUTE = 10.0
FLARE_WIDTH_POWER = 0.64
FLARE_WIDTH_DEX = 0.3

STEP_MAG: Range = (0.1, 1.0)
"""Log-uniform, of either sign."""
STEP_LASTS_SHARE = 0.5
OUTLIER_MAG: Range = (1.0, 5.0)
"""Uniform, of either sign."""
SATURATED_SHARE: Range = (0.2, 0.6)
SATURATION_MAG: Range = (0.3, 1.0)
