# SPDX-License-Identifier: BSD-3-Clause
"""Photometry tokens against a plain implementation, one epoch after the other."""

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from broker_plugin.features.base import Tokens, build_modality
from broker_plugin.features.modalities.photometry import CHANNELS
from broker_plugin.features.period import Periods, find_periods
from broker_plugin.records import Alert, AlertBatch
from broker_plugin.taxonomy import PASSBANDS
from tests.broker_plugin.features.light_curves import alert, any_alerts, random_alerts, sinusoid
from tests.support.alerts import real_alerts

MAX_EPOCHS = 50
MODALITY = build_modality("photometry", {"max_epochs": MAX_EPOCHS})


def tokens_of(*alerts: Alert) -> Tokens:
    batch = AlertBatch.from_alerts(alerts)
    return MODALITY.tokens(batch, find_periods(batch))


def rows(tokens: Tokens, row: int) -> NDArray[np.float32]:
    return tokens.values[tokens.offsets[row] : tokens.offsets[row + 1]]


def plain(one: Alert, periods: Periods, row: int) -> NDArray[np.float64]:
    """The tokens of one alert, as one would first write them down."""
    curve = one.light_curve.take(slice(max(0, len(one.light_curve) - MAX_EPOCHS), None))
    n = len(curve)
    flux = [float(value) for value in curve.flux_njy]
    error = [max(abs(float(value)), 1e-3) for value in curve.flux_err_njy]
    kinds = [(int(curve.band[k]), bool(curve.apparent[k])) for k in range(n)]
    level = {kind: np.median([flux[k] for k in range(n) if kinds[k] == kind]) for kind in set(kinds)}
    noise = {kind: np.median([error[k] for k in range(n) if kinds[k] == kind]) for kind in set(kinds)}
    deviation, unit = [], []
    for k in range(n):
        known = kinds[k][1]
        deviation.append(flux[k] - level[kinds[k]] if known else flux[k])
        unit.append(max(abs(level[kinds[k]]), noise[kinds[k]]) if known else 1.0)

    def typical(values: list[float], known: bool) -> float:
        chosen = [values[k] for k in range(n) if kinds[k][1] == known]
        return float(np.median(chosen)) if chosen else 0.0

    sizes = [abs(deviation[k]) / unit[k] for k in range(n)]
    errors = [error[k] / unit[k] for k in range(n)]
    scatter = 1.4826 * typical(sizes, True)
    scales = {
        True: max(scatter, typical(errors, True), 1e-3),
        False: max(typical(sizes, False), typical(errors, False), 1e-3),
    }
    ages = [min(max(one.mjd_tai - float(time), 0.0), 5000.0) for time in curve.mjd_tai]
    ratios = [min(abs(flux[k]) / error[k], 1e6) for k in range(n)]
    searched = bool(periods.searched[row])
    period = float(periods.period_day[row]) if searched else 1.0
    chance = float(periods.false_alarm_probability[row]) if searched else 1.0
    result = []
    for k in range(n):
        scale = scales[kinds[k][1]]
        angle = 2 * math.pi * ages[k] / period
        phases = [math.cos(angle), math.sin(angle), math.cos(angle / 2), math.sin(angle / 2)]
        result.append(
            [
                ages[k],
                math.log10(1 + ages[k] / 0.01),
                math.asinh(np.clip(deviation[k] / unit[k] / scale, -1e6, 1e6)),
                math.asinh(np.clip(deviation[k] / unit[k], -1e6, 1e6)) if kinds[k][1] else 0.0,
                math.asinh(np.clip(deviation[k] / error[k], -1e6, 1e6)),
                math.log10(max(min(error[k] / unit[k] / scale, 1e6), 1e-3)),
                math.log(PASSBANDS[kinds[k][0]][1] / 550.0),
                float(curve.origin[k] == 1),
                float(kinds[k][1]),
                *(phases if searched else [0.0] * 4),
                math.log10(max(min(scatter, 1e6), 1e-3)),
                math.log10(1 + float(np.median(ratios))),
                math.log10(period),
                -math.log10(max(chance, 1e-20)) / 20,
                float(searched),
                math.log10(1 + max(ages) - min(ages)),
                math.log10(1 + n),
            ]
        )
    return np.array(result).reshape(n, len(CHANNELS))


