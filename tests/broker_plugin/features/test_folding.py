# SPDX-License-Identifier: BSD-3-Clause
"""Folds: against a plain least-squares fit, and at the right period against wrong ones."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from broker_plugin.features.folding import (
    EMPTY_EPOCHS,
    N_HARMONICS,
    N_PHASES,
    PRIOR_EPOCHS,
    ROUGHNESS,
    SERIES,
    Folds,
    fold,
)
from broker_plugin.features.period import N_CANDIDATES, Periods
from broker_plugin.features.searched import Searched

FloatArray = np.typing.NDArray[np.float64]


def searched(age_day: FloatArray, deviation: FloatArray, error: FloatArray | float = 0.2) -> Searched:
    n = len(age_day)
    return Searched(
        row=np.zeros(n, np.int64),
        age_day=age_day,
        deviation=deviation,
        error=np.broadcast_to(np.asarray(error, np.float64), n),
    )


def folded(epochs: Searched, *frequencies: float, given: float = 0.0) -> Folds:
    periods = Periods.none(1)
    periods.frequency_per_day[0, : len(frequencies)] = frequencies
    periods.power[0, : len(frequencies)] = 0.5
    return fold(epochs, periods, np.array([given]))


def eclipses(age_day: FloatArray, period_day: float, *, second: float) -> FloatArray:
    """Two eclipses a period, the second of another depth; fainter is larger."""
    phase = (age_day / period_day) % 1.0
    first = np.exp(-0.5 * ((phase - 0.25) / 0.03) ** 2)
    return np.asarray(first + second * np.exp(-0.5 * ((phase - 0.75) / 0.03) ** 2))


@pytest.mark.parametrize("series", range(len(SERIES)))
def test_the_variance_left_is_that_of_a_plain_least_squares_fit(
    rng: np.random.Generator, series: int
) -> None:
    age = np.sort(rng.uniform(0, 90, 60))
    error = rng.uniform(0.1, 0.5, 60)
    value = rng.normal(0, 1, 60) + np.sin(2 * np.pi * age / 1.7)
    found = folded(searched(age, value, error), 0.61)
    weight = 1 / error**2
    centred = value - (weight * value).sum() / weight.sum()
    harmonics = np.array(SERIES[series])
    angle = -2 * np.pi * 0.5 * 0.61 * age[:, None] * harmonics
    design = np.concatenate([np.ones((60, 1)), np.cos(angle), np.sin(angle)], axis=1)
    prior = np.tile(weight.sum() * (ROUGHNESS * harmonics**2 + PRIOR_EPOCHS / 60), 2)
    normal = design.T @ (weight[:, None] * design) + np.diag(np.concatenate([[0.0], prior]))
    solution = np.linalg.solve(normal, design.T @ (weight * centred))
    left = (weight * (centred - design @ solution) ** 2).sum() / (weight * centred**2).sum()
    assert found.left[0, series] == pytest.approx(left, abs=1e-6)  # float64 sums in another order


def test_curve_bins_and_rest_are_those_of_a_plain_fit(rng: np.random.Generator) -> None:
    n, frequency = 43, 0.61
    age = np.sort(rng.uniform(0, 90, n))
    error = rng.uniform(0.1, 0.5, n)
    value = rng.normal(0, 1, n) + np.sin(2 * np.pi * age / 1.7)
    found = folded(searched(age, value, error), frequency)
    weight = 1 / error**2
    centred = value - weight @ value / weight.sum()
    scatter = math.sqrt(weight @ centred**2 / weight.sum())
    harmonics = np.arange(1, N_HARMONICS + 1)

    def design(turns: FloatArray) -> FloatArray:
        angle = 2 * np.pi * turns[:, None] * harmonics
        return np.concatenate([np.ones((len(turns), 1)), np.cos(angle), np.sin(angle)], axis=1)

    turns = -0.5 * frequency * age
    prior = np.tile(weight.sum() * (ROUGHNESS * harmonics**2 + PRIOR_EPOCHS / n), 2)
    normal = design(turns).T @ (weight[:, None] * design(turns)) + np.diag([0.0, *prior])
    solution = np.linalg.solve(normal, design(turns).T @ (weight * centred))
    rest = centred - design(turns) @ solution
    assert found.best.tolist() == [0]
    assert found.left_over == pytest.approx(rest, abs=1e-6)  # the mean has a prior of 1e-9
    wave = solution * (np.arange(len(solution)) > 0)
    fine = design(np.arange(2 * N_PHASES) / (2 * N_PHASES)) @ wave
    faintest = fine.argmax() / (2 * N_PHASES)
    phases = faintest + np.arange(N_PHASES) / N_PHASES
    assert found.curve[0] == pytest.approx(design(phases) @ wave / scatter, abs=1e-6)
    # The coefficients are those of the curve as it is returned, which begins at its faintest point.
    of_curve = design(np.arange(N_PHASES) / N_PHASES) @ np.concatenate(
        [[0.0], found.cosine[0], found.sine[0]]
    )
    assert of_curve == pytest.approx(found.curve[0], abs=1e-9)
    place = np.floor(((turns - faintest) % 1.0) * N_PHASES).astype(int)
    weights = np.bincount(place, weight, N_PHASES)
    drawn = EMPTY_EPOCHS * weight.sum() / n
    expected = np.bincount(place, weight * centred, N_PHASES) / (weights + drawn) / scatter
    assert found.binned[0] == pytest.approx(expected, abs=1e-9)
    assert found.filled[0] == (weights > 0).mean()
    assert found.span_day[0] == np.ptp(age)


def test_the_right_period_leaves_least(rng: np.random.Generator) -> None:
    age = np.sort(rng.uniform(0, 400, 200))
    value = eclipses(age, 2.345, second=0.5) + rng.normal(0, 0.02, 200)
    found = folded(searched(age, value, 0.02), 2 / 2.345, 2 / 2.345 + 1.0, 0.77)
    left = found.left[:, 0]
    assert left.argmin() == 0
    assert left[0] < 0.4 * left[1:].min()
    # Twice the candidate's period tells the eclipses apart; the period of the candidate mixes them.
    assert left[0] < 0.8 * found.left[0, 1]


def test_the_fold_begins_at_its_faintest_point_whenever_the_alert_is(rng: np.random.Generator) -> None:
    age = np.sort(rng.uniform(0, 400, 300))
    value = eclipses(age, 2.345, second=0.4)
    here = folded(searched(age, value, 0.05), 2 / 2.345)
    later = folded(searched(age + 0.7, value, 0.05), 2 / 2.345)
    assert here.curve[0].argmax() == 0
    # A bin of phase is 1/32: the curves may differ by half the step of the grid on which the top is found.
    assert np.abs(here.curve - later.curve).max() < 0.4
    assert here.cosine[0] == pytest.approx(later.cosine[0], abs=0.15)


def test_a_catalogues_period_is_folded_after_the_candidates(rng: np.random.Generator) -> None:
    age = np.sort(rng.uniform(0, 50, 40))
    found = folded(searched(age, rng.normal(0, 1, 40)), 1.1, 0.3, given=0.5)
    assert found.rank.tolist() == [0, 1, N_CANDIDATES]
    assert found.frequency_per_day.tolist() == [1.1, 0.3, 0.5]
    assert found.power.tolist() == [0.5, 0.5, 0.0]


def test_a_given_period_without_epochs_is_a_fold_of_nothing() -> None:
    found = folded(searched(np.zeros(0), np.zeros(0)), given=0.5)
    assert found.n_epochs.tolist() == [0]
    for column in (found.cosine, found.sine, found.curve, found.binned, found.filled):
        assert np.isfinite(column).all()
        assert not column.any()


def test_a_fold_has_the_same_bits_alone_and_among_others(rng: np.random.Generator) -> None:
    parts = [searched(np.sort(rng.uniform(0, 80, n)), rng.normal(0, 1, n)) for n in (5, 37, 200)]
    together = Searched(
        row=np.repeat(np.arange(3), [5, 37, 200]),
        age_day=np.concatenate([part.age_day for part in parts]),
        deviation=np.concatenate([part.deviation for part in parts]),
        error=np.concatenate([part.error for part in parts]),
    )
    periods = Periods.none(3)
    periods.frequency_per_day[:, :2] = [[1.3, 0.2], [5.1, 2.2], [0.7, 0.1]]
    every = fold(together, periods, np.zeros(3))
    for row, part in enumerate(parts):
        alone = folded(part, *periods.frequency_per_day[row, :2].tolist())
        for name in ("cosine", "sine", "left", "curve", "binned", "filled", "span_day"):
            assert np.array_equal(getattr(alone, name), getattr(every, name)[every.row == row])


def test_shapes(rng: np.random.Generator) -> None:
    found = folded(searched(rng.uniform(0, 9, 20), rng.normal(0, 1, 20)), 1.0)
    assert found.cosine.shape == (1, N_HARMONICS)
    assert found.curve.shape == found.binned.shape == (1, N_PHASES)
    assert replace(found).left.shape == (1, len(SERIES))
