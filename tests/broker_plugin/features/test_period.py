# SPDX-License-Identifier: BSD-3-Clause
"""The period search: right, bounded, and the same whatever else is in the batch."""

import dataclasses
import tracemalloc
from dataclasses import fields

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker_plugin.features.period import MIN_EPOCHS, N_ALIASES, Periods, find_periods
from broker_plugin.features.searched import WINDOW_DAY
from broker_plugin.records import Alert, AlertBatch
from tests.broker_plugin.features.light_curves import alert, any_alerts, random_alerts, sinusoid


def search(*alerts: Alert) -> Periods:
    return find_periods(AlertBatch.from_alerts(alerts))


@pytest.mark.parametrize("period", [0.0713, 0.3517, 0.58, 3.3, 21.0])
def test_the_period_of_a_sinusoid_is_found(rng: np.random.Generator, period: float) -> None:
    found = search(sinusoid(rng, period=period, n=80, span=100))
    # A tenth of a resolution element: the accuracy of a frequency at this signal to noise.
    assert found.searched[0]
    assert 1 / found.period_day[0] == pytest.approx(1 / period, abs=0.1 / 100)
    assert found.false_alarm_probability[0] < 1e-6
    assert found.n_epochs[0] == 80


def test_aliases_are_separate_peaks(rng: np.random.Generator) -> None:
    found = search(sinusoid(rng, period=0.61, n=60, span=50))
    frequencies = 1 / np.array([found.period_day[0], *found.aliases_day[0]])
    assert found.aliases_day.shape == (1, N_ALIASES)
    assert np.abs(np.subtract.outer(frequencies, frequencies))[np.triu_indices(3, 1)].min() > 1 / 50


def test_noise_alone_rarely_gives_a_small_false_alarm_probability(rng: np.random.Generator) -> None:
    alerts = [
        alert(60_000 - np.sort(rng.uniform(0, 30, 30))[::-1], 1e5 + rng.normal(0, 1e3, 30), 1e3)
        for _ in range(200)
    ]
    chance = search(*alerts).false_alarm_probability
    # Baluev's formula is an upper bound; 5 sigma of 200 draws at 0.1 is 21 more.
    assert (chance < 0.1).sum() <= 20 + 21


@pytest.mark.parametrize("absurd", [-2_409_998.5, -1e300, 1e300])
def test_one_absurd_time_sizes_no_grid_and_changes_nothing(rng: np.random.Generator, absurd: float) -> None:
    sane = sinusoid(rng, period=0.43, n=40, span=60)
    curve = sane.light_curve
    # The wild epoch repeats the last one's flux in a band of its own, so that no median moves.
    wild = alert(
        [absurd, *curve.mjd_tai],
        [curve.flux_njy[0], *curve.flux_njy],
        [curve.flux_err_njy[0], *curve.flux_err_njy],
        band=[5, *curve.band],
        mjd_alert=sane.mjd_tai,
    )
    tracemalloc.start()
    found = search(wild)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found.period_day[0] == search(sane).period_day[0]
    # 300,000 frequencies of a few arrays of 8 bytes each.
    assert peak < 100e6


def test_the_longest_window_is_bounded(rng: np.random.Generator) -> None:
    found = search(sinusoid(rng, period=7.7, n=200, span=5 * WINDOW_DAY))
    assert found.searched[0]
    assert found.n_epochs[0] < 100


def test_an_alert_has_the_same_bits_alone_and_in_any_batch(rng: np.random.Generator) -> None:
    alerts = random_alerts(rng, 40) + [sinusoid(rng, period=0.5, n=40, span=30) for _ in range(5)]
    together, backward = search(*alerts), search(*alerts[::-1])
    assert together.searched.sum() >= 5
    for column in fields(Periods):
        values = getattr(together, column.name)
        assert np.array_equal(values, getattr(backward, column.name)[::-1])
        for row, one in enumerate(alerts):
            assert np.array_equal(getattr(search(one), column.name)[0], values[row])


def test_what_cannot_be_searched_says_so(rng: np.random.Generator) -> None:
    long = sinusoid(rng, period=0.5, n=40, span=30)
    few = dataclasses.replace(long, light_curve=long.light_curve.take(slice(-MIN_EPOCHS + 1, None)))
    constant = alert(60_000 + np.arange(30.0), 5.0, 1.0)
    one_night = alert(60_000 + np.arange(30) / 200, rng.normal(0, 1, 30), 1.0)
    simultaneous = alert(np.full(30, 60_000.0), rng.normal(0, 1, 30), 1.0)
    none = alert([], [], [])
    found = search(few, constant, one_night, simultaneous, none)
    expected = Periods.none(5)
    for name in ("searched", "period_day", "false_alarm_probability", "aliases_day", "n_epochs"):
        assert np.array_equal(getattr(found, name), getattr(expected, name))
    # Too few epochs to claim a period still say which frequencies are excluded; these say nothing.
    for row in (1, 3, 4):
        assert not found.frequency_per_day[row].any()
        assert not found.spectrum[row].any()


@given(st.lists(any_alerts(), max_size=3))
@settings(max_examples=60, deadline=None)
def test_any_finite_light_curve_gives_finite_numbers(alerts: list[Alert]) -> None:
    found = search(*alerts)
    for column in (found.period_day, found.false_alarm_probability, found.aliases_day):
        assert np.isfinite(column).all()
    assert (found.period_day[found.searched] > 0).all()
    assert ((found.false_alarm_probability >= 0) & (found.false_alarm_probability <= 1)).all()
