# SPDX-License-Identifier: BSD-3-Clause
"""The charts of one object: its light curve as it came, and folded.

Bands have colours and marks much as Rubin recommends for its own plots, told apart by shape where colours are
not. Detections are filled, forced photometry is hollow.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from broker_plugin.demo.light import ab_flux_njy, ab_magnitude
from broker_plugin.demo.svg import Frame, bars, figure, line, marks, number, text
from broker_plugin.records import LightCurve, Origin
from broker_plugin.taxonomy import PASSBANDS

__all__ = [
    "BAND_MARKS",
    "Template",
    "bands_of",
    "folded_figure",
    "light_curve_figure",
]

FloatArray = NDArray[np.float64]

BAND_MARKS = {"u": "circle", "g": "up", "r": "down", "i": "square", "z": "diamond", "y": "pentagon"}

WIDTH, HEIGHT = 470.0, 226.0

UNITS_NJY = ((1e6, "mJy"), (1e3, "µJy"), (1.0, "nJy"))

FAR_ERROR_FACTOR = 6.0
"""Error bars longer than this many typical ones do not stretch the axis; they are cut at its edge."""

PHASE_BINS = 24
"""Bins of a reference object's profile."""

PHASE_SHIFTS = 96
"""Phases at which a profile is tried against an object: a quarter of a bin apart."""

MIN_FOLD_EPOCHS = 6
"""Below this a folded light curve shows nothing and a profile fits anything."""

DASHES = ("solid", "dashed", "dotted")


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """A labelled object's mean light curve over phase, in any linear unit of flux; NaN in empty bins."""

    name: str
    label: str
    cosine: float
    profile: FloatArray


def bands_of(curve: LightCurve) -> list[tuple[str, str, NDArray[np.bool_]]]:
    """Return (passband name, its letter, rows) for each band of a light curve, by wavelength."""
    codes = sorted({int(code) for code in curve.band}, key=lambda code: PASSBANDS[code][1])
    return [(PASSBANDS[code][0], PASSBANDS[code][0].rpartition("_")[2], curve.band == code) for code in codes]


def light_curve_figure(curve: LightCurve, *, alert_mjd: float, name: str) -> str:
    """Return the light curve over the days before the alert."""
    flux = curve.flux_njy.astype(np.float64)
    error = curve.flux_err_njy.astype(np.float64)
    factor, unit = _unit(flux)
    flux, error = flux / factor, error / factor
    days = curve.mjd_tai - alert_mjd
    low, high = _range(flux, error)
    span = max(float(-days.min(initial=0.0)), 0.5)
    frame = Frame(x_low=-span * 1.03, x_high=span * 0.03, y_low=low, y_high=high)
    kind = (
        "flux" if curve.apparent.all() else "difference flux" if not curve.apparent.any() else "flux, mixed"
    )
    body = frame.axes(x_label="days before the alert", y_label=f"{kind} ({unit})")
    if curve.apparent.all():
        body += _magnitude_axis(frame, factor)
    for _, letter, rows in bands_of(curve):
        body += _band_marks(frame, days[rows], flux[rows], error[rows], curve.origin[rows], letter)
    counts = ", ".join(f"{int(rows.sum())} in {letter}" for _, letter, rows in bands_of(curve))
    return figure(
        body,
        width=WIDTH,
        height=HEIGHT,
        title=f"Light curve of {name}",
        description=f"{len(curve)} epochs over {span:.3g} days: {counts}",
    )


def folded_figure(
    curve: LightCurve,
    *,
    alert_mjd: float,
    period_day: float,
    templates: Sequence[Template],
    name: str,
) -> str | None:
    """Return the light curve folded at a period with the profiles of labelled objects, or None for too few.

    Fluxes are shown against the median of their band, so that bands of other levels share one axis. A profile
    is shifted in phase and stretched to fit, since only its shape is compared.
    """
    apparent = curve.take(curve.apparent)
    if len(apparent) < MIN_FOLD_EPOCHS:
        return None
    relative, relative_error = _against_median(apparent)
    phase = ((apparent.mjd_tai - alert_mjd) / period_day) % 1.0
    low, high = _range(relative, relative_error)
    frame = Frame(x_low=0.0, x_high=2.0, y_low=low, y_high=high)
    body = frame.axes(x_label=f"phase at {period_day:.6g} d", y_label="flux / median of the band")
    for template, dash in zip(templates, DASHES, strict=False):
        fitted = fit_profile(template.profile, phase, relative, relative_error)
        if fitted is not None:
            grid = np.linspace(0.0, 2.0, 193)
            values = np.interp(grid % 1.0, *fitted, period=1.0)
            places = [(frame.x(x), _held(frame, y)) for x, y in zip(grid, values, strict=True)]
            body += line(places, css=f"analogue {dash}")
    for _, letter, rows in bands_of(apparent):
        for turn in (0.0, 1.0):
            body += _band_marks(
                frame, phase[rows] + turn, relative[rows], relative_error[rows], apparent.origin[rows], letter
            )
    described = "; ".join(f"{item.label}, cosine {item.cosine:.2f}" for item in templates) or "none"
    return figure(
        body,
        width=WIDTH,
        height=HEIGHT,
        title=f"Light curve of {name} folded at {period_day:.5g} days",
        description=f"Two cycles of {len(apparent)} epochs. Overplotted analogues: {described}",
    )


