# SPDX-License-Identifier: BSD-3-Clause
"""Events in light curves: noise, limits and places are the survey's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from broker_plugin.surveys.photometry import AB_ZERO_NJY
from tests.trainer.injection.hosts import NOISE, constant_stars
from trainer.data.catalina import FILE
from trainer.data.unsorted import read_unsorted
from trainer.injection import priors
from trainer.injection.events import EVENTS, Event
from trainer.injection.photometry import SurveyNoise, curve_of, observed
from trainer.injection.sample import inject

KINDS = (*priors.DISCOVERIES, *priors.ARTEFACTS)


def steady(factor: float, *, scales: bool) -> Event:
    return Event(
        factor=lambda since: np.full(len(since), factor), scales=scales, before_day=0.0, after_day=0.0
    )


@pytest.mark.parametrize(("factor", "scales"), [(10.0, True), (10.0, False), (0.2, True)])
def test_noise_is_that_of_the_survey_at_the_new_brightness(
    factor: float, scales: bool, rng: np.random.Generator
) -> None:
    stars = constant_stars(rng, n=1, visits=2000, mag=16.0)
    host = curve_of(stars, 0)
    curve = observed(host, steady(factor, scales=scales), 54_000.0, NOISE, rng).curve
    level = factor * AB_ZERO_NJY * 10 ** (-0.4 * 16.0)
    due = NOISE.error_njy(np.array([level]))[0]
    # 8,000 epochs tell a scatter to 1 %; the lens also magnifies the noise of the mean of a visit, half of
    # the old error, tenfold.
    extra = (
        (factor - 1) * NOISE.error_njy(np.array([level / factor]))[0] / 2 if scales and factor > 1 else 0.0
    )
    assert curve.flux_njy.std() == pytest.approx(np.hypot(due, extra), rel=0.12 if extra else 0.03)
    assert curve.flux_njy.mean() == pytest.approx(level, rel=0.01)
    assert np.median(curve.flux_err_njy) == pytest.approx(due, rel=0.03)


def test_an_event_that_changes_nothing_leaves_every_bit(rng: np.random.Generator) -> None:
    host = curve_of(constant_stars(rng, n=1, visits=20), 0)
    seen = observed(host, steady(1.0, scales=False), 54_000.0, NOISE, rng)
    for name in ("mjd", "flux_njy", "flux_err_njy"):
        assert np.array_equal(getattr(seen.curve, name), getattr(host, name))
    assert not seen.added_njy.any()
    assert seen.measured.all()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n_epochs", [None, 30, 10])
def test_the_first_epochs_show_the_event_within_the_limits(
    kind: str, n_epochs: int | None, rng: np.random.Generator
) -> None:
    stars = constant_stars(rng, n=25, visits=40)
    hosts = np.arange(25)
    found = inject(stars, hosts, kind, n_epochs=n_epochs, noise=NOISE, seed=5)
    truth = found.truth
    assert len(truth) >= 20
    assert (truth.epochs_seen >= priors.EPOCHS_MIN.get(kind, 1)).all()
    lengths = np.diff(found.stars.offsets)
    assert (truth.epochs_seen <= lengths).all()
    assert n_epochs is None or (lengths <= n_epochs).all()
    for row, host in enumerate(truth.host.tolist()):
        curve, quiet = curve_of(found.stars, row), curve_of(stars, host)
        assert np.isin(curve.mjd, quiet.mjd).all()
        assert (np.diff(curve.mjd) > 0).all()
        then = np.isin(quiet.mjd, curve.mjd)
        changed = curve.flux_njy != quiet.flux_njy[then]
        assert changed.sum() >= truth.epochs_seen[row]
        mag = -2.5 * np.log10(curve.flux_njy[changed] / AB_ZERO_NJY)
        assert ((mag > NOISE.bright_mag - 1e-4) & (mag < NOISE.faint_mag + 1e-4)).all()
        assert (curve.flux_err_njy > 0).all()


@pytest.mark.parametrize("kind", ["microlensing", "outlier"])
def test_what_a_host_gets_follows_from_its_name_and_the_seed_alone(
    kind: str, rng: np.random.Generator
) -> None:
    stars = constant_stars(rng, n=12, visits=30)
    both = inject(stars, np.arange(12), kind, n_epochs=30, noise=NOISE, seed=5)
    alone = inject(stars.take(np.array([7])), np.array([0]), kind, n_epochs=30, noise=NOISE, seed=5)
    other = inject(stars, np.array([7]), kind, n_epochs=30, noise=NOISE, seed=6)
    row = int(np.flatnonzero(both.truth.host == 7)[0])
    assert np.array_equal(curve_of(both.stars, row).flux_njy, curve_of(alone.stars, 0).flux_njy)
    assert not np.array_equal(curve_of(other.stars, 0).flux_njy, curve_of(alone.stars, 0).flux_njy)


def test_epochs_after_the_window_change_nothing_in_it(rng: np.random.Generator) -> None:
    stars = constant_stars(rng, n=6, visits=30, mag=14.0)
    hosts = np.arange(6)
    # Brighter or fainter than the survey's limits nothing of a flare of a 14 mag star can be lost.
    first = inject(stars, hosts, "flare", n_epochs=20, noise=NOISE, seed=5)
    for row, host in enumerate(first.truth.host.tolist()):
        later = curve_of(stars, host).mjd > curve_of(first.stars, row).mjd[-1]
        assert later.sum() == 4 * 30 - 20


def test_a_saturating_and_a_vanishing_event_lose_their_epochs(rng: np.random.Generator) -> None:
    bright = constant_stars(rng, n=30, visits=60, mag=11.0)
    found = inject(bright, np.arange(30), "outburst", n_epochs=None, noise=NOISE, seed=5)
    # Outbursts of 2-6 mag end above the bright limit, 0.7 mag away: their tops are never among the epochs.
    assert found.truth.amplitude_mag.max() < 11.0 - NOISE.bright_mag + 0.5
    faint = constant_stars(rng, n=30, visits=60, mag=18.5)
    fades = inject(faint, np.arange(30), "fade", n_epochs=None, noise=NOISE, seed=5)
    assert (np.diff(fades.stars.offsets) < 240).any()
    # The star's own noise of 0.3 mag comes on top of what the limit leaves.
    assert fades.truth.amplitude_mag.max() < NOISE.faint_mag - 18.5 + 1.0


def test_every_kind_can_be_drawn() -> None:
    assert tuple(EVENTS) == priors.DISCOVERIES


def test_the_limits_are_those_of_the_real_survey(data_dir: Path, tmp_path: Path) -> None:
    part = next(pq.ParquetFile(data_dir / FILE).iter_batches(batch_size=1500))
    path = tmp_path / "part.parquet"
    pq.write_table(pq.ParquetFile(data_dir / FILE).read_row_group(0).slice(0, part.num_rows), path)
    noise = SurveyNoise.of(read_unsorted(path).stars)
    # Of the whole file: limits of 10.3 and 19.6 mag, median errors of 0.053 and 0.113 mag at 12 and 16.5.
    assert noise.bright_mag == pytest.approx(10.3, abs=0.8)
    assert noise.faint_mag == pytest.approx(19.6, abs=0.3)
    error = np.exp(np.interp([12.0, 16.5], noise.mag, noise.log_error)) * 2.5 / np.log(10)
    assert error == pytest.approx([0.053, 0.115], abs=0.01)
