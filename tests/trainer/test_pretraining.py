# SPDX-License-Identifier: BSD-3-Clause
"""Pre-training needs no label and looks at none; what it has seen is not measured with afterwards."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from broker_plugin.errors import ConfigurationError
from broker_plugin.records import Origin
from broker_plugin.taxonomy import canonical_class
from tests.support.artefacts import REPOSITORY
from tests.trainer.multimodal import TRIMODAL, multimodal_settings
from tests.trainer.synthetic import tiny_settings, write_settings
from trainer.checkpoint import LOG, MODEL, Kept, load_model, load_run, new_model
from trainer.compute import Compute
from trainer.config import PretrainingSettings, Settings
from trainer.data.catalina import FILE
from trainer.data.splits import Split
from trainer.data.stars import write_stars
from trainer.object_runs import UNUSED
from trainer.preparation import Prepared, prepare, seen_stars, window_set
from trainer.pretrained import PRETRAINED, read_pretrained
from trainer.run_commands import fit_anomaly
from trainer.seen import SEEN
from trainer.stage_commands import finetune
from trainer.stream.archive import read_archive
from trainer.training import pretrain
from trainer.unlabelled import leave_out, prepare_alerts, prepare_unlabelled, window_of
from trainer.weights import pool_of, pretrain_weights

pytestmark = pytest.mark.timeout(1200)
"""A minute of computing in all; on a machine that others share that can be many."""

COMPUTE = Compute(device=torch.device("cpu"))

N_PACKETS = 60
"""Enough for a few validation stars; the period search of more only takes longer."""


def quiet(line: str) -> None:
    """Print nothing."""


def with_passes(settings: Settings, passes: int) -> Settings:
    return settings.model_copy(update={"pretraining": PretrainingSettings(passes=passes)})


def records_of(out: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (out / PRETRAINED / LOG).read_text().splitlines()]


@pytest.fixture(scope="module")
def unlabelled(catalogue: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The catalogue as a file without the columns of classes and periods."""
    path = tmp_path_factory.mktemp("unlabelled") / "stars.parquet"
    pq.write_table(pq.read_table(catalogue / FILE).drop_columns(["sss_class", "period"]), path)
    return path


