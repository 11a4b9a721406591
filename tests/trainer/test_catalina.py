# SPDX-License-Identifier: BSD-3-Clause
"""The reader of the Catalina light curves, and its traps."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from broker_plugin.errors import ConfigurationError
from trainer.data.catalina import FILE, read_catalina
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


def changed(catalogue: Path, folder: Path, change: Callable[[pa.Table], pa.Table]) -> Path:
    path = folder / "stars.parquet"
    pq.write_table(change(pq.read_table(catalogue / FILE)), path)
    return path


def with_column(name: str, values: Callable[[pa.ChunkedArray], Any]) -> Callable[[pa.Table], pa.Table]:
    return lambda table: table.set_column(table.column_names.index(name), name, pa.array(values(table[name])))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda table: table.slice(0, 0), "holds no star"),
        (
            with_column("period", lambda column: [None] * len(column)),
            r"(?s)without a period +199\n.*a period",
        ),
        (with_column("period", lambda column: [math.nan] * len(column)), r"without a period +199\n"),
        (with_column("period", lambda column: ["short"] * len(column)), "column period must hold numbers"),
        (with_column("mjd", lambda column: [None, *column.to_pylist()[1:]]), "star 1000 has 0, .* as many"),
        (lambda table: table.drop_columns(["mag_err"]), "no column mag_err"),
    ],
)
def test_what_cannot_be_read_is_said(
    catalogue: Path, tmp_path: Path, change: Callable[[pa.Table], pa.Table], said: str
) -> None:
    with pytest.raises(ConfigurationError, match=said):
        read_catalina(changed(catalogue, tmp_path, change))


def test_a_file_that_is_no_parquet_file_is_said(tmp_path: Path) -> None:
    (tmp_path / "stars.parquet").write_text("id,ra\n")
    with pytest.raises(ConfigurationError, match="give a Parquet file"):
        read_catalina(tmp_path / "stars.parquet")


def test_a_star_without_a_period_is_left_out_and_counted(catalogue: Path, tmp_path: Path) -> None:
    one_null = with_column("period", lambda column: [None, *column.to_pylist()[1:]])
    found = read_catalina(changed(catalogue, tmp_path, one_null))
    assert (found.funnel.stars_without_a_period, found.funnel.stars_kept) == (1, 198)
    assert (found.stars.period_day > 0).all()