def fit_profile(
    profile: FloatArray, phase: FloatArray, flux: FloatArray, error: FloatArray
) -> tuple[FloatArray, FloatArray] | None:
    """Return a profile's phases and fluxes, shifted and stretched to fit; None where it has no shape.

    Parameters
    ----------
    profile
        Fluxes in equal bins of phase, in any unit.
    phase, flux, error
        The object's epochs, shape (T,).
    """
    known = np.isfinite(profile)
    if known.sum() < PHASE_BINS // 2 or np.ptp(profile[known]) == 0:
        return None
    bins = (np.arange(len(profile)) + 0.5) / len(profile)
    weight = 1.0 / np.maximum(error, np.median(error)) ** 2
    best: tuple[float, float, float, float] | None = None
    for shift in np.arange(PHASE_SHIFTS) / PHASE_SHIFTS:
        model = np.interp((phase - shift) % 1.0, bins[known], profile[known], period=1.0)
        mean_model, mean_flux = np.average(model, weights=weight), np.average(flux, weights=weight)
        variance = np.average((model - mean_model) ** 2, weights=weight)
        if variance == 0:
            continue
        # A profile that has to be turned over to fit is no likeness.
        stretch = max(np.average((model - mean_model) * (flux - mean_flux), weights=weight) / variance, 0.0)
        rest = flux - mean_flux - stretch * (model - mean_model)
        misfit = float(np.average(rest**2, weights=weight))
        if best is None or misfit < best[0]:
            best = (misfit, float(shift), float(stretch), float(mean_flux - stretch * mean_model))
    if best is None or best[2] == 0:
        return None
    _, shift, stretch, offset = best
    places = (bins[known] + shift) % 1.0
    order = np.argsort(places)
    return places[order], (offset + stretch * profile[known])[order]


def _band_marks(
    frame: Frame,
    x: FloatArray,
    flux: FloatArray,
    error: FloatArray,
    origin: NDArray[np.int8],
    letter: str,
) -> str:
    shape = BAND_MARKS.get(letter, "circle")
    spans = [
        (frame.x(a), _held(frame, b - e), _held(frame, b + e)) for a, b, e in zip(x, flux, error, strict=True)
    ]
    body = bars(spans, css=f"err band-{letter}")
    for kind, css in ((Origin.FORCED, "forced"), (Origin.DETECTION, "seen")):
        rows = origin == kind
        places = [(frame.x(a), _held(frame, b)) for a, b in zip(x[rows], flux[rows], strict=True)]
        body += marks(places, shape=shape, css=f"{css} band-{letter}")
    return body


def _held(frame: Frame, value: float) -> float:
    return float(np.clip(frame.y(value), frame.top, frame.bottom))


def _unit(flux_njy: FloatArray) -> tuple[float, str]:
    largest = float(np.abs(flux_njy).max(initial=0.0))
    return next(((factor, unit) for factor, unit in UNITS_NJY if largest >= factor), UNITS_NJY[-1])


def _range(flux: FloatArray, error: FloatArray) -> tuple[float, float]:
    shown = np.minimum(error, FAR_ERROR_FACTOR * float(np.median(error))) if len(error) else error
    low, high = float((flux - shown).min(initial=np.inf)), float((flux + shown).max(initial=-np.inf))
    if not np.isfinite(low + high):
        return 0.0, 1.0
    pad = 0.06 * (high - low) or 0.1 * abs(high) or 1.0
    return low - pad, high + pad


def _against_median(curve: LightCurve) -> tuple[FloatArray, FloatArray]:
    relative = np.ones(len(curve))
    error = np.ones(len(curve))
    for _, _, rows in bands_of(curve):
        flux = curve.flux_njy[rows].astype(np.float64)
        level = float(np.median(flux))
        level = level if level > 0 else float(np.abs(flux).max()) or 1.0
        relative[rows] = flux / level
        error[rows] = curve.flux_err_njy[rows] / level
    return relative, error


def _magnitude_axis(frame: Frame, factor: float) -> str:
    return "".join(
        text(frame.right + 6, frame.y(flux) + 3.5, number(magnitude), css="tick")
        for magnitude, flux in _magnitude_ticks(frame, factor)
    ) + text(frame.right + 6, frame.top - 2, "AB mag", css="tick")


def _magnitude_ticks(frame: Frame, factor: float) -> Iterator[tuple[float, float]]:
    """Yield round magnitudes with their fluxes, far enough from one another to be read."""
    highest = max(frame.y_high, 1e-9) * factor
    brightest = float(ab_magnitude(highest))
    last = frame.top
    for step in (0.1, 0.2, 0.5, 1.0):
        magnitudes = np.round(np.arange(np.ceil(brightest / step), np.ceil(brightest / step) + 12) * step, 6)
        fluxes = ab_flux_njy(magnitudes) / factor
        inside = [(float(m), float(f)) for m, f in zip(magnitudes, fluxes, strict=True) if f > frame.y_low]
        if len(inside) < 2 or abs(frame.y(inside[0][1]) - frame.y(inside[1][1])) > 22:
            break
    for magnitude, flux in inside:
        if frame.y(flux) - last >= 13:
            last = frame.y(flux)
            yield magnitude, flux
