# SPDX-License-Identifier: BSD-3-Clause
"""A simulated dataset is marked, repeatable, and gives its classes away nowhere but in the physics."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import chi2_contingency, f_oneway
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import cross_val_predict

from broker_plugin.errors import ConfigurationError
from broker_plugin.features.period import find_periods
from broker_plugin.records import AlertBatch
from broker_plugin.taxonomy import CLASSES
from tests.trainer.multimodal import TRIMODAL, multimodal_settings
from trainer.baseline import summary
from trainer.data.objects import ObjectRow, alert_of, card_digest_of, iter_objects
from trainer.encoders import fitted_specs
from trainer.sets import tokens_of
from trainer.simulate.dataset import KINDS, simulate_object, write_simulation


@pytest.fixture(scope="module")
def rows(simulated: Path) -> list[ObjectRow]:
    """The simulated objects."""
    return list(iter_objects(simulated))


def test_every_object_is_marked_and_the_card_says_so(simulated: Path, rows: list[ObjectRow]) -> None:
    assert all(row.simulated for row in rows)
    assert all(row.object_id.startswith("sim:") for row in rows)
    card = simulated.with_suffix(".md").read_text()
    assert "SIMULATED DATA" in card
    assert card_digest_of(simulated) == hashlib.sha256(card.encode()).hexdigest()


def test_all_classes_are_there_and_known_to_the_taxonomy(rows: list[ObjectRow]) -> None:
    labels = {row.label for row in rows}
    assert len(labels) == len(KINDS)
    assert labels <= {entry.name for entry in CLASSES}


def test_a_seed_gives_the_same_bytes_and_a_longer_file_begins_alike(tmp_path: Path) -> None:
    for name in ("one", "again"):
        write_simulation(tmp_path / f"{name}.parquet", 6, seed=9)
    assert (tmp_path / "one.parquet").read_bytes() == (tmp_path / "again.parquet").read_bytes()
    fourth = simulate_object(3, seed=9)
    read = list(iter_objects(tmp_path / "one.parquet"))[3]
    assert read.object_id == fourth.object_id
    assert fourth.light_curve is not None
    assert read.light_curve is not None
    assert np.array_equal(read.light_curve.flux_njy, fourth.light_curve.flux_njy)
    assert simulate_object(3, seed=10).ra_deg != fourth.ra_deg


@pytest.mark.parametrize(
    "trait",
    [
        lambda row: row.split,
        lambda row: row.source,
        lambda row: row.spectrum is None,
        lambda row: "ps1_g_mag" in row.metadata,
        lambda row: row.spectrum is not None and bool((row.spectrum.inverse_variance == 0).mean() > 0.03),
        lambda row: len(row.light_curve.mjd_tai) > 80,
        lambda row: row.light_curve.mjd_tai[-1] > 60_250,
        lambda row: int(row.object_id.rpartition(":")[2]) % 3,
    ],
)
def test_what_is_not_physics_does_not_know_the_class(
    rows: list[ObjectRow], trait: Callable[[ObjectRow], object]
) -> None:
    labels, values = [str(row.label) for row in rows], [str(trait(row)) for row in rows]
    table = [
        [sum(pair == (label, value) for pair in zip(labels, values, strict=True)) for value in set(values)]
        for label in set(labels)
    ]
    # Eight looks at one fixed sample: a thousandth is beyond chance.
    assert chi2_contingency(table).pvalue > 1e-3


def test_brightness_alone_does_not_know_the_class(rows: list[ObjectRow]) -> None:
    by_class: dict[str, list[float]] = {}
    for row in rows:
        if "ps1_r_mag" in row.metadata and row.label not in {"LPV"}:
            by_class.setdefault(str(row.label), []).append(row.metadata["ps1_r_mag"])
    # Long-period variables are left out: their mean over a few visits is not the mean that was drawn.
    assert f_oneway(*by_class.values()).pvalue > 1e-3


def test_each_modality_knows_a_part_of_the_class_and_none_all_of_it(rows: list[ObjectRow]) -> None:
    batch = AlertBatch.from_alerts(map(alert_of, rows))
    specs = fitted_specs(multimodal_settings(TRIMODAL), batch)
    tokens = tokens_of(batch, specs, find_periods(batch))
    label = np.array([str(row.label) for row in rows])
    chance = 1 / len(KINDS)
    for name, part in tokens.items():
        having = part.lengths > 0
        forest = RandomForestClassifier(60, random_state=1, n_jobs=1)
        features = summary({name: part})[having]
        predicted = cross_val_predict(forest, features, label[having], cv=3)
        accuracy = float((predicted == label[having]).mean())
        # The spread of a share of 160 objects is 0.04.
        assert chance + 0.12 < accuracy < 0.95, (name, accuracy)


def test_what_cannot_be_written_is_said_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    (tmp_path / "card.md").mkdir()
    made: list[int] = []
    for out, said in (
        (tmp_path / "folder", "is a directory"),
        (tmp_path / "card.parquet", "is a directory"),
        (tmp_path / "card.md", "are one file"),
        (tmp_path / "file" / "stars.parquet", "cannot write"),
        (Path("/proc/x/stars.parquet"), "cannot write"),
    ):
        with pytest.raises(ConfigurationError, match=said):
            write_simulation(out, 3, seed=1, advance=made.append)
    assert not made
    assert {each.name for each in tmp_path.iterdir()} == {"file", "folder", "card.md"}
