# SPDX-License-Identifier: BSD-3-Clause
"""Baselines answer on the run's own test stars, in the layout of `trainer evaluate`."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from broker_plugin.errors import ConfigurationError
from broker_plugin.records import LightCurve
from tests.trainer.synthetic import tiny_settings, write_catalogue
from trainer.bundle_evaluation import measures_of
from trainer.catalogue_baselines.command import BASELINES, grow_forests, informer_baseline
from trainer.catalogue_baselines.forests import Sample, capped
from trainer.catalogue_baselines.informer import (
    SHARES,
    Constants,
    InformerRun,
    constants_of,
    mixed_alerts,
    objects_of,
    string_length,
)
from trainer.catalogue_baselines.stars import BaselineStars, baseline_stars
from trainer.checkpoint import Run, load_run
from trainer.predictions import MERGED, read_predictions
from trainer.preparation import prepare
from trainer.star_settings import EVERY_SETTING, alerts_of

HELD_OUT = ("RRD", "CEP")

ASKED_IN = ("period", "3")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A prepared run without training; the baselines need no more."""
    data = tmp_path_factory.mktemp("few")
    write_catalogue(data, stars_per_class=8)
    out = tmp_path_factory.mktemp("run")
    prepare(tiny_settings(data={"held_out_classes": HELD_OUT}), data, out, say=lambda line: None)
    (out / "data").symlink_to(data)
    return out


@pytest.fixture(scope="module")
def run(folder: Path) -> Run:
    return load_run(folder)


@pytest.fixture(scope="module")
def stars(run: Run, folder: Path) -> BaselineStars:
    return baseline_stars(run, folder / "data")


def test_nothing_that_was_trained_on_is_asked(stars: BaselineStars) -> None:
    train, validation, asked = (
        set(part.star_id.tolist()) for part in (stars.train, stars.validation, stars.asked)
    )
    assert not train & validation
    assert not (train | validation) & asked
    assert {"RRd", "CEPII"} <= set(stars.asked.published.tolist())
    assert not {"RRd", "CEPII"} & set(stars.train.published.tolist())
    assert (stars.label("train") >= 0).all()


def test_a_run_of_other_light_curves_is_refused(run: Run, tmp_path: Path) -> None:
    write_catalogue(tmp_path, stars_per_class=2, seed=9)
    with pytest.raises(ConfigurationError, match="--data"):
        baseline_stars(run, tmp_path)


def test_forests_answer_on_every_star_in_every_setting(run: Run, stars: BaselineStars, folder: Path) -> None:
    grow_forests(run, stars, folder, asked_in=ASKED_IN)
    for name in ("random_forest", "random_forest_uncapped", "isolation_forest"):
        path = folder / BASELINES / f"{name}.parquet"
        found = read_predictions(path)
        assert set(found.by_setting) == set(ASKED_IN)
        assert set(found.star_id.tolist()) == set(stars.asked.star_id.tolist())
        written = json.loads(path.with_suffix(".json").read_text())
        assert "trees" in found.about["budget"] or "the same on all" in found.about["budget"]
        order = np.argsort(stars.asked.star_id)
        for setting, predictions in found.by_setting.items():
            assert np.isfinite(predictions.anomaly_score).all()
            again = measures_of(predictions, stars.asked.published[order])
            assert written["settings"][setting]["macro_f1"] == again["macro_f1"]
            assert written["settings"][setting]["near_ood_auroc"] == again["near_ood_auroc"]
        n_rows = len(stars.asked.star_id) * len(ASKED_IN)
        assert pq.read_table(path)["anomaly_p_value"].null_count == n_rows
    forest = read_predictions(folder / BASELINES / "random_forest.parquet").by_setting["period"]
    assert forest.probability.sum(axis=1) == pytest.approx(1.0)
    isolation = read_predictions(folder / BASELINES / "isolation_forest.parquet").by_setting["period"]
    assert np.isnan(isolation.probability).all()


