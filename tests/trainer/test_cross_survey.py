# SPDX-License-Identifier: BSD-3-Clause
"""Other surveys are read whole, every class has a place, nothing near a training star is measured."""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from broker_plugin.engine.scorer import Scorer
from broker_plugin.errors import ConfigurationError
from trainer.cross_survey.asas import CLASSES, FOLDER, SETTINGS, alerts_in, read_asas
from trainer.cross_survey.classes import ASAS, ZTF, Kind, Mapped
from trainer.cross_survey.measure import measure_ztf
from trainer.cross_survey.ztf import FOLDER as ZTF_FOLDER
from trainer.cross_survey.ztf import LABELS, LabelledAlerts, read_labelled
from trainer.predictions import MERGED


@pytest.fixture(scope="module")
def labelled(data_dir: Path) -> LabelledAlerts:
    return read_labelled(data_dir, None)


def published_classes(path: Path, column: str) -> Counter[str]:
    with path.open(newline="") as file:
        return Counter(row[column] for row in csv.DictReader(file))


@pytest.mark.parametrize(
    ("mapped", "file", "column"),
    [(ASAS, f"{FOLDER}/{CLASSES}", "class"), (ZTF, f"{ZTF_FOLDER}/{LABELS}", "astrom3_class")],
)
def test_every_published_class_has_one_place(mapped: Mapped, file: str, column: str, data_dir: Path) -> None:
    listed = [label for labels in mapped.measured.values() for label in labels]
    listed += [*mapped.odd, *mapped.open_labels]
    assert len(listed) == len(set(listed))
    assert set(mapped.measured) == set(MERGED)
    assert set(published_classes(data_dir / file, column)) - {""} == set(listed)
    for label in listed:
        measured = mapped.positions([label])[0] >= 0
        assert (mapped.kind(label) is Kind.MEASURED) == measured


def test_asas_is_read_whole_and_in_order_of_time(data_dir: Path) -> None:
    stars = read_asas(data_dir)
    assert len(stars.star_id) == 810
    assert Counter(stars.published.tolist()) == published_classes(data_dir / FOLDER / CLASSES, "class")
    for row in range(0, 810, 50):
        mjd = stars.stars.mjd[stars.stars.epochs(row)]
        assert (np.diff(mjd) >= 0).all()
        # ASAS-3 observed from 2000 to 2010.
        assert 51_500 < mjd[0] < mjd[-1] < 55_500
    assert np.isfinite(stars.stars.flux_njy).all()
    # The catalogue's stars are of 8th to 14th magnitude in V.
    assert np.quantile(stars.stars.mean_mag, [0.01, 0.99]) == pytest.approx([8.0, 13.5], abs=1.0)


def test_alerts_of_asas_claim_no_position_and_hold_the_first_epochs(data_dir: Path) -> None:
    stars = read_asas(data_dir)
    rows = np.array([0, 5, 9])
    for setting in SETTINGS:
        for alert, row in zip(alerts_in(stars, setting, rows), rows, strict=True):
            assert set(alert.metadata) <= {"reference_mag"}
            n = len(alert.light_curve)
            expected = stars.stars.mjd[stars.stars.epochs(int(row))][:n]
            assert np.array_equal(alert.light_curve.mjd_tai, expected)
            assert n == (
                len(stars.stars.mjd[stars.stars.epochs(int(row))]) if setting == "all" else int(setting)
            )


def test_each_labelled_object_gives_one_alert_and_the_rest_is_counted(
    labelled: LabelledAlerts, data_dir: Path
) -> None:
    found = labelled
    names = [alert.object_id for alert in found.alerts]
    assert len(names) == len(set(names)) == len(found.labels)
    assert all(found.labels)
    assert found.left_out["collapsed_history"] > 100
    every = sum(
        n for label, n in published_classes(data_dir / ZTF_FOLDER / LABELS, "astrom3_class").items() if label
    )
    assert 0 < len(names) <= every


def test_objects_at_a_training_stars_place_are_left_out(
    labelled: LabelledAlerts, data_dir: Path, tmp_path: Path
) -> None:
    every = labelled
    near = every.alerts[0]
    stars = tmp_path / "stars.parquet"
    pq.write_table(pa.table({"ra": [near.ra_deg], "dec": [near.dec_deg + 5 / 3600]}), stars)
    fewer = read_labelled(data_dir, stars)
    assert {alert.object_id for alert in every.alerts} - {alert.object_id for alert in fewer.alerts} == {
        near.object_id
    }
    assert fewer.left_out["labelled objects within 10 arcsec of a training star"] == 1


def test_the_alerts_are_measured_with_intervals_and_counts_that_add_up(data_dir: Path) -> None:
    found = measure_ztf(Scorer.open("default", device="cpu"), data_dir, None)
    every = found["settings"]["every object"]
    assert every["n"] == sum(found["n_by_class"].values()) == np.sum(every["confusion"])
    assert every["n_odd"] == sum(found["n_by_anomaly"].values())
    for measure in ("macro_f1", "accuracy", "near_ood_auroc"):
        value, low, high = every[measure]
        assert 0 <= low <= value <= high <= 1
    assert found["settings"]["16 epochs or more"]["n"] < every["n"]


def test_absent_data_says_what_to_give(tmp_path: Path) -> None:
    for read in (read_asas, lambda data: read_labelled(data, None)):
        with pytest.raises(ConfigurationError, match="--data"):
            read(tmp_path)
