# SPDX-License-Identifier: BSD-3-Clause
"""The light of the injected events, drawn from their priors.

An event is a factor on the light of the star by time, with its reference time at zero.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from trainer.injection import priors

__all__ = ["EVENTS", "Event", "davenport_flare", "einstein_magnification"]

FloatArray = NDArray[np.float64]

MINUTE_DAY = 1.0 / 1440.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One event.

    Parameters
    ----------
    factor
        Of the star's light, by days since the reference time.
    scales
        Whether the star's own variation is scaled with it (a lens, dust); otherwise light is added to it.
    before_day, after_day
        How long before and after the reference time it can be seen; reference times are drawn accordingly.
    inside_day
        If given, epochs are inside the event up to this long from the reference time, whatever their change.
    """

    factor: Callable[[FloatArray], FloatArray]
    scales: bool
    before_day: float
    after_day: float
    inside_day: float | None = None


def einstein_magnification(separation: FloatArray) -> FloatArray:
    """Return the magnification of a point source at a separation, in Einstein radii, from a point lens.

    Examples
    --------
    >>> einstein_magnification(np.array([1.0])).round(4)
    array([1.3416])
    """
    squared = separation**2
    return np.asarray((squared + 2.0) / np.sqrt(squared * (squared + 4.0)))


def davenport_flare(time: FloatArray) -> FloatArray:
    """Return a flare's light, 1 at its peak, by time since the peak in widths at half maximum.

    The rise is a polynomial from -1 to 0, the decay a sum of two exponentials: equations 1 and 4 of Davenport
    et al. (2014, ApJ 797, 122).

    Examples
    --------
    >>> davenport_flare(np.array([-2.0, -0.5, 0.0, 0.5])).round(2)
    array([0.  , 0.2 , 0.99, 0.57])
    """
    rise = 1.0 + time * (1.941 + time * (-0.175 + time * (-2.246 - 1.125 * time)))
    late = np.maximum(time, 0.0)
    decay = 0.6890 * np.exp(-1.600 * late) + 0.3030 * np.exp(-0.2783 * late)
    return np.where(time < -1.0, 0.0, np.where(time < 0.0, np.clip(rise, 0.0, 1.0), decay))


def _microlensing(rng: np.random.Generator) -> Event:
    impact = rng.uniform(*priors.IMPACT)
    einstein_day = priors.EINSTEIN_MEDIAN_DAY * float(np.exp(priors.EINSTEIN_LN_SIGMA * rng.normal()))

    def factor(since_day: FloatArray) -> FloatArray:
        return einstein_magnification(np.hypot(impact, since_day / einstein_day))

    return Event(
        factor=factor,
        scales=True,
        before_day=einstein_day,
        after_day=einstein_day,
        inside_day=einstein_day,
    )


def _fade(rng: np.random.Generator) -> Event:
    depth_mag = rng.uniform(*priors.FADE_DEPTH_MAG)
    decline_day, minimum_day, recovery_day = (
        _log_uniform(rng, limits)
        for limits in (priors.FADE_DECLINE_DAY, priors.FADE_MINIMUM_DAY, priors.FADE_RECOVERY_DAY)
    )

    def factor(since_day: FloatArray) -> FloatArray:
        down = np.clip(since_day / decline_day, 0.0, 1.0)
        recovering = np.maximum(since_day - decline_day - minimum_day, 0.0)
        return np.asarray(10.0 ** (-0.4 * depth_mag * down * np.exp(-recovering / recovery_day)))

    visible_day = recovery_day * max(float(np.log(depth_mag / priors.SEEN_MAG)), 0.0)
    return Event(
        factor=factor, scales=True, before_day=0.0, after_day=decline_day + minimum_day + visible_day
    )


def _outburst(rng: np.random.Generator) -> Event:
    amplitude_mag = rng.uniform(*priors.OUTBURST_AMPLITUDE_MAG)
    rise_day, plateau_day, slope, interval_day = (
        _log_uniform(rng, limits)
        for limits in (
            priors.OUTBURST_RISE_DAY,
            priors.OUTBURST_PLATEAU_DAY,
            priors.OUTBURST_DECLINE_MAG_PER_DAY,
            priors.OUTBURST_INTERVAL_DAY,
        )
    )
    lasts_day = rise_day + plateau_day + amplitude_mag / slope
    starts_day = _repeated(rng, lasts_day, interval_day)

    def factor(since_day: FloatArray) -> FloatArray:
        age_day = since_day[:, None] - starts_day
        up = np.clip(age_day / rise_day, 0.0, 1.0) * amplitude_mag
        down = np.clip(age_day - rise_day - plateau_day, 0.0, None) * slope
        return np.asarray(10.0 ** (0.4 * np.clip(up - down, 0.0, None).max(axis=1)))

    return Event(factor=factor, scales=False, before_day=0.0, after_day=lasts_day)


def _repeated(rng: np.random.Generator, lasts_day: float, interval_day: float) -> FloatArray:
    """Return when outbursts begin, one of them at zero, over more than a survey's span to either side."""
    n = int(np.ceil(SPAN_DAY / interval_day)) + 1
    scatter = 1.0 + priors.OUTBURST_INTERVAL_SCATTER * rng.standard_normal((2, n))
    gaps = lasts_day + interval_day * np.maximum(scatter, 0.1)
    return np.concatenate([-np.cumsum(gaps[0])[::-1], [0.0], np.cumsum(gaps[1])])


SPAN_DAY = 4000.0
"""Longer than the light curve of any star of the survey."""


def _flare(rng: np.random.Generator) -> Event:
    low, high = (10.0 ** (0.4 * mag) - 1.0 for mag in priors.FLARE_AMPLITUDE_MAG)
    power = 1.0 - priors.FLARE_INDEX
    amplitude = (low**power + rng.random() * (high**power - low**power)) ** (1.0 / power)
    scatter = 10.0 ** (priors.FLARE_WIDTH_DEX * rng.normal())
    width_day = priors.FLARE_WIDTH_MINUTE * MINUTE_DAY * amplitude**priors.FLARE_WIDTH_POWER * scatter

    def factor(since_day: FloatArray) -> FloatArray:
        return np.asarray(1.0 + amplitude * davenport_flare(since_day / width_day))

    seen = 10.0 ** (0.4 * priors.SEEN_MAG) - 1.0
    after = width_day * float(np.log(max(amplitude / seen, 1.0))) / 0.2783
    return Event(factor=factor, scales=False, before_day=width_day, after_day=after)


def _log_uniform(rng: np.random.Generator, limits: tuple[float, float]) -> float:
    return float(np.exp(rng.uniform(*np.log(limits))))


EVENTS: Mapping[str, Callable[[np.random.Generator], Event]] = MappingProxyType(
    {"microlensing": _microlensing, "fade": _fade, "outburst": _outburst, "flare": _flare}
)
"""Draw an event of a kind."""
