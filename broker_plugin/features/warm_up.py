# SPDX-License-Identifier: BSD-3-Clause
"""The kernels of the features, compiled before the first alert comes."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from broker_plugin.features.folding import fold
from broker_plugin.features.period import Periods, find_periods
from broker_plugin.features.searched import Searched
from broker_plugin.features.variability import variability
from broker_plugin.records import Access, Alert, AlertBatch, LightCurve, Origin

__all__ = ["compile_folds", "compile_search", "compile_statistics", "compiled_kernels", "warm_up"]

LENGTHS = 400, 40
"""Epochs of two light curves of 100 days, one for each way of computing a periodogram."""


def warm_up() -> None:
    """Compile the kernels, or load them from their cache: many seconds at the first start, one later."""
    for compile_part in (compile_search, compile_folds, compile_statistics):
        compile_part()


def compile_search() -> None:
    """Compile the period search."""
    find_periods(_batch())


def compile_folds() -> None:
    """Compile the folding of light curves."""
    n = min(LENGTHS)
    age_day = np.linspace(100.0, 0.0, n)
    epochs = Searched(
        row=np.zeros(n, np.int64), age_day=age_day, deviation=np.sin(age_day), error=np.full(n, 0.1)
    )
    fold(epochs, Periods.none(1), np.ones(1))


def compile_statistics() -> None:
    """Compile what says how light curves vary."""
    variability(_batch())


def compiled_kernels() -> tuple[Path, bool]:
    """Return the folder of the compiled code, and whether all of it is there already."""
    from broker_plugin.features.epoch_kernels import deviate, standardise
    from broker_plugin.features.fold_kernels import fold_all
    from broker_plugin.features.peaks import find_peaks
    from broker_plugin.features.periodogram import grids, power_directly
    from broker_plugin.features.transform_kernels import (
        power_of_values,
        spread_values,
        spread_weights,
        sums_of_weights,
    )
    from broker_plugin.features.variability_kernels import describe
    from broker_plugin.kernels import are_compiled

    return are_compiled(
        *(deviate, standardise, fold_all, find_peaks, grids, power_directly, describe),
        *(spread_weights, sums_of_weights, spread_values, power_of_values),
    )


def _batch() -> AlertBatch:
    return AlertBatch.from_alerts(_alert(n) for n in LENGTHS)


def _alert(n: int) -> Alert:
    rng = np.random.default_rng(n)
    mjd_tai = 60_000.0 + np.sort(rng.uniform(0.0, 100.0, n))
    return Alert(
        survey="ztf",
        alert_id=n,
        object_id=f"ztf:{n}",
        ra_deg=0.0,
        dec_deg=0.0,
        mjd_tai=float(mjd_tai[-1]),
        light_curve=LightCurve.from_columns(
            mjd_tai=mjd_tai,
            flux_njy=rng.normal(1e5, 1e3, n),
            flux_err_njy=np.full(n, 1e3),
            band=np.zeros(n),
            origin=np.full(n, Origin.DETECTION),
            apparent=np.arange(n) % 2 == 0,
            detector=np.zeros(n),
            access=np.full(n, Access.PUBLIC),
        ),
    )
