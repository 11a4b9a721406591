# SPDX-License-Identifier: BSD-3-Clause
"""Kernels that choose the epochs of light curves; `surveys.epochs` says by which rules.

An alert is worked on by itself, in buffers that the next one uses again. Importing this takes a second of its
own, for numba.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from broker_plugin.kernels import kernel
from broker_plugin.ordering import median, sort_by_keys

__all__ = ["choose_epochs"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
Int32Array = NDArray[np.int32]
Int8Array = NDArray[np.int8]
BoolArray = NDArray[np.bool_]
Number = Any
"""A number of a kernel: numpy's in plain Python, 64 bits once compiled."""

N_BANDS = 128
"""Passband codes are int8."""

LOW_BITS = 32
"""A key holds 53 bits, so that whole numbers of 64 take two."""

EXPOSURE, PREFERENCE, TIME = 2, 8, 5
"""Keys by which rows, those of one exposure, and epochs are sorted."""


@kernel
def choose_epochs(
    alert: IntArray,
    alert_mjd_tai: FloatArray,
    mjd_tai: FloatArray,
    band: Int8Array,
    origin: Int8Array,
    detector: Int32Array,
    exposure: IntArray,
    identifier: IntArray,
    separation: FloatArray,
    difference: FloatArray,
    reference: FloatArray,
    reference_err: FloatArray,
    total: FloatArray,
    withdrawn: BoolArray,
    trigger: BoolArray,
    own_reference: BoolArray,
    same_exposure: Number,
    unknown_band: Number,
    detection: Number,
    forced_flux_first: Number,
    has_withdrawn: BoolArray,
    has_invalid: BoolArray,
    has_late: BoolArray,
    n_epochs: IntArray,
    chosen: IntArray,
    measured: IntArray,
    flux: FloatArray,
    flux_reference_err: FloatArray,
    apparent: BoolArray,
) -> Number:
    """Put the rows of all light curves, alert by alert and in order of time; return how many there are.

    Parameters
    ----------
    alert
        Of each row; they and the next columns come in any order.
    unknown_band, detection
        Codes of a band and of an origin.
    forced_flux_first
        Whether an epoch has the flux of forced photometry where there is one that is as complete.
    has_withdrawn, has_invalid, has_late, n_epochs
        Are set by alert: why epochs were left out, and how many stay.
    chosen, measured, flux, flux_reference_err, apparent
        Are set by epoch that stays: its row, the row that its flux is of, flux and kind of flux, and the
        error of the reference where that was added.
    """
    n_alerts = len(alert_mjd_tai)
    of_alert, starts, longest = _by_alert(alert, n_alerts)
    rows, rows_measured = np.empty(longest, np.int64), np.empty(longest, np.int64)
    once, once_measured = np.empty(longest, np.int64), np.empty(longest, np.int64)
    order, exposures = np.empty(longest, np.int64), np.empty((longest, EXPOSURE))
    preferences, times = np.empty((longest, PREFERENCE)), np.empty((longest, TIME))
    fluxes, errors, buffer = np.empty(longest), np.empty(longest), np.empty(longest)
    kinds = np.empty(longest, np.bool_)
    n_chosen = 0
    for one in range(n_alerts):
        n = 0
        for place in range(starts[one], starts[one + 1]):
            row = of_alert[place]
            if withdrawn[row] and not trigger[row]:
                has_withdrawn[one] = True
            elif math.isnan(mjd_tai[row]) or band[row] == unknown_band:
                has_invalid[one] = True
            elif math.isnan(difference[row]) and math.isnan(total[row]):
                # A forced row without a flux is no defect: the survey looked and could not measure.
                if origin[row] == detection:
                    has_invalid[one] = True
            else:
                rows[n] = row
                n += 1
        n_once = _put_once(
            rows[:n], exposure, same_exposure, detector, band, trigger, origin, separation, identifier,
            difference, reference, total, detection, forced_flux_first, order, exposures, preferences, once,
            once_measured,
        )  # fmt: skip
        n = 0
        for place in range(n_once):
            if mjd_tai[once[place]] > alert_mjd_tai[one]:
                has_late[one] = True
            else:
                rows[n], rows_measured[n] = once[place], once_measured[place]
                n += 1
        _put_fluxes(
            rows[:n], rows_measured[:n], band, difference, reference, reference_err, total, own_reference,
            fluxes, errors, kinds, buffer,
        )  # fmt: skip
        for place in range(n):
            # It has a flux, but not of the kind that its band got.
            if math.isnan(fluxes[place]) and origin[rows[place]] == detection:
                has_invalid[one] = True
        n_epochs[one] = _put_in_time(rows[:n], mjd_tai, band, detector, origin, fluxes, order, times)
        for place in order[: n_epochs[one]]:
            chosen[n_chosen], measured[n_chosen] = rows[place], rows_measured[place]
            flux[n_chosen] = fluxes[place]
            flux_reference_err[n_chosen], apparent[n_chosen] = errors[place], kinds[place]
            n_chosen += 1
    return n_chosen


