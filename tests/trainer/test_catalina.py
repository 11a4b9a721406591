# SPDX-License-Identifier: BSD-3-Clause
"""The reader of the Catalina light curves, and its traps."""

from pathlib import Path

import numpy as np
import pytest

from broker_plugin.errors import ConfigurationError
from trainer.data.catalina import read_catalina
from trainer.data.stars import N_PHASES, folded_profile, read_stars, write_stars


def test_every_star_and_epoch_is_accounted_for(catalogue: Path) -> None:
    found = read_catalina(catalogue)
    stars, funnel = found.stars, found.funnel
    assert funnel.stars_in_file == len(stars) == funnel.stars_kept == 9 * 22 + 1
    assert funnel.epochs_at_impossible_times == 1
    lost = funnel.epochs_at_impossible_times + funnel.epochs_with_invalid_magnitudes
    assert funnel.epochs_in_file - lost == funnel.epochs_kept == len(stars.mjd)
    assert stars.mjd.min() > 50_000


def test_the_real_catalogue_is_read_whole_but_for_three_epochs(data_dir: Path) -> None:
    found = read_catalina(data_dir)
    stars, funnel = found.stars, found.funnel
    assert (funnel.stars_in_file, funnel.stars_kept) == (29_784, 29_784)
    assert funnel.epochs_at_impossible_times == 3
    assert np.isfinite(stars.profile).all()
    assert np.bincount(stars.label).min() >= 100


def test_absent_data_is_said_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="ASTROM3_DATA"):
        read_catalina(tmp_path)


def test_a_table_survives_its_file(catalogue: Path, tmp_path: Path) -> None:
    stars = read_catalina(catalogue).stars
    write_stars(stars, tmp_path / "stars.npz")
    again = read_stars(tmp_path / "stars.npz")
    assert np.array_equal(again.flux_njy, stars.flux_njy)
    assert again.star_id.tolist() == stars.star_id.tolist()


def test_a_folded_profile_is_the_light_curve_over_one_period(rng: np.random.Generator) -> None:
    mjd = rng.uniform(53_600, 56_000, 300)
    truth = lambda phase: 0.3 * np.sin(2 * np.pi * phase)  # noqa: E731 - one line says it
    profile = folded_profile(mjd, truth(mjd / 0.7) + rng.normal(0, 0.02, 300), np.full(300, 0.02), 0.7)
    # 300 epochs under a kernel of 0.02 cycles: 15 epochs a phase, 0.02 / sqrt(15) of noise; five sigma.
    assert np.abs(profile - truth(np.arange(N_PHASES) / N_PHASES)).max() < 0.026
