# SPDX-License-Identifier: BSD-3-Clause
"""Predictions come from the epochs of a setting: what a star does later was not known and changes nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.trainer.synthetic import write_catalogue
from trainer.bundle_evaluation import Score, predict, scoring
from trainer.data.catalina import FILE
from trainer.data.unsorted import Unsorted, read_unsorted
from trainer.predictions import Predictions
from trainer.star_settings import PACKET, SETTINGS, alerts_of

Row = dict[str, Any]
Change = Callable[[Row, int, np.random.Generator], Row]

SERIES = ("mjd", "mag", "mag_err")

CUT_SHORT = (*(name for name in SETTINGS if name.isdecimal()), PACKET)
"""Settings that do not hold all epochs: the first ones, as many as the name says, and the alert."""


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> list[Row]:
    """Stars with the epochs of two, in order of time: more than the 100 of the longest setting."""
    data = tmp_path_factory.mktemp("long")
    write_catalogue(data, stars_per_class=2)
    stars: list[Row] = pq.read_table(data / FILE).to_pylist()[1:]  # the first has an impossible epoch
    return [one | _joined(one, other) for one, other in zip(stars[::2], stars[1::2], strict=True)]


@pytest.fixture(scope="module")
def score() -> Iterator[Score]:
    with scoring("default", 1) as scores:
        yield scores


def changed(row: Row, known: int, rng: np.random.Generator) -> Row:
    """Return a star with other times, magnitudes and errors after its first epochs."""
    n = len(row["mjd"]) - known
    later = {
        "mjd": row["mjd"][known - 1] + np.sort(rng.uniform(0.01, 900.0, n)),
        "mag": rng.uniform(10.0, 20.0, n),
        "mag_err": rng.uniform(0.01, 0.5, n),
    }
    return row | {name: [*row[name][:known], *values.tolist()] for name, values in later.items()}


def ended(row: Row, known: int, rng: np.random.Generator) -> Row:
    """Return a star that was seen no more after its first epochs."""
    return row | {name: row[name][:known] for name in SERIES}


def test_the_settings_are_those_that_are_asked_for() -> None:
    assert CUT_SHORT == ("100", "30", "10", "3", "1", "packet")


@pytest.mark.parametrize("change", [changed, ended])
@pytest.mark.parametrize("setting", CUT_SHORT)
def test_later_epochs_change_no_prediction(
    rows: list[Row],
    score: Score,
    tmp_path: Path,
    rng: np.random.Generator,
    setting: str,
    change: Change,
) -> None:
    stars = read(rows, tmp_path)
    known = known_epochs(stars, setting)
    lengths = np.array([len(row["mjd"]) for row in rows])
    assert (known < lengths).mean() > 0.9
    other = read([change(row, int(n), rng) for row, n in zip(rows, known, strict=True)], tmp_path)
    one, two = (predict(score, each, setting) for each in (stars, other))
    for column in fields(Predictions):
        assert np.array_equal(getattr(one, column.name), getattr(two, column.name)), column.name


def known_epochs(stars: Unsorted, setting: str) -> np.ndarray:
    """Return how many epochs of each star are not later than what is judged in a setting."""
    if setting != PACKET:
        return np.full(len(stars.star_id), int(setting))
    alerts = alerts_of(stars, setting, np.arange(len(stars.star_id)))
    epochs = [stars.stars.mjd[stars.stars.epochs(star)] for star in range(len(alerts))]
    return np.array([np.sum(mjd <= alert.mjd_tai) for mjd, alert in zip(epochs, alerts, strict=True)])


def read(rows: list[Row], folder: Path) -> Unsorted:
    path = folder / "stars.parquet"
    pq.write_table(pa.Table.from_pylist(rows), path)
    return read_unsorted(path)


def _joined(one: Row, other: Row) -> Row:
    order = np.argsort(one["mjd"] + other["mjd"])
    return {name: np.array(one[name] + other[name])[order].tolist() for name in SERIES}