@kernel
def _by_alert(alert: IntArray, n_alerts: Number) -> tuple[IntArray, IntArray, Number]:
    """Return the rows alert by alert, where those of each begin and the last end, and the most of one."""
    starts, free = np.zeros(n_alerts + 1, np.int64), np.zeros(n_alerts + 1, np.int64)
    for row in range(len(alert)):
        starts[alert[row] + 1] += 1
    longest = 0
    for one in range(n_alerts):
        longest = max(longest, starts[one + 1])
        starts[one + 1] += starts[one]
        free[one + 1] = starts[one + 1]
    rows = np.empty(len(alert), np.int64)
    for row in range(len(alert)):
        rows[free[alert[row]]] = row
        free[alert[row]] += 1
    return rows, starts, longest


@kernel
def _put_once(
    rows: IntArray,
    exposure: IntArray,
    same_exposure: Number,
    detector: Int32Array,
    band: Int8Array,
    trigger: BoolArray,
    origin: Int8Array,
    separation: FloatArray,
    identifier: IntArray,
    difference: FloatArray,
    reference: FloatArray,
    total: FloatArray,
    detection: Number,
    forced_flux_first: Number,
    order: IntArray,
    exposures: FloatArray,
    preferences: FloatArray,
    once: IntArray,
    measured: IntArray,
) -> Number:
    """Put the preferred row of each epoch and that of its flux; return how many epochs there are.

    An epoch is an exposure of a detector in a band; exposures with numbers near to one another are one.
    """
    for place in range(len(rows)):
        order[place] = place
        exposures[place, 0], exposures[place, 1] = _halves(exposure[rows[place]])
    sort_by_keys(order[: len(rows)], exposures)
    n = begin = 0
    for end in range(1, len(rows) + 1):
        if end < len(rows):
            last, here = exposure[rows[order[end - 1]]], exposure[rows[order[end]]]
            if here == last or (same_exposure > 0 and here - last <= same_exposure):
                continue
        members = order[begin:end]
        begin = end
        if len(members) > 1:
            for place in members:
                row, mine = rows[place], preferences[place]
                mine[0], mine[1], mine[2] = detector[row], band[row], not trigger[row]
                mine[3], mine[4] = origin[row], _or_last(separation[row])
                mine[5], mine[6] = _halves(identifier[row])
                mine[7] = _or_last(difference[row])
            sort_by_keys(members, preferences)
        for member in range(len(members)):
            row = rows[members[member]]
            if member > 0:
                before = rows[members[member - 1]]
                if detector[before] == detector[row] and band[before] == band[row]:
                    has_detection_flux = origin[measured[n - 1]] == detection
                    may_replace = forced_flux_first and has_detection_flux and origin[row] != detection
                    if may_replace and _keeps_kinds(once[n - 1], row, difference, reference, total):
                        measured[n - 1] = row
                    continue
            once[n] = measured[n] = row
            n += 1
    return n


