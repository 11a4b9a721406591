# SPDX-License-Identifier: BSD-3-Clause
"""The statistics of one light curve, and the epochs of it that are searched, as one would write them."""

from __future__ import annotations

import itertools
import math
from collections import defaultdict

import numpy as np
from numpy.typing import NDArray

from broker_plugin.features.variability import QUANTILES
from broker_plugin.records import Alert, LightCurve

__all__ = ["plain_searched", "plain_statistics", "smallest_night"]

FloatArray = NDArray[np.float64]


def log10(value: float) -> float:
    return math.log10(max(value, 1e-5))


def median(values: FloatArray) -> float:
    return float(np.median(values)) if len(values) else 0.0


def mean(values: FloatArray) -> float:
    return float(np.mean(values)) if len(values) else 0.0


def groups(curve: LightCurve) -> list[tuple[int, bool]]:
    return [(int(band), bool(apparent)) for band, apparent in zip(curve.band, curve.apparent, strict=True)]


def faintness(curve: LightCurve) -> tuple[FloatArray, FloatArray]:
    flux = curve.flux_njy.astype(float)
    error = np.maximum(np.abs(curve.flux_err_njy.astype(float)), 1e-3)
    keys, n = groups(curve), len(curve)
    faint, noise = -flux, error.copy()
    for key in set(keys):
        here = np.array([keys[k] == key for k in range(n)])
        if key[1]:
            softening = 2 * median(error[here])
            faint[here] = -2.5 / math.log(10) * np.arcsinh(flux[here] / softening)
            noise[here] = 2.5 / math.log(10) * error[here] / np.hypot(flux[here], softening)
    return faint, noise


