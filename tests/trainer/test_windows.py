# SPDX-License-Identifier: BSD-3-Clause
"""Windows of observed epochs hold nothing but those epochs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from broker_plugin.records import AlertBatch
from trainer.data.splits import Split
from trainer.encoders.light_curve import fit_spec
from trainer.preparation import Prepared
from trainer.sets import tokens_of
from trainer.windows import (
    LONGEST_RUNS,
    RUN_LENGTHS,
    first_windows,
    growing_windows,
    joined,
    night_runs,
    random_windows,
    window_alerts,
)


def test_nothing_outside_a_window_matters(prepared: Prepared, rng: np.random.Generator) -> None:
    stars = prepared.stars
    star = prepared.members(Split.TEST)[:20].astype(np.int64)
    windows = first_windows(stars, star, 10, given=False)
    flux = stars.flux_njy.copy()
    for each in star:
        later = slice(int(stars.offsets[each]) + 10, int(stars.offsets[each + 1]))
        flux[later] *= rng.uniform(0.1, 10.0, later.stop - later.start)
    unknown = np.zeros(len(stars))
    other = replace(stars, flux_njy=flux, mean_mag=unknown, period_day=unknown, label=unknown.astype(int))
    one, two = (AlertBatch.from_alerts(window_alerts(table, star, windows)) for table in (stars, other))
    spec = {"light_curve": fit_spec({}, one)}
    tokens = [tokens_of(batch, spec)["light_curve"].values for batch in (one, two)]
    assert np.array_equal(*tokens)
    assert np.array_equal(one.metadata, two.metadata)
    assert one.n_epochs.tolist() == [10] * 20


def test_the_period_is_there_only_where_it_is_given(prepared: Prepared) -> None:
    star = prepared.members(Split.TEST)[:4].astype(np.int64)
    with_period = window_alerts(prepared.stars, star, first_windows(prepared.stars, star, None, given=True))
    without = window_alerts(prepared.stars, star, first_windows(prepared.stars, star, None, given=False))
    for each, one, other in zip(star, with_period, without, strict=True):
        assert one.metadata["catalogue_period_day"] == prepared.stars.period_day[each]
        assert "catalogue_period_day" not in other.metadata


def test_windows_lie_within_their_star(prepared: Prepared, rng: np.random.Generator) -> None:
    stars = prepared.stars
    star = np.repeat(np.arange(len(stars)), 20)
    windows = random_windows(stars, star, rng, low=3, high=40)
    length = np.diff(stars.offsets)[star]
    assert (windows.first >= 0).all()
    assert (windows.first + windows.n_epochs <= length).all()
    assert windows.n_epochs.min() == 3
    assert windows.n_epochs.max() == 40
    both = joined([windows, windows])
    assert np.array_equal(both.first[: len(star)], both.first[len(star) :])


@pytest.mark.parametrize("wish", [None, 10])
def test_a_run_begins_with_a_night_of_its_star(
    prepared: Prepared, rng: np.random.Generator, wish: int | None
) -> None:
    # Four exposures a visit, as Catalina takes them.
    visits = (
        53_600.25 + np.arange(len(prepared.stars.mjd)) // 4 + 0.01 * (np.arange(len(prepared.stars.mjd)) % 4)
    )
    stars = replace(prepared.stars, mjd=visits)
    star = np.repeat(np.arange(len(stars)), 5)
    runs = night_runs(stars, star, wish, rng)
    length = np.diff(stars.offsets)[star]
    low, high = RUN_LENGTHS if wish else LONGEST_RUNS
    around = wish or length
    assert (runs.n_epochs >= np.minimum(np.floor(low * around), length)).all()
    assert (runs.n_epochs <= np.minimum(np.ceil(high * around), length)).all()
    assert (runs.first + runs.n_epochs <= length).all()
    start = stars.offsets[star] + runs.first
    later = start[runs.first > 0]
    assert len(np.unique(runs.first)) > 1
    assert (np.floor(stars.mjd[later - 1]) < np.floor(stars.mjd[later])).all()


@pytest.mark.parametrize("high", [40, None])
def test_a_growing_light_curve_begins_with_its_first_epoch(
    prepared: Prepared, rng: np.random.Generator, high: int | None
) -> None:
    stars = prepared.stars
    star = np.repeat(np.arange(len(stars)), 20)
    windows = growing_windows(stars, star, rng, low=3, high=high)
    length = np.diff(stars.offsets)[star]
    assert (windows.first == 0).all()
    assert not windows.given.any()
    assert windows.n_epochs.min() == 3
    assert (windows.n_epochs <= length).all()
    whole = (windows.n_epochs == length).mean()
    if high is None:
        assert 0.47 < whole < 0.6
    else:
        assert windows.n_epochs.max() == high