def test_tokens_are_those_of_the_plain_implementation(rng: np.random.Generator) -> None:
    alerts = random_alerts(rng, 150) + [sinusoid(rng, period=0.4, n=70, span=50) for _ in range(5)]
    batch = AlertBatch.from_alerts(alerts)
    periods = find_periods(batch)
    tokens = MODALITY.tokens(batch, periods)
    for row, one in enumerate(alerts):
        # Both round to float32 once, from float64 sums in another order; phases lose a few bits to 2 pi k.
        np.testing.assert_allclose(rows(tokens, row), plain(one, periods, row), rtol=3e-7, atol=2e-6)


def test_an_alert_has_the_same_bits_alone_and_in_any_batch(rng: np.random.Generator) -> None:
    alerts = random_alerts(rng, 80)
    together = tokens_of(*alerts)
    for row, one in enumerate(alerts):
        assert np.array_equal(tokens_of(one).values, rows(together, row))


def test_real_alerts_have_the_same_bits_alone_and_in_any_batch(data_dir: Path) -> None:
    alerts = real_alerts(data_dir)[::13]
    together = tokens_of(*alerts)
    assert np.isfinite(together.values).all()
    for row, one in enumerate(alerts):
        assert np.array_equal(tokens_of(one).values, rows(together, row))


@given(st.lists(any_alerts(), max_size=3))
@settings(max_examples=200, deadline=None)
def test_any_finite_light_curve_gives_finite_tokens(alerts: list[Alert]) -> None:
    tokens = tokens_of(*alerts)
    assert np.isfinite(tokens.values).all()
    assert tokens.lengths.tolist() == [min(len(one.light_curve), MAX_EPOCHS) for one in alerts]


@pytest.mark.parametrize("flux", [0.0, 5.0, -5.0, 3e38, -3e38, 1e-45])
@pytest.mark.parametrize("error", [0.0, 1.0, 3e38])
@pytest.mark.parametrize("n", [1, 2, 9])
@pytest.mark.parametrize("apparent", [True, False])
def test_equal_and_extreme_epochs_give_finite_tokens(
    flux: float, error: float, n: int, apparent: bool
) -> None:
    tokens = tokens_of(alert(60_000 + np.arange(n), flux, error, apparent=apparent))
    assert np.isfinite(tokens.values).all()
    assert len(tokens.values) == n


def test_an_alert_without_epochs_has_no_tokens() -> None:
    tokens = tokens_of(alert([], [], []), alert([60_000.0], 5.0, 1.0), alert([], [], []))
    assert tokens.lengths.tolist() == [0, 1, 0]


def test_the_most_recent_epochs_are_kept(rng: np.random.Generator) -> None:
    long = sinusoid(rng, period=0.4, n=MAX_EPOCHS + 30, span=80)
    last = dataclasses.replace(long, light_curve=long.light_curve.take(slice(30, None)))
    periods = find_periods(AlertBatch.from_alerts([long, last]))
    # The period is of the whole light curve; everything else sees the kept epochs alone.
    same = Periods(**{f.name: getattr(periods, f.name)[[0, 0]] for f in dataclasses.fields(Periods)})
    tokens = MODALITY.tokens(AlertBatch.from_alerts([long, last]), same)
    assert np.array_equal(rows(tokens, 0), rows(tokens, 1))


@given(st.integers(-8, 8))
@settings(deadline=None)
def test_distance_does_not_change_the_tokens_of_apparent_flux(power: int) -> None:
    near = sinusoid(np.random.default_rng(1), period=0.4, n=30, span=40)
    curve = near.light_curve
    # Powers of two scale float32 without rounding.
    far = dataclasses.replace(
        near,
        light_curve=dataclasses.replace(
            curve,
            flux_njy=curve.flux_njy * np.float32(2.0**power),
            flux_err_njy=curve.flux_err_njy * np.float32(2.0**power),
        ),
    )
    tokens = tokens_of(near, far)
    assert np.array_equal(rows(tokens, 0), rows(tokens, 1))


def test_difference_flux_keeps_its_zero_and_says_what_it_is() -> None:
    tokens = tokens_of(alert([60_000.0, 60_001.0], [300.0, -100.0], 10.0, apparent=False))
    columns = dict(zip(CHANNELS, tokens.values.T, strict=True))
    assert columns["apparent"].tolist() == [0.0, 0.0]
    assert columns["fraction"].tolist() == [0.0, 0.0]
    assert np.sinh(columns["shape"]) == pytest.approx([1.5, -0.5], rel=1e-6)  # over the median of 300 and 100
    assert np.sinh(columns["significance"]) == pytest.approx([30.0, -10.0], rel=1e-5)  # float32 of asinh
