# SPDX-License-Identifier: BSD-3-Clause
"""Which epochs become light curves: the kernel against the rules written out row by row."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import fields
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker_plugin.epochs import EpochRows
from broker_plugin.records import Origin, QualityFlag
from broker_plugin.surveys.epochs import UNKNOWN_BAND, LightCurves, light_curves_of

N_ALERTS = 3

NUMBERS = st.sampled_from([-2.0, 0.0, 1.0, 1.0 + 2**-40, math.nan])
LARGE = st.sampled_from([0, 1, 2, 2**53, 2**53 + 1, -(2**62), 2**62 - 1])
"""Some of them are one number to a float."""

COLUMNS = {
    "mjd_tai": st.sampled_from([59_999.0, 60_000.0, 60_001.0, math.nan]),
    "band": st.sampled_from([UNKNOWN_BAND, 0, 1]),
    "origin": st.sampled_from([int(Origin.DETECTION), int(Origin.FORCED)]),
    "detector": st.sampled_from([0, 1]),
    "access": st.just(1),
    "exposure": LARGE,
    "identifier": LARGE,
    "withdrawn": st.booleans(),
    "trigger": st.booleans(),
}
TYPES = {
    "band": np.int8, "origin": np.int8, "detector": np.int32, "access": np.int8, "exposure": np.int64,
    "identifier": np.int64, "withdrawn": np.bool_, "trigger": np.bool_,
}  # fmt: skip

Row = dict[str, Any]

ROW = st.fixed_dictionaries(
    {name.name: COLUMNS.get(name.name, NUMBERS) for name in fields(EpochRows)}
    | {"alert": st.integers(0, N_ALERTS - 1), "own": st.booleans()}
)


def columns_of(rows: Sequence[Row]) -> EpochRows:
    return EpochRows(
        **{
            column.name: np.array([row[column.name] for row in rows], TYPES.get(column.name, np.float64))
            for column in fields(EpochRows)
        }
    )


def last_if_missing(value: float) -> float:
    return math.inf if math.isnan(value) else value


FLUXES = ("difference_njy", "difference_err_njy", "total_njy", "total_err_njy")


def seen_once(rows: Sequence[Row], same: int, *, forced_first: bool) -> list[Row]:
    """Return the rows of one alert that can be used, one an epoch, whenever it was."""
    rows = [row for row in rows if not row["withdrawn"] or row["trigger"]]
    rows = [row for row in rows if not math.isnan(row["mjd_tai"]) and row["band"] != UNKNOWN_BAND]
    rows = [row for row in rows if not (math.isnan(row["difference_njy"]) and math.isnan(row["total_njy"]))]
    numbers: dict[float, int] = {}
    exposures = sorted({row["exposure"] for row in rows})
    for last, here in pairwise([math.nan, *exposures]):
        numbers[here] = numbers[last] if here - last <= same else len(numbers)
    rows = sorted(
        rows,
        key=lambda row: (
            numbers[row["exposure"]],
            row["detector"],
            row["band"],
            not row["trigger"],
            row["origin"],
            last_if_missing(row["separation_arcsec"]),
            row["identifier"],
            last_if_missing(row["difference_njy"]),
        ),
    )
    epochs: dict[tuple[float, int, int], list[Row]] = {}
    for row in rows:
        epochs.setdefault((numbers[row["exposure"]], row["detector"], row["band"]), []).append(row)
    once = []
    for first, *others in epochs.values():
        is_replaced = forced_first and first["origin"] == Origin.DETECTION
        forced = [row for row in others if is_replaced and row["origin"] == Origin.FORCED]
        with_forced = [first | {name: row[name] for name in FLUXES} for row in forced]
        once.append(next((row for row in with_forced if kinds(row) >= kinds(first)), first))
    return once


def kinds(row: Row) -> set[str]:
    """Return the kinds of flux that an epoch has by itself."""
    difference, total = row["difference_njy"], row["total_njy"]
    apparent = difference + row["reference_njy"] if math.isnan(total) else total
    fluxes = {"difference": difference, "apparent": apparent}
    return {kind for kind, flux in fluxes.items() if not math.isnan(flux)}


def chosen(
    rows: Sequence[Row], alert_mjd: float, same: int, *, forced_first: bool
) -> Iterator[tuple[float, ...]]:
    """Yield time, band, detector, origin, flux, error and kind of the epochs of one alert, in order."""
    once = seen_once(rows, same, forced_first=forced_first)
    rows = [row for row in once if row["mjd_tai"] <= alert_mjd]
    epochs = [epoch for row in rows for epoch in [described(row, rows)] if not math.isnan(epoch[4])]
    yield from sorted(epochs, key=lambda epoch: epoch[:5])


def described(row: Row, rows: Sequence[Row]) -> tuple[float, ...]:
    of_band = [other for other in rows if other["band"] == row["band"]]

    def usual(name: str) -> float:
        known = [other[name] for other in of_band if not math.isnan(other[name])]
        return float(np.median(known)) if known else math.nan

    def apparent_flux(row: Row) -> float:
        if not math.isnan(row["total_njy"]):
            return row["total_njy"]
        own = row["reference_njy"]
        return row["difference_njy"] + (usual("reference_njy") if math.isnan(own) else own)

    is_apparent = bool(row["own"]) and not any(math.isnan(apparent_flux(other)) for other in of_band)
    flux, error = row["difference_njy"], row["difference_err_njy"]
    if is_apparent:
        flux = apparent_flux(row)
        if math.isnan(row["total_njy"]):
            unknown = math.isnan(row["reference_njy"])
            error = math.hypot(error, usual("reference_err_njy") if unknown else row["reference_err_njy"])
        else:
            error = row["total_err_njy"]
    return (row["mjd_tai"], row["band"], row["detector"], row["origin"], flux, error, is_apparent)


def made(found: LightCurves, alert: int) -> list[tuple[float, ...]]:
    part = slice(found.offsets[alert], found.offsets[alert + 1])
    columns = ("mjd_tai", "band", "detector", "origin", "flux_njy", "flux_err_njy", "apparent")
    return list(zip(*(getattr(found.epochs, name)[part].tolist() for name in columns), strict=True))


@pytest.mark.parametrize("forced_first", [False, True])
@pytest.mark.parametrize("same", [0, 1])
@given(rows=st.lists(ROW, max_size=24))
def test_the_epochs_are_those_of_the_rules(rows: list[Row], same: int, forced_first: bool) -> None:
    alert_mjd = [60_000.0, 60_001.0, 59_000.0]
    found = light_curves_of(
        columns_of(rows),
        np.array([row["alert"] for row in rows], np.int64),
        np.array(alert_mjd),
        own_reference=np.array([row["own"] for row in rows], np.bool_),
        same_exposure=same,
        forced_flux_first=forced_first,
    )
    for alert in range(N_ALERTS):
        mine = [row for row in rows if row["alert"] == alert]
        expected = [
            (*epoch[:4], float(np.float32(epoch[4])), float(np.float32(epoch[5])), epoch[6])
            for epoch in chosen(mine, alert_mjd[alert], same, forced_first=forced_first)
        ]
        np.testing.assert_array_equal(
            np.array(made(found, alert)).reshape(-1, 7), np.array(expected).reshape(-1, 7)
        )
        once = seen_once(mine, same, forced_first=forced_first)
        is_late = any(row["mjd_tai"] > alert_mjd[alert] for row in once)
        assert found.flags[QualityFlag.HISTORY_AFTER_ALERT][alert] == is_late
        is_withdrawn = any(row["withdrawn"] and not row["trigger"] for row in mine)
        assert found.flags[QualityFlag.EPOCHS_WITHDRAWN][alert] == is_withdrawn
        assert found.flags[QualityFlag.NO_LIGHT_CURVE][alert] == (not expected)
