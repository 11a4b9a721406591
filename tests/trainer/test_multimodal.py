# SPDX-License-Identifier: BSD-3-Clause
"""Three modalities from simulated stars to verdicts; a fourth that nothing but two files knows of."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

import broker_plugin.features.modalities
import trainer.encoders
from broker_plugin.bundle import open_bundle
from broker_plugin.engine.scorer import Scorer
from broker_plugin.errors import ConfigurationError
from broker_plugin.records import Access, Attachment, LightCurve, SourceContext
from tests.support.alerts import real_alerts
from tests.trainer.multimodal import TRIMODAL, Finished, finish, held_out_alerts, multimodal_settings
from trainer.checkpoint import BEGUN, MODEL, load_model, load_run, new_model
from trainer.cli import make_app
from trainer.object_runs import UNUSED, prepare_objects
from trainer.plans import Plan
from trainer.preparation import bin_limits, calibration_set, validation_set
from trainer.pretrained import PRETRAINED
from trainer.stream.archive import Sighting, StreamArchive
from trainer.stream.refit import FITTED, refit
from trainer.training import train
from trainer.training_sets import TrainingSets

pytestmark = pytest.mark.timeout(1200)
"""Five graphs are exported, half a minute of computing; on a machine that others share that can be ten."""

STAMP_SIDE = 8

N_STELLAR = 330
"""A stratum of 200 beside a forest, and some that are held back."""


def with_stamps(dataset: Path, out: Path) -> Path:
    """Return a copy of a dataset in which two objects of three have a stamp of a star and noise."""
    rng = np.random.default_rng(2)
    table = pq.read_table(dataset)
    y, x = np.mgrid[:STAMP_SIDE, :STAMP_SIDE] - (STAMP_SIDE - 1) / 2
    star = np.exp(-(x**2 + y**2) / 4)
    stamps = [
        None if row % 3 == 0 else (star * rng.uniform(2, 50) + rng.normal(size=star.shape)).ravel().tolist()
        for row in range(table.num_rows)
    ]
    pq.write_table(table.append_column("attachment_stamp", pa.array(stamps, pa.list_(pa.float32()))), out)
    return out


@pytest.fixture(scope="module")
def finished(simulated: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Finished]:
    """A run of four modalities up to its bundle: the fourth is the stamp's two files beside the packages'.

    Small forests and strata of a handful of alerts: 200 objects do not give 400 with every modality.
    """
    here, root = Path(__file__).parent / "stamp", tmp_path_factory.mktemp("finished")
    packages = ((broker_plugin.features.modalities, "runtime"), (trainer.encoders, "encoder"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("trainer.calibrate.STRATUM_MIN", 5)
        patch.setattr("trainer.anomaly.GLOBAL_TREES", 20)
        patch.setattr("trainer.anomaly.MODALITY_TREES", 10)
        for package, folder in packages:
            patch.setattr(package, "__path__", [*package.__path__, str(here / folder)])
        stamp = {"spec": {"side": STAMP_SIDE}, "encoder": {"hidden_dim": 16}}
        dataset = with_stamps(simulated, root / "stamps.parquet")
        yield finish(dataset, TRIMODAL | {"stamp": stamp}, root)
    for package, _ in packages:
        sys.modules.pop(f"{package.__name__}.stamp", None)


def test_every_subset_of_three_modalities_gets_a_verdict(simulated: Path, finished: Finished) -> None:
    scorer = Scorer.open(finished.bundle, device="cpu")
    whole = next(
        alert
        for alert in held_out_alerts(simulated)
        if alert.spectrum is not None and "ps1_g_mag" in alert.metadata
    )
    alerts, expected = [], []
    for light, spectrum, metadata in product([True, False], repeat=3):
        alerts.append(
            replace(
                whole,
                alert_id=len(alerts),
                light_curve=whole.light_curve if light else LightCurve.empty(),
                spectrum=whole.spectrum if spectrum else None,
                metadata=whole.metadata if metadata else {},
            )
        )
        there = {"photometry": light, "spectrum": spectrum, "metadata": metadata}
        expected.append(tuple(name for name, has in there.items() if has))
    for verdict, modalities in zip(scorer.score(alerts), expected, strict=True):
        assert verdict.modalities == modalities
        assert set(verdict.anomaly_scores) == {"fused", *modalities}
        assert set(verdict.class_probabilities) == set(finished.prepared.run.classes)
        # float64 sums of probabilities.
        assert sum(verdict.class_probabilities.values()) == pytest.approx(1.0, abs=1e-9)
    card = (finished.bundle / "MODEL_CARD.md").read_text()
    assert "SIMULATED DATA" in card
    assert "grown on the very objects" in card
    assert "ps1_g_mag - ps1_r_mag" in card
    assert "looks into the future" in card
    assert "{" not in card
    assert open_bundle(finished.bundle).manifest.training["data"]["simulated"] is True


def test_a_fourth_modality_is_two_files_and_a_table_of_the_configuration(
    simulated: Path, finished: Finished
) -> None:
    manifest = open_bundle(finished.bundle).manifest
    assert [model.name for model in manifest.modalities] == [*TRIMODAL, "stamp"]
    alert = next(alert for alert in held_out_alerts(simulated) if alert.spectrum is not None)
    values = np.ones((STAMP_SIDE, STAMP_SIDE), np.float32)
    stamped = replace(
        alert, alert_id=2, attachments={"stamp": Attachment(values=values, access=Access.PUBLIC)}
    )
    other = replace(
        alert, alert_id=3, attachments={"stamp": Attachment(values=np.eye(STAMP_SIDE, dtype=np.float32))}
    )
    plain, verdict, another = Scorer.open(finished.bundle, device="cpu").score([alert, stamped, other])
    assert plain.modalities == ("photometry", "spectrum", "metadata")
    assert verdict.modalities == ("photometry", "spectrum", "metadata", "stamp")
    assert set(verdict.anomaly_scores) == {"fused", *verdict.modalities}
    assert set(verdict.anomaly_p_values) == {"fused", *verdict.modalities}
    assert "stamp" not in plain.anomaly_scores
    assert len({plain.inputs_digest, verdict.inputs_digest, another.inputs_digest}) == 3
    assert verdict.class_probabilities != plain.class_probabilities
    assert verdict.class_probabilities != another.class_probabilities


def test_a_streams_normal_is_fitted_for_a_bundle_with_more_modalities_than_its_alerts(
    data_dir: Path, finished: Finished, tmp_path: Path
) -> None:
    alerts = [alert for alert in real_alerts(data_dir) if alert.survey == "ztf"]
    stellar = [alert for alert in alerts if alert.source_context is SourceContext.STELLAR]
    sightings = tuple(Sighting(alert=alert, exposure=str(alert.mjd_tai)) for alert in stellar[:N_STELLAR])
    archive = StreamArchive(sightings=sightings, funnel={"ztf": {"read": len(alerts)}})
    refit(open_bundle(finished.bundle), archive, tmp_path, seed=3, splits=1, say=lambda line: None)
    planted = json.loads((tmp_path / FITTED).read_text())["fit"]["results"]["by_object"]["planted"]
    assert planted["photometry"]
    assert planted["spectrum"] == planted["stamp"] == {}


def without_labels(dataset: Path, out: Path, *, keep: float) -> Path:
    """Return a copy of a dataset in which only a share of the labels is left."""
    table = pq.read_table(dataset)
    rng = np.random.default_rng(3)
    labels = [label if rng.random() < keep else None for label in table.column("label").to_pylist()]
    position = table.schema.get_field_index("label")
    pq.write_table(
        table.set_column(position, table.schema.field("label"), pa.array(labels, pa.string())), out
    )
    return out


def test_pretraining_needs_no_labels(simulated: Path, tmp_path: Path) -> None:
    dataset = without_labels(simulated, tmp_path / "unlabelled.parquet", keep=0.0)
    settings = multimodal_settings(TRIMODAL, clip_weight=1.0, passes=3)
    prepared = prepare_objects(settings, dataset, tmp_path / "run", say=lambda line: None)
    assert (prepared.stars.label == -1).all()
    records: list[dict[str, float]] = []
    model = train(
        prepared.run,
        tmp_path / "run",
        TrainingSets(prepared),
        validation_set(prepared),
        on_pass=lambda record: records.append(dict(record)),
    )
    assert all(record["fused"] == record["single"] == 0 for record in records)
    assert records[-1]["contrast"] < records[0]["contrast"]
    assert records[-1]["validation_contrast"] < records[0]["validation_contrast"]
    head = new_model(prepared.run).head.state_dict()
    # Nothing but the decay of its weights ever reached the classifier: it points where it began.
    for name, value in model.head.state_dict().items():
        cosine = torch.nn.functional.cosine_similarity(value.reshape(-1), head[name].reshape(-1), dim=0)
        assert not head[name].any() or cosine > 0.999999, name  # float32


def test_objects_without_a_label_are_for_training_only(simulated: Path, tmp_path: Path) -> None:
    dataset = without_labels(simulated, tmp_path / "some.parquet", keep=0.4)
    prepared = prepare_objects(
        multimodal_settings(TRIMODAL), dataset, tmp_path / "run", say=lambda line: None
    )
    unlabelled = prepared.stars.label < 0
    assert set(prepared.split[unlabelled].tolist()) == {UNUSED, 0, 1}
    examples = TrainingSets(prepared)(0)
    share = (prepared.stars.label[prepared.split == 0] < 0).mean()
    assert (examples.label < 0).mean() == pytest.approx(share, abs=0.5 / len(examples))  # rounding
    train(prepared.run, tmp_path / "run", TrainingSets(prepared), validation_set(prepared))


def test_bins_of_the_calibration_hold_alerts_that_belong_there(simulated: Path, tmp_path: Path) -> None:
    settings = multimodal_settings(TRIMODAL)
    data = settings.data.model_copy(update={"windows_per_set": 32})  # a dataset has none all the same
    settings = settings.model_copy(update={"data": data})
    prepared = prepare_objects(settings, simulated, tmp_path / "run", say=lambda line: None)
    low, high = bin_limits(settings, 2)
    n_epochs = calibration_set(prepared, 2).n_epochs
    assert len(n_epochs) > 5
    assert low <= n_epochs.min() <= n_epochs.max() <= high


def test_the_label_reaches_no_alert(simulated: Path, tmp_path: Path) -> None:
    settings = multimodal_settings(TRIMODAL)
    dataset = without_labels(simulated, tmp_path / "none.parquet", keep=0.0)
    known = prepare_objects(settings, simulated, tmp_path / "known", say=lambda line: None)
    blank = prepare_objects(settings, dataset, tmp_path / "blank", say=lambda line: None)
    plan_of = validation_plan(known.split)
    assert known.make is not None
    assert blank.make is not None
    for name in TRIMODAL:
        one, other = known.make(plan_of, 0).tokens[name], blank.make(plan_of, 0).tokens[name]
        assert np.array_equal(one.values, other.values)


def test_the_command_line_pretrains_and_finetunes_on_a_dataset(
    simulated: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    text = Path("trainer/configs/simulated.toml").read_text()
    for long, short in (
        ("alerts_per_set = 4000", "alerts_per_set = 64"),
        ("validation_alerts = 600", "validation_alerts = 24\nclass_windows = 20"),
        ("passes = 48", "passes = 1"),
        ("passes = 10", "passes = 1"),
        ("train_sets = 2", "train_sets = 1"),
    ):
        assert long in text
        text = text.replace(long, short)
    config = tmp_path / "simulated.toml"
    config.write_text(text)
    out = tmp_path / "run"
    given = ["--config", str(config), "--data", str(simulated), "--out", str(out)]
    make_app("pretrain")(["pretrain", *given], result_action="return_value")
    assert (out / PRETRAINED / MODEL).is_file()
    assert not (out / MODEL).exists()
    further = ["finetune", "--from", str(out), *given]
    # Whole lines, however narrow the terminal, that can be typed as they stand.
    assert f"next: trainer {' '.join(further)}\n" in capsys.readouterr().err
    make_app("finetune")(further, result_action="return_value")
    said = capsys.readouterr().err
    assert f"next: trainer fit-anomaly --run {out} --data {simulated}\n" in said
    assert load_model(load_run(out), out).modalities == tuple(TRIMODAL)
    assert load_run(out).data[BEGUN] == load_run(out / PRETRAINED).data


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.parquet"
    pq.write_table(pa.table({"id": [1]}), path)
    with pytest.raises(ConfigurationError, match="is no dataset of `trainer build`"):
        prepare_objects(multimodal_settings(TRIMODAL), path, tmp_path / "run", say=lambda line: None)


def validation_plan(split: np.ndarray) -> Plan:
    members = np.flatnonzero(split == 1)
    n = len(members)
    return Plan(star=members, n_epochs=np.full(n, 20), oddity=np.zeros(n, np.int8), seed=3)
