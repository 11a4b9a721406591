# SPDX-License-Identifier: BSD-3-Clause
"""Oddities for training: crude, harmless to numbers, and made of training stars alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from trainer.data.splits import Split
from trainer.outliers import LEAST_CHANGE_MAG, Host, Oddity, odd_factor, odd_flux
from trainer.preparation import Prepared, window_set
from trainer.training_sets import TrainingSets, ordinary_sets

ODD = [oddity for oddity in Oddity if oddity is not Oddity.ORDINARY]


def _host(prepared: Prepared, star: int = 0) -> Host:
    members = prepared.members(Split.TRAIN).astype(np.int64)
    return Host(prepared.stars, int(members[star]), members)


@pytest.mark.parametrize("oddity", ODD)
def test_factors_are_positive_and_not_one(
    prepared: Prepared, oddity: Oddity, rng: np.random.Generator
) -> None:
    for star in range(20):
        host = _host(prepared, star)
        mjd = prepared.stars.mjd[prepared.stars.epochs(host.star)]
        factor = odd_factor(oddity, mjd, host, rng)
        assert factor.shape == mjd.shape
        assert np.isfinite(factor).all()
        assert (factor > 0).all()
        assert not np.allclose(factor, 1.0)


def test_ordinary_stars_are_left_alone(prepared: Prepared, rng: np.random.Generator) -> None:
    mjd = np.linspace(55_000.0, 55_100.0, 30)
    assert np.array_equal(odd_factor(Oddity.ORDINARY, mjd, _host(prepared), rng), np.ones(30))


def test_an_event_falls_onto_two_epochs(prepared: Prepared, rng: np.random.Generator) -> None:
    mjd = np.sort(rng.uniform(55_000.0, 55_400.0, 60))
    changed = [
        (np.abs(2.5 * np.log10(odd_factor(Oddity.EVENT, mjd, _host(prepared), rng))) > LEAST_CHANGE_MAG).sum()
        for _ in range(200)
    ]
    # Twenty draws rarely all miss; a hundredth may.
    assert np.mean(np.array(changed) >= 2) > 0.99


def test_noise_follows_the_root_of_the_flux(prepared: Prepared, rng: np.random.Generator) -> None:
    """A star that is four times fainter has half the noise, not a quarter."""
    mjd = np.linspace(55_000.0, 55_001.0, 40_000)
    flux, error = np.full(len(mjd), 1000.0), np.full(len(mjd), 50.0)
    measured = flux + error * rng.standard_normal(len(mjd))
    seed = next(
        seed
        for seed in range(100)
        if (_event(prepared, mjd, seed) < 0.999).sum() > len(mjd) / 10  # a long fade
    )
    factor = _event(prepared, mjd, seed)
    faded = factor < 0.999
    odd, odd_error = odd_flux(
        Oddity.EVENT, mjd, measured, error, _host(prepared), np.random.default_rng(seed)
    )
    np.testing.assert_allclose(odd_error[faded], 50.0 * np.sqrt(factor[faded]), rtol=1e-12)
    pull = (odd - flux * factor)[faded] / odd_error[faded]
    # The spread of four thousand pulls is known to 1 %.
    assert abs(float(pull.std()) - 1.0) < 0.05


def _event(prepared: Prepared, mjd: np.ndarray, seed: int) -> np.ndarray:
    return odd_factor(Oddity.EVENT, mjd, _host(prepared), np.random.default_rng(seed))


@pytest.mark.parametrize("oddity", ODD)
def test_only_peers_lend_their_light(prepared: Prepared, oddity: Oddity) -> None:
    host = _host(prepared)
    mjd = np.linspace(55_000.0, 55_100.0, 50)
    hidden = np.ones(len(prepared.stars), np.bool_)
    hidden[host.peers] = False
    changed = replace(
        prepared.stars,
        profile=np.where(hidden[:, None], 7.0, prepared.stars.profile).astype(np.float32),
        period_day=np.where(hidden, 1e-3, prepared.stars.period_day),
    )
    for seed in range(10):
        one, other = (
            odd_factor(oddity, mjd, Host(stars, host.star, host.peers), np.random.default_rng(seed))
            for stars in (prepared.stars, changed)
        )
        assert np.array_equal(one, other)


def test_odd_alerts_have_no_class_but_for_glitches(prepared: Prepared) -> None:
    examples = TrainingSets(prepared)(0)
    changed = ~np.isin(examples.oddity, (Oddity.ORDINARY, Oddity.GLITCH))
    assert (examples.label[changed] == -1).all()
    assert (examples.label[~changed] == prepared.stars.label[examples.star[~changed]]).all()
    assert set(examples.oddity.tolist()) == {int(oddity) for oddity in Oddity}


def test_forests_and_baselines_see_ordinary_alerts_only(prepared: Prepared) -> None:
    for part in ordinary_sets(prepared, 2):
        assert (part.oddity == Oddity.ORDINARY).all()
        assert (part.label >= 0).all()


def test_an_odd_window_holds_the_epochs_of_its_own_star(prepared: Prepared) -> None:
    examples = window_set(prepared, Split.TRAIN)
    longest = np.diff(prepared.stars.offsets)[examples.star]
    assert (examples.n_epochs <= longest).all()
    assert np.isin(examples.star, prepared.members(Split.TRAIN)).all()