def plain_searched(alert: Alert) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Ages, deviations and errors of the epochs that are searched."""
    curve = alert.light_curve
    with np.errstate(over="ignore"):
        age = alert.mjd_tai - curve.mjd_tai
    curve = curve.take((age >= 0) & (age <= 3000)) if len(curve) >= 5 else curve.take(slice(0, 0))
    keys = groups(curve)
    kept = [k for k in range(len(curve)) if keys.count(keys[k]) >= 3]
    curve = curve.take(np.array(kept if len(kept) >= 5 else [], np.intp))
    faint, noise = faintness(curve)
    keys = groups(curve)
    for key in set(keys):
        here = np.array([each == key for each in keys])
        faint[here] -= median(faint[here])
        scale = max(1.4826 * median(np.abs(faint[here])), median(noise[here])) or 1.0
        faint[here], noise[here] = faint[here] / scale, np.hypot(noise[here] / scale, 0.1)
    return alert.mjd_tai - curve.mjd_tai, np.clip(faint, -20, 20), np.clip(noise, 0.1, 20)


def deviations(curve: LightCurve) -> tuple[FloatArray, FloatArray]:
    faint, noise = faintness(curve)
    keys = groups(curve)
    difference = ~curve.apparent
    typical = max(median(np.abs(faint[difference])), median(noise[difference])) or 1.0
    for key in set(keys):
        here = np.array([each == key for each in keys])
        if key[1]:
            faint[here] -= median(faint[here])
        else:
            faint[here], noise[here] = faint[here] / typical, noise[here] / typical
    return faint, noise


def nights_of(age: FloatArray, keys: list[tuple[int, bool]] | None = None) -> list[list[int]]:
    """The epochs of each night, of each group if these are given, group by group in order of time."""
    found = defaultdict(list)
    for k in range(len(age)):
        found[(keys[k] if keys else None, math.floor(age[k] + 0.5))].append(k)
    return [found[key] for key in sorted(found, key=lambda key: (key[0] or (0, False), -key[1]))]


def smallest_night(alert: Alert) -> float:
    """The sum of deviations of a night that is nearest to zero: rounding says on which side it is."""
    deviation, _ = deviations(alert.light_curve)
    nights = nights_of(np.clip(alert.mjd_tai - alert.light_curve.mjd_tai, 0, 1e5), groups(alert.light_curve))
    return min((abs(float(deviation[night].sum())) for night in nights if len(night) > 1), default=1.0)


def plain_statistics(alert: Alert) -> list[float]:
    """The columns of `variability`."""
    curve = alert.light_curve
    n, keys = len(curve), groups(curve)
    d, e = deviations(curve)
    floor = np.maximum(e, 1e-5)
    with np.errstate(over="ignore"):
        age = np.clip(alert.mjd_tai - curve.mjd_tai, 0, 1e5)
    by_night, by_group_night = nights_of(age), nights_of(age, keys)
    mad, noise, std = 1.4826 * median(np.abs(d)), median(e), float(np.std(d))
    scale = max(mad, noise, 1e-4)
    significance = (d - np.sum(d / floor**2) / np.sum(floor**-2.0)) / floor
    quantiles = np.quantile(d, [*QUANTILES, 0.05, 0.95])
    normal = (d - d.mean()) / max(std, 1e-5)
    columns = [
        math.log10(n),
        math.log10(1e-3 + age.max() - age.min()),
        math.log10(len(by_night)),
        curve.apparent.mean(),
        (curve.origin == 1).mean(),
        math.log10(len(set(curve.band.tolist()))),
        *(log10(each) for each in (noise, std, mad, std / max(noise, 1e-5), mean(significance**2))),
        log10(quantiles[-1] - quantiles[-2]),
        *np.arcsinh(quantiles[:-2] / scale),
        mean(normal**3),
        math.log1p(mean(normal**4)),
        mean(np.abs(significance) > 1),
        mean(np.abs(d / scale) > 2),
        mean(d / scale > 1),
        mean(d / scale < -1),
    ]
    # Neighbours in a band.
    steps = []
    for key in set(keys):
        mine = sorted((k for k in range(n) if keys[k] == key), key=lambda k: -age[k])
        steps += [(d[b] - d[a], age[a] - age[b]) for a, b in itertools.pairwise(mine)]
    near = [(change, gap) for change, gap in steps if gap < 0.3]
    slopes = np.array([abs(change) / max(gap, 1e-3) for change, gap in near])
    variance = max(std**2, 1e-10)
    night_means = np.array([d[night].mean() for night in by_group_night])
    left = sum(float(((d[night] - d[night].mean()) ** 2).sum()) for night in by_group_night)
    within, between = math.sqrt(left / max(n - len(night_means), 1)), float(np.std(night_means))
    columns += [
        mean(np.array([change**2 for change, _ in steps])) / variance,
        mean(np.array([change**2 for change, _ in near])) / variance,
        *(log10(each) for each in (within, between, within / max(between, 1e-4), median(slopes))),
        log10(slopes.max() if len(slopes) else 0.0),
        math.asinh(d.max() / scale),
        math.asinh(-d.min() / scale),
    ]
    # Lines through the exposures of a night.
    lines = []
    for night in by_night:
        time = age[night].mean() - age[night]
        if len(night) >= 3 and (time**2).sum() > 1e-9:
            centred = d[night] - d[night].mean()
            line = (time * centred).sum() / max((time**2).sum(), 1e-12)
            night_error = max(median(e[night]), 1e-3)
            residual = math.sqrt(mean((centred - line * time) ** 2))
            lines.append((line, abs(line) * math.sqrt((time**2).sum()) / night_error, residual / night_error))
    columns += [
        math.asinh(mean(np.array([each[1] for each in lines]))),
        math.asinh(max((each[1] for each in lines), default=0.0)),
        log10(max((abs(each[0]) for each in lines), default=0.0)),
        log10(mean(np.array([each[2] for each in lines]))),
        mean(np.array([np.sign(each[0]) for each in lines])),
    ]
    signal, tonight = d / floor, age < 0.3
    columns += [
        mean(np.abs(signal)) / max(math.sqrt(mean(signal**2)), 1e-9),
        math.asinh(d[-1] / scale),
        math.asinh(d[0] / scale),
        math.asinh(signal[-1]),
        math.asinh((mean(d[tonight]) - mean(d[~tonight])) / scale),
    ]
    sides = {False: 0.0, True: 0.0}
    for (_, faint), run in itertools.groupby(
        by_group_night, key=lambda night: (keys[night[0]], float(d[night].sum()) > 0)
    ):
        members = [k for night in run for k in night]
        sides[faint] = max(sides[faint], abs(float(d[members].sum())) / math.sqrt(len(members)) / scale)
    alone = [
        abs(d[k] - d[night].mean()) * len(night) / (len(night) - 1) / floor[k]
        for night in by_group_night
        for k in night
        if len(night) > 1
    ]
    columns += [math.asinh(each) for each in (sides[False], sides[True], max(alone, default=0.0))]
    return np.clip(np.nan_to_num(columns), -10, 10).tolist()
