# SPDX-License-Identifier: BSD-3-Clause
"""From observations to the model's inputs, as the published weights expect them.

The original divides by spreads that may be zero and so feeds NaN or infinity to the model: for a constant
flux, for more than half of the fluxes alike, for one epoch, for epochs all at one time, for one missing
value. Here each of these is refused with `UnusableInput`, or, with `guard=True`, given the next best scale:

================================== ===========================================================
what is wrong                      with `guard=True`
================================== ===========================================================
a value is not finite              that row is left out
median absolute deviation is zero  standard deviation, else median error, else 1
all epochs at one time             times 0, duration 0
no row is left                     still refused
================================== ===========================================================

Neither path ever returns a value that is not finite.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from trainer.astrom3.scaler import META_COLUMNS, PHOTO_COLUMNS, Scaler

__all__ = [
    "GRID_AA",
    "Padding",
    "UnusableInput",
    "light_curve_rows",
    "metadata_columns",
    "photo_columns",
    "scaled_metadata",
    "spectrum_channels",
    "window",
    "windows",
]

Padding = Literal["gen-1", "gen-2"]
"""What padded rows hold. gen-1 (to February 2025): zeros, but the six constants of the object repeated.
gen-2 (the published weights, in all likelihood): zeros throughout."""

SEQ_LEN = 200
N_CHANNELS = 9
N_MEASURED = 3
"""Channels that differ from row to row: time, flux, error. The others are constants of the object."""

YEAR_D = 365.0
"""Days in the year by which the original expresses the duration."""

GRID_AA = np.arange(3850.0, 9000.0, 2.0)
"""Wavelengths of the model's spectra, in vacuum as LAMOST delivers them."""

PARALLAX_FALLBACK_MAS = 1.0
"""Parallax that the original puts in place of one that is not positive."""

ABSOLUTE = ("mean_vmag", "phot_g_mean_mag", "phot_bp_mean_mag", "phot_rp_mean_mag", "j_mag", "h_mag")
ABSOLUTE_INFRARED = ("k_mag", "w1_mag", "w2_mag", "w3_mag", "w4_mag")
"""Magnitudes that become absolute ones; colours and errors do not."""


class UnusableInput(ValueError):
    """An object from which the original would have made NaN or infinity; the message says why."""


def light_curve_rows(
    hjd: NDArray[np.float64],
    flux: NDArray[np.float64],
    flux_err: NDArray[np.float64],
    constants: NDArray[np.float64],
    *,
    guard: bool = False,
    single_precision_time: bool = True,
) -> NDArray[np.float32]:
    """Return all rows (N, 9) of a light curve: time, flux, error, the constants, log10 MAD, duration.

    Parameters
    ----------
    hjd, flux, flux_err
        Times in days, fluxes and errors in one linear unit, shape (N,), in any order.
    constants
        Scaled photometric columns (4,).
    guard
        Mend what can be mended; see the module.
    single_precision_time
        Round the times to float32 first, steps of 0.25 d near HJD 2.46 million, as the published data are.

    Raises
    ------
    UnusableInput
        If there is no row, or one of the cases of the module and no guard.
    """
    rows = np.column_stack([hjd, flux, flux_err]).astype(np.float64)
    finite = np.isfinite(rows).all(axis=1)
    if not finite.all() and not guard:
        raise UnusableInput(f"{(~finite).sum()} of {len(rows)} rows hold a value that is not finite")
    if not np.isfinite(constants).all():
        raise UnusableInput("a scaled catalogue column is not finite")
    rows = rows[finite]
    if len(rows) == 0:
        raise UnusableInput("no epoch is left")
    if single_precision_time:
        rows = rows.astype(np.float32).astype(np.float64)
    rows = np.unique(rows, axis=0)  # also sorts by time
    time, flux, flux_err = rows.T
    scale = _scale(flux, flux_err, guard=guard)
    span = float(time[-1] - time[0])
    if span <= 0 and not guard:
        raise UnusableInput("all epochs are at one time")
    out = np.empty((len(rows), N_CHANNELS))
    out[:, 0] = (time - time[0]) / span if span > 0 else 0.0
    out[:, 1] = (flux - flux.mean()) / scale
    out[:, 2] = flux_err / scale
    out[:, 3:7] = constants
    out[:, 7] = np.log10(scale)
    out[:, 8] = span / YEAR_D
    return out.astype(np.float32)