@kernel
def _keeps_kinds(
    row: Number, of_flux: Number, difference: FloatArray, reference: FloatArray, total: FloatArray
) -> Number:
    """Tell whether an epoch has with the flux of another row each kind of flux that it has with its own."""
    if math.isnan(difference[of_flux]) and not math.isnan(difference[row]):
        return False
    # A total flux is apparent, and so is the sum of difference and reference.
    is_apparent = not (math.isnan(total[of_flux]) and math.isnan(reference[row]))
    return is_apparent or math.isnan(total[row])


@kernel
def _halves(number: Number) -> tuple[Number, Number]:
    high = number >> LOW_BITS
    return float(high), float(number - (high << LOW_BITS))


@kernel
def _or_last(value: Number) -> Number:
    """Return a number that sorts behind all others where there is none."""
    return math.inf if math.isnan(value) else value


@kernel
def _put_fluxes(
    rows: IntArray,
    measured: IntArray,
    band: Int8Array,
    difference: FloatArray,
    reference: FloatArray,
    reference_err: FloatArray,
    total: FloatArray,
    own_reference: BoolArray,
    flux: FloatArray,
    error: FloatArray,
    is_apparent: BoolArray,
    buffer: FloatArray,
) -> None:
    """Put flux, kind of flux and error of the reference of an alert's epochs.

    All epochs of a band have one kind; the flux is NaN where it is not known for an epoch.
    """
    is_done = np.zeros(N_BANDS, np.bool_)
    for first in range(len(rows)):
        mine = band[rows[first]]
        if is_done[mine]:
            continue
        is_done[mine] = True
        is_complete, is_usual_known, usual, usual_err = True, False, math.nan, math.nan
        for place in range(first, len(rows)):
            row, of_flux = rows[place], measured[place]
            if band[row] != mine:
                continue
            flux[place], error[place] = total[of_flux], math.nan
            if math.isnan(total[of_flux]):
                flux[place], error[place] = difference[of_flux] + reference[row], reference_err[row]
                if math.isnan(reference[row]):
                    if not is_usual_known:
                        usual = _known_median(reference, rows, band, mine, buffer)
                        # A reference and its error are known together.
                        usual_err = _known_median(reference_err, rows, band, mine, buffer)
                        is_usual_known = True
                    flux[place], error[place] = difference[of_flux] + usual, usual_err
            is_complete = is_complete and not math.isnan(flux[place])
        for place in range(first, len(rows)):
            row = rows[place]
            if band[row] == mine:
                is_apparent[place] = is_complete and own_reference[row]
                if not is_apparent[place]:
                    flux[place] = difference[measured[place]]


@kernel
def _known_median(
    values: FloatArray, rows: IntArray, band: Int8Array, mine: Number, buffer: FloatArray
) -> Number:
    """Return the median of the known values of a band, NaN where there are none."""
    n = 0
    for row in rows:
        if band[row] == mine and not math.isnan(values[row]):
            buffer[n] = values[row]
            n += 1
    return median(buffer[:n]) if n > 0 else math.nan


@kernel
def _put_in_time(
    rows: IntArray,
    mjd_tai: FloatArray,
    band: Int8Array,
    detector: Int32Array,
    origin: Int8Array,
    flux: FloatArray,
    order: IntArray,
    times: FloatArray,
) -> Number:
    """Put the places of rows that have a flux in order of time, ties by band, detector, origin and flux."""
    n = 0
    for place in range(len(rows)):
        if math.isnan(flux[place]):
            continue
        row, mine = rows[place], times[place]
        mine[0], mine[1], mine[2] = mjd_tai[row], band[row], detector[row]
        mine[3], mine[4] = origin[row], flux[place]
        order[n] = place
        n += 1
    sort_by_keys(order[:n], times)
    return n