@pytest.fixture(scope="module")
def pretrained(unlabelled: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was pre-trained on it."""
    out = tmp_path_factory.mktemp("pretrained")
    prepared = prepare_unlabelled(with_passes(tiny_settings(), 3), unlabelled, out, say=quiet)
    pretrain_weights([prepared], out, COMPUTE)
    return out


def test_both_contrasts_fall_without_any_label(pretrained: Path) -> None:
    records = records_of(pretrained)
    for name in ("contrast", "views"):
        assert records[-1][name] < records[0][name], name
        assert np.isfinite(records[-1][f"validation_{name}"])


def test_a_file_without_labels_gives_all_its_stars_to_training_and_validation(
    unlabelled: Path, tmp_path: Path
) -> None:
    prepared = prepare_unlabelled(tiny_settings(), unlabelled, tmp_path, say=quiet)
    assert len(prepared.stars) == pq.read_metadata(unlabelled).num_rows
    assert (prepared.stars.label == -1).all()
    assert set(prepared.split.tolist()) == {Split.TRAIN, Split.VALIDATION}
    # The last star is the first one under another name.
    assert prepared.split[0] == prepared.split[-1]


def test_a_dataset_without_the_columns_is_one_with_nulls(simulated: Path, tmp_path: Path) -> None:
    table = pq.read_table(simulated)
    path = tmp_path / "no-labels.parquet"
    pq.write_table(table.drop_columns(["label", "published_label", "period_day"]), path)
    settings = with_passes(multimodal_settings(TRIMODAL), 2)
    prepared = prepare_unlabelled(settings, path, tmp_path / "run", say=quiet)
    assert prepared.run.data["unlabelled"] == table.num_rows
    pretrain_weights([prepared], tmp_path / "run", COMPUTE)
    first, last = records_of(tmp_path / "run")
    assert last["contrast"] < first["contrast"]
    model = load_model(prepared.run, tmp_path / "run" / PRETRAINED)
    for name, value in new_model(prepared.run).head.state_dict().items():
        assert torch.equal(model.head.state_dict()[name], value), name


def with_labels(prepared: Prepared, label: np.ndarray, cache: Path) -> Prepared:
    """The same stars with other labels, of which nothing was made yet."""
    stars = replace(prepared.stars, label=label)
    write_stars(stars, cache / prepared.stars_path.name)
    return replace(prepared, stars=stars, cache=cache)


def test_the_classes_of_stars_change_nothing(prepared: Prepared, tmp_path: Path) -> None:
    run = replace(prepared.run, settings=with_passes(prepared.run.settings, 1))
    # A class of few stars has more windows than others where a training knows it.
    label = np.where(np.arange(len(prepared.stars)) % 40 == 0, 1, 0)
    weights = []
    for name, known in (("without", np.full_like(label, -1)), ("with", label)):
        stars = with_labels(prepared, known, tmp_path / name)
        pool, validation = (pool_of([stars], split, COMPUTE) for split in (Split.TRAIN, Split.VALIDATION))
        weights.append(pretrain(run, tmp_path / name, pool, validation).state_dict())
    for name, value in weights[0].items():
        assert torch.equal(weights[1][name], value), name


def test_labels_that_are_there_keep_held_out_classes_away_and_splits_the_same(
    catalogue: Path, tmp_path: Path
) -> None:
    settings = tiny_settings(data={"held_out_classes": ["RRD", "CEP"]})
    table = pq.read_table(catalogue / FILE)
    odd = {
        f"css:{each}"
        for each, name in zip(table["id"].to_pylist(), table["sss_class"].to_pylist(), strict=True)
        if canonical_class(name) in ("RRD", "CEP")
    }
    from_folder = prepare_unlabelled(settings, catalogue, tmp_path / "folder", say=quiet)
    from_file = prepare_unlabelled(settings, catalogue / FILE, tmp_path / "file", say=quiet)
    for prepared in (from_folder, from_file):
        assert len(prepared.stars) == table.num_rows - len(odd)
        assert not odd & set(prepared.stars.star_id.tolist())
    supervised = prepare(settings, catalogue, tmp_path / "supervised", say=quiet)
    assert (from_folder.split == supervised.split).all()


def test_real_alerts_are_cut_at_detections_and_learned_from(data_dir: Path, tmp_path: Path) -> None:
    packets = sorted((data_dir / "alerts/ztf/native").glob("*.avro"))[:N_PACKETS]
    archive = read_archive(packets, surveys=["ztf"])
    prepared = prepare_alerts(with_passes(tiny_settings(), 3), archive, tmp_path, say=quiet)
    assert (prepared.stars.label == -1).all()
    members, windows = prepared.members(Split.TRAIN), window_set(prepared, Split.TRAIN)
    lengths = np.diff(prepared.stars.offsets)
    assert (windows.n_epochs <= lengths[windows.star]).all()
    assert (windows.n_epochs[: len(members)] == lengths[members]).all()
    pretrain_weights([prepared], tmp_path, COMPUTE)
    records = records_of(tmp_path)
    assert records[-1]["views"] < records[0]["views"]


def test_a_window_of_an_alert_is_an_earlier_alert(data_dir: Path, rng: np.random.Generator) -> None:
    packets = sorted((data_dir / "alerts/ztf/native").glob("*.avro"))[:N_PACKETS]
    for sighting in read_archive(packets, surveys=["ztf"]).sightings:
        curve = sighting.alert.light_curve
        for n_epochs in (1, 5, len(curve)):
            window = window_of(sighting.alert, rng, n_epochs)
            kept = window.light_curve
            assert 1 <= len(kept) <= n_epochs
            assert window.mjd_tai == kept.mjd_tai[-1] <= curve.mjd_tai[-1]
            assert np.isin(kept.mjd_tai, curve.mjd_tai).all()
            later = curve.mjd_tai > kept.mjd_tai[-1]
            assert kept.origin[-1] == Origin.DETECTION or not later.any()


def test_sources_are_joined_without_mixing_their_stars(prepared: Prepared) -> None:
    one = pool_of([prepared], Split.VALIDATION, COMPUTE)
    both = pool_of([prepared, prepared], Split.VALIDATION, COMPUTE)
    assert len(both) == 2 * len(one)
    assert len(np.unique(both.star)) == 2 * len(np.unique(one.star))


def test_a_finetuning_begins_with_the_encoders_and_their_scalers(
    pretrained: Path, prepared: Prepared
) -> None:
    before = read_pretrained(pretrained)
    kept = before.kept(prepared.run.settings)
    assert kept.specs == dict(before.run.specs)
    model = new_model(prepared.run)
    new = {name: value.clone() for name, value in model.state_dict().items()}
    before.begin(model)
    for name, value in model.state_dict().items():
        assert torch.equal(value, new[name] if name.startswith("head.") else before.weights[name]), name
    assert not torch.equal(
        new["encoders.metadata.layers.0.weight"], before.weights["encoders.metadata.layers.0.weight"]
    )


def test_another_preprocessing_than_the_encoders_is_refused(pretrained: Path) -> None:
    photometry = {"spec": {"max_epochs": 32}, "encoder": TRIMODAL["photometry"]["encoder"]}
    other = multimodal_settings({"photometry": photometry})
    with pytest.raises(ConfigurationError, match=r"\[modalities.photometry\] is another"):
        read_pretrained(pretrained).kept(other)
    with pytest.raises(ConfigurationError, match="the settings none of these"):
        read_pretrained(pretrained).kept(multimodal_settings({"spectrum": TRIMODAL["spectrum"]}))
    with pytest.raises(ConfigurationError, match="trainer pretrain"):
        read_pretrained(pretrained / "nowhere")


def test_stars_that_were_seen_are_not_measured_with(
    pretrained: Path, catalogue: Path, unlabelled: Path, tmp_path: Path
) -> None:
    config = write_settings(tiny_settings(), tmp_path / "tiny.toml")
    with pytest.raises(ConfigurationError, match="--apart-from"):
        finetune(config=config, data=catalogue, start=pretrained, out=tmp_path / "run")
    prepared = prepare_unlabelled(tiny_settings(), unlabelled, tmp_path / "again", say=quiet)
    far = leave_out(prepared, prepared.stars.ra_deg[:100] + 0.001, prepared.stars.dec_deg[:100])
    # The last star lies 5 arcsec from the first.
    assert np.flatnonzero(far.split == UNUSED).tolist() == [*range(100), len(prepared.stars) - 1]


def test_what_encoders_learned_from_is_known_after_any_number_of_trainings(
    catalogue: Path, unlabelled: Path, tmp_path: Path
) -> None:
    settings = with_passes(tiny_settings(training={"passes": 1}), 1)
    config, stars = write_settings(settings, tmp_path / "tiny.toml"), pq.read_table(catalogue / FILE)
    first, second = tmp_path / "unlabelled.parquet", tmp_path / "data"
    north = stars["dec"].to_numpy() > np.median(stars["dec"].to_numpy())
    pq.write_table(pq.read_table(unlabelled).filter(north), first)
    (second / FILE).parent.mkdir(parents=True)
    pq.write_table(stars.filter(~north), second / FILE)
    begun = prepare_unlabelled(settings, first, tmp_path / "begun", say=quiet)
    pretrain_weights([begun], tmp_path / "begun", COMPUTE)
    learned = {*begun.stars.star_id[begun.members(Split.TRAIN)].tolist()}
    finetune(config=config, data=second, start=tmp_path / "begun", out=tmp_path / "once")
    assert learned < seen_stars(tmp_path / "once").names
    with pytest.raises(ConfigurationError, match="would now be held out"):
        finetune(config=config, data=catalogue, start=tmp_path / "once", out=tmp_path / "twice")
    (tmp_path / "once" / SEEN).unlink()
    with pytest.raises(ConfigurationError, match="does not say which stars"):
        finetune(config=config, data=catalogue, start=tmp_path / "once", out=tmp_path / "twice")


def test_a_finetuned_run_is_taken_up_again_as_it_was(
    catalogue: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = with_passes(tiny_settings(training={"passes": 1}), 1)
    config = write_settings(settings, tmp_path / "tiny.toml")
    out = tmp_path / "run"
    pretrain_weights([prepare_unlabelled(settings, catalogue, out, say=quiet)], out, COMPUTE)
    finetune(config=config, data=catalogue, start=out, out=out)
    assert "`fit-anomaly --run` will refuse them" in capsys.readouterr().err  # too few stars
    with pytest.raises(ConfigurationError, match="stars fall to the calibration"):
        fit_anomaly(run=out, data=catalogue)
    with pytest.raises(ConfigurationError, match="may replace: it holds"):
        fit_anomaly(run=out, data=catalogue, out=out)
    written = (out / "run.json").read_bytes()
    record = json.loads((out / LOG).read_text())
    assert record["fused"] > 0
    run = load_run(out)
    prepare(run.settings, catalogue, out, say=quiet, kept=Kept.of(run))
    assert (out / "run.json").read_bytes() == written
    prepare_unlabelled(
        settings, catalogue, out, say=quiet
    )  # as the pre-training does when it is called again
    assert (out / "run.json").read_bytes() == written


def test_a_killed_pretraining_goes_on_bit_equal(catalogue: Path, tmp_path: Path) -> None:
    settings = with_passes(tiny_settings(), 40)
    config = write_settings(settings, tmp_path / "tiny.toml")
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    command = ["pretrain", "--config", str(config), "--data", str(catalogue), "--out", str(killed)]
    process = subprocess.Popen([sys.executable, "-m", "trainer", *command], cwd=REPOSITORY)
    log = killed / PRETRAINED / LOG
    while process.poll() is None and not (log.is_file() and "\n" in log.read_text()):
        time.sleep(0.01)
    process.kill()
    process.wait()
    assert 1 <= len(records_of(killed)) < 40
    shutil.copytree(killed / "cache", whole / "cache")
    for out in (killed, whole):
        pretrain_weights([prepare_unlabelled(settings, catalogue, out, say=quiet)], out, COMPUTE)
    assert [record["pass"] for record in records_of(whole)] == list(range(1, 41))
    assert (killed / PRETRAINED / MODEL).read_bytes() == (whole / PRETRAINED / MODEL).read_bytes()