def window(
    rows: NDArray[np.float32], *, start: int | None = None, padding: Padding = "gen-2", length: int = SEQ_LEN
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return `length` rows in a row (length, 9) and their mask (length,), padded at the end.

    Parameters
    ----------
    start
        First row of a longer light curve; by default the middle is taken, as in validation and test.

    Examples
    --------
    >>> tokens, mask = window(np.ones((2, 9), np.float32), padding="gen-1")
    >>> tokens[2].tolist(), mask[:3].tolist()
    ([0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0], [1.0, 1.0, 0.0])
    """
    offsets = np.array([0, len(rows)])
    first = None if start is None else np.array([start])
    tokens, mask = windows(rows, offsets, np.array([0]), starts=first, padding=padding, length=length)
    return tokens[0], mask[0]


def windows(
    rows: NDArray[np.float32],
    offsets: NDArray[np.int64],
    members: NDArray[np.intp],
    *,
    starts: NDArray[np.int64] | None = None,
    padding: Padding = "gen-2",
    length: int = SEQ_LEN,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return tokens (B, length, 9) and masks (B, length) of many light curves at once.

    Parameters
    ----------
    rows, offsets
        Rows of all light curves one after another, and where each begins; the last offset is their end.
    members
        Which light curves (B,).
    starts
        First row of each, counted within it (B,); by default the middle. A start beyond the last whole window
        means that window.
    """
    n = offsets[members + 1] - offsets[members]
    if (n == 0).any():
        raise UnusableInput("a light curve has no row")
    spare = np.maximum(n - length, 0)
    first = spare // 2 if starts is None else np.clip(starts, 0, spare)
    within = np.arange(length)
    mask = within < n[:, None]
    position = np.minimum(first[:, None] + within, n[:, None] - 1)
    tokens = rows[offsets[members][:, None] + position]
    blank = slice(0, N_MEASURED) if padding == "gen-1" else slice(None)
    tokens[..., blank] *= mask[..., None]
    return tokens, mask.astype(np.float32)


def spectrum_channels(
    wave_aa: NDArray[np.float64],
    flux: NDArray[np.float64],
    third: NDArray[np.float64],
    *,
    guard: bool = False,
) -> NDArray[np.float32]:
    """Return a spectrum (3, 2575) on the grid: flux, the third column, log10 of the flux's MAD.

    Parameters
    ----------
    third
        LAMOST's inverse variance. The authors call it an error and divide it by the MAD as one; their weights
        know it so.
    guard
        Mend what can be mended; see the module.

    Raises
    ------
    UnusableInput
        If nothing finite is left, or one of the cases of the module and no guard.
    """
    columns = np.column_stack([wave_aa, flux, third]).astype(np.float64)
    finite = np.isfinite(columns).all(axis=1)
    if not finite.all() and not guard:
        raise UnusableInput(
            f"{(~finite).sum()} of {len(columns)} wavelengths hold a value that is not finite"
        )
    columns = columns[finite]
    if len(columns) == 0:
        raise UnusableInput("no wavelength is left")
    wave, flux, third = columns[np.argsort(columns[:, 0], kind="stable")].T
    flux, third = np.interp(GRID_AA, wave, flux), np.interp(GRID_AA, wave, third)
    seen = flux[flux != 0]
    if len(seen) == 0 and not guard:
        raise UnusableInput("the spectrum is zero everywhere")
    scale = _scale(seen if len(seen) else flux, np.zeros(1), guard=guard)
    channels = [(flux - flux.mean()) / scale, third / scale, np.full(len(GRID_AA), np.log10(scale))]
    return np.stack(channels).astype(np.float32)


def photo_columns(values: Mapping[str, float]) -> NDArray[np.float64]:
    """Return the photometric columns (4,) transformed, before scaling.

    Raises
    ------
    UnusableInput
        If a column is missing or not finite, or the period is not positive.
    """
    columns = _picked(values, PHOTO_COLUMNS)
    if not values["period"] > 0:
        raise UnusableInput(f"a period of {values['period']} d has no logarithm")
    columns[PHOTO_COLUMNS.index("period")] = np.log10(values["period"])
    return columns


def metadata_columns(values: Mapping[str, float]) -> NDArray[np.float64]:
    """Return the metadata columns (34,) transformed, before scaling.

    Magnitudes become absolute by the raw parallax, or by 1 mas if that is not positive; longitude becomes its
    cosine and latitude its sine.

    Raises
    ------
    UnusableInput
        If a column is missing or not finite: the original has no path for missing values.
    """
    columns = dict(zip(META_COLUMNS, _picked(values, META_COLUMNS), strict=True))
    parallax_mas = columns["parallax"] if columns["parallax"] > 0 else PARALLAX_FALLBACK_MAS
    for name in (*ABSOLUTE, *ABSOLUTE_INFRARED):
        columns[name] += 5 * np.log10(parallax_mas) - 10
    columns["l"] = np.cos(np.radians(columns["l"]))
    columns["b"] = np.sin(np.radians(columns["b"]))
    return np.array([columns[name] for name in META_COLUMNS])


def scaled_metadata(values: Mapping[str, float], scaler: Scaler) -> NDArray[np.float32]:
    """Return the input (34,) of the metadata encoder."""
    return scaler.meta(metadata_columns(values)).astype(np.float32)


def _scale(flux: NDArray[np.float64], flux_err: NDArray[np.float64], *, guard: bool) -> float:
    """Return the median absolute deviation from the median, or what stands in for it."""
    deviation = float(np.median(np.abs(flux - np.median(flux))))
    if deviation > 0:
        return deviation
    if not guard:
        raise UnusableInput("more than half of the fluxes are alike: their median deviation is zero")
    for other in (float(flux.std()), float(np.median(flux_err))):
        if other > 0:
            return other
    return 1.0


def _picked(values: Mapping[str, float], names: tuple[str, ...]) -> NDArray[np.float64]:
    missing = [name for name in names if name not in values]
    if missing:
        raise UnusableInput(f"missing columns: {', '.join(missing)}")
    picked = np.array([values[name] for name in names], dtype=np.float64)
    if not np.isfinite(picked).all():
        bad = [name for name, value in zip(names, picked, strict=True) if not np.isfinite(value)]
        raise UnusableInput(f"not finite: {', '.join(bad)}")
    return picked