def test_the_papers_architecture_answers_and_goes_on_where_it_stopped(
    stars: BaselineStars, folder: Path
) -> None:
    training = InformerRun(folder=folder / BASELINES / "astrom3", passes=1, seed=3, parts=1, layers=1)
    informer_baseline(training, stars, folder, asked_in=("10",))
    first = (folder / BASELINES / "astrom3.parquet").read_bytes()
    trained = training.folder / "state.safetensors"
    written = trained.stat().st_mtime_ns
    informer_baseline(training, stars, folder, asked_in=("10",))
    assert trained.stat().st_mtime_ns == written
    assert (folder / BASELINES / "astrom3.parquet").read_bytes() == first
    found = read_predictions(folder / BASELINES / "astrom3.parquet")
    assert set(found.star_id.tolist()) == set(stars.asked.star_id.tolist())
    assert "1 passes" in found.about["budget"]
    assert found.by_setting["10"].probability.sum(axis=1) == pytest.approx(1.0)


def test_its_inputs_are_finite_however_few_epochs_there_are(stars: BaselineStars) -> None:
    alerts = [
        *alerts_of(stars.train, "1", np.arange(3)),
        *alerts_of(stars.train, "all", np.arange(3)),
    ]
    empty = alerts_of(stars.train, "1", np.array([3]))[0]
    object.__setattr__(empty, "light_curve", LightCurve.empty())
    columns = constants_of([*alerts, empty])
    objects = objects_of([*alerts, empty], columns, Constants.of(columns), np.zeros(7, np.int64))
    assert np.isfinite(objects.rows).all()
    assert np.isnan(columns[-1]).all()
    assert len(objects) == 7


def test_every_training_star_is_seen_once(stars: BaselineStars) -> None:
    alerts = mixed_alerts(stars.train, seed=1)
    assert [alert.object_id for alert in alerts] == stars.train.stars.star_id.tolist()
    assert sum(SHARES.values()) == pytest.approx(1.0)
    assert set(SHARES) == set(EVERY_SETTING)


def test_each_pass_sees_the_stars_in_other_settings_and_a_resumed_one_in_the_same(
    stars: BaselineStars,
) -> None:
    def lengths(number: int) -> list[int]:
        return [len(alert.light_curve) for alert in mixed_alerts(stars.train, seed=1, number=number)]

    passes = np.array([lengths(number) for number in range(12)])
    assert lengths(3) == passes[3].tolist()
    whole = np.diff(stars.train.stars.offsets)
    # These stars have fewer than 100 epochs: whole in 60 % of 180 views, which are known to 4 %.
    assert (passes == whole).mean() == pytest.approx(0.6, abs=0.12)
    # Never whole, or always, would be chances of 2e-5 and 0.2 % for a star.
    assert (passes == whole).any(axis=0).all()
    assert (passes < whole).any(axis=0).all()


def test_the_string_is_short_at_the_right_period_alone(rng: np.random.Generator) -> None:
    time, period = np.sort(rng.uniform(0, 500, 300)), 0.73
    value = np.sin(2 * np.pi * time / period)

    def length(trial: float) -> float:
        turns = time / trial
        return string_length(turns - np.floor(turns), value)

    assert length(period) < 0.01
    # Twice the variance over twice the variance, within a few standard errors of 300 epochs.
    assert length(0.5917) == pytest.approx(1.0, abs=0.25)
    assert string_length(np.zeros(3), np.ones(3)) == 1.0


def test_the_cap_keeps_every_class_and_draws_by_the_seed() -> None:
    label = np.repeat([0, 1], [50, 5])
    sample = Sample(features=np.arange(55, dtype=np.float32)[:, None], label=label)
    kept = capped(sample, seed=1, cap=10)
    assert np.bincount(kept.label).tolist() == [10, 5]
    assert np.array_equal(kept.features, capped(sample, seed=1, cap=10).features)
    assert len(MERGED) > kept.label.max()
