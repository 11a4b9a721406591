# SPDX-License-Identifier: BSD-3-Clause
"""Measuring a finished bundle: from the epochs of a setting alone, and so that anyone can check it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn.metrics import f1_score, roc_auc_score

from broker_plugin.bundle import open_bundle
from tests.trainer.synthetic import named_stars, write_catalogue
from trainer import bundle_evaluation
from trainer.bundle_evaluation import evaluate_bundle, summary_lines
from trainer.data.catalina import FILE
from trainer.predictions import MERGED
from trainer.star_settings import PACKET, SETTINGS

FORBIDDEN = (
    "amp",
    "vmag",
    "n",
    "lc_p95_p5",
    "name",
    "gcvs_type",
    "astrom3_class_proxy",
    "sss_class",
)
"""Columns that are never inputs: of all epochs, or of the class."""


def evaluated(catalogue: Path, folder: Path, **how: Any) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    predictions = folder / "predictions.parquet"
    measures = evaluate_bundle("default", catalogue, folder / "metrics.json", predictions, **how)
    table = pq.read_table(predictions)
    return measures, {name: table[name].to_numpy() for name in table.column_names}


def differing_settings(found: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> set[str]:
    """Return the settings of which not every bit is the same."""
    assert np.array_equal(found["id"], other["id"])
    assert np.array_equal(found["setting"], other["setting"])
    same = np.all([found[name] == other[name] for name in found], axis=0)
    return set(found["setting"][~same].tolist())


@pytest.fixture(scope="module")
def catalogue(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Data folder with few stars: each is scored eight times."""
    data = tmp_path_factory.mktemp("few")
    write_catalogue(data, stars_per_class=4)
    return data


@pytest.fixture(scope="module")
def first(catalogue: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    return evaluated(catalogue / FILE, tmp_path_factory.mktemp("evaluated"))


def test_every_star_is_in_every_setting_with_finite_numbers(catalogue: Path, first: Any) -> None:
    _, found = first
    n = pq.read_metadata(catalogue / FILE).num_rows
    for setting in (*SETTINGS, PACKET):
        assert len(set(found["id"][found["setting"] == setting])) == n
    for name, values in found.items():
        if name not in ("id", "setting"):
            assert np.isfinite(values).all()
    assert (found["anomaly_p_value"] > 0).all()


def test_the_measures_follow_from_the_predictions(catalogue: Path, first: Any) -> None:
    measures, found = first
    table = pq.read_table(catalogue / FILE, columns=["id", "sss_class"])
    published = dict(zip(table["id"].to_pylist(), table["sss_class"].to_pylist(), strict=True))
    names = list(MERGED)
    label = {each: name for name, spellings in MERGED.items() for each in spellings}
    for setting in SETTINGS:
        rows = found["setting"] == setting
        probability = np.stack([found[f"p_{name}"][rows] for name in names], axis=1)
        classes = [published[each] for each in found["id"][rows]]
        known = np.array([each in label for each in classes])
        truth = np.array([label.get(each, "") for each in classes])[known]
        predicted = np.array(names)[probability[known].argmax(axis=1)]
        f1 = f1_score(truth, predicted, average="macro", labels=sorted(set(truth)), zero_division=0)
        assert measures["macro_f1"][setting] == pytest.approx(f1, abs=1e-12)
        near = np.isin(classes, ["RRd", "CEPII", "ACEP"])
        score = found["anomaly_score"][rows]
        area = roc_auc_score(near[known | near], score[known | near])
        assert measures["near_ood_auroc"][setting] == pytest.approx(area, abs=1e-12)


def test_the_tempered_rule_is_measured_too(catalogue: Path, first: Any) -> None:
    measures, found = first
    table = pq.read_table(catalogue / FILE, columns=["id", "sss_class"])
    published = dict(zip(table["id"].to_pylist(), table["sss_class"].to_pylist(), strict=True))
    manifest = open_bundle("default").manifest
    frequency = dict(zip(manifest.classes, manifest.class_frequencies, strict=True))
    names = list(MERGED)
    merged = np.array([sum(frequency.get(each, 0.0) for each in MERGED[name]) for name in names])
    label = {each: k for k, spellings in enumerate(MERGED.values()) for each in spellings}
    assert set(measures["decision_rules"]) == {"tempered"}
    differing = 0
    for setting in SETTINGS:
        rows = found["setting"] == setting
        probability = np.stack([found[f"p_{name}"][rows] for name in names], axis=1)
        truth = np.array([label.get(published[each], -1) for each in found["id"][rows]])
        known = truth >= 0
        named = (probability[known] / np.sqrt(merged)).argmax(axis=1)
        f1 = f1_score(truth[known], named, average="macro", labels=np.unique(truth[known]), zero_division=0)
        assert measures["decision_rules"]["tempered"]["macro_f1"][setting] == pytest.approx(f1, abs=1e-12)
        differing += measures["macro_f1"][setting] != pytest.approx(f1, abs=1e-12)
    assert differing


def test_the_summary_fits_a_terminal(first: Any) -> None:
    lines = summary_lines(first[0])
    assert max(map(len, lines)) <= 80
    for head in (0, lines.index("named by the rule tempered:") + 1):
        table = lines[head : head + 1 + len(SETTINGS) + 1]
        assert len({len(line) for line in table}) == 1
        assert len({len(line.split()) for line in table}) == 1


@pytest.mark.parametrize("known", [FORBIDDEN, (*FORBIDDEN, "period")])
@pytest.mark.parametrize("there", [True, False])
def test_what_the_catalogue_knows_of_a_star_changes_no_prediction(
    catalogue: Path, first: Any, tmp_path: Path, known: tuple[str, ...], there: bool
) -> None:
    """Whether columns hold what is known of another star or nothing; the period counts in its own setting."""
    table = pq.read_table(catalogue / FILE)
    of_another = np.roll(np.arange(len(table)), 5)
    for name in known:
        place = table.schema.get_field_index(name)
        nothing = pa.nulls(len(table), table.schema.field(name).type)
        table = table.set_column(place, name, table[name].take(of_another) if there else nothing)
    path = tmp_path / "changed.parquet"
    pq.write_table(table, path)
    measures, found = evaluated(path, tmp_path)
    assert differing_settings(found, first[1]) == {"period"} & set(known)
    assert (measures["macro_f1"]["10"] is None) == (not there)


def test_classes_count_in_any_spelling(catalogue: Path, first: Any, tmp_path: Path) -> None:
    others = {"EA_detached": "Beta Persei", "RRab": "RR Lyrae FM", "RRd": "RR Lyrae DM", "LPV": "Mira"}
    table = pq.read_table(catalogue / FILE)
    spelt = [others.get(each, each) for each in table["sss_class"].to_pylist()]
    assert len(set(others.values()) & set(spelt)) >= 3
    path = tmp_path / "spelt.parquet"
    place = table.schema.get_field_index("sss_class")
    pq.write_table(table.set_column(place, "sss_class", pa.array(spelt)), path)
    measures, _ = evaluated(path, tmp_path)
    assert measures["macro_f1"] == first[0]["macro_f1"]
    assert measures["near_ood_auroc"] == first[0]["near_ood_auroc"]
    assert not any("of other classes" in remark for remark in measures["remarks"])


def test_what_a_bundle_has_learned_is_no_anomaly(
    catalogue: Path, first: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = open_bundle("default")
    knows = [*bundle.manifest.classes, "RRD", "CEP"]
    learned = replace(bundle, manifest=bundle.manifest.model_copy(update={"classes": knows}))
    monkeypatch.setattr(bundle_evaluation, "open_bundle", lambda name: learned)
    monkeypatch.setattr(bundle_evaluation, "decision_rules", lambda manifest: {})
    measures, _ = evaluated(catalogue / FILE, tmp_path)
    assert first[0]["near_anomalies"] > 0 == measures["near_anomalies"]
    assert set(measures["near_ood_auroc"].values()) == {None}
    assert measures["macro_f1"] == first[0]["macro_f1"]
    (remark,) = (each for each in measures["remarks"] if "learned by the bundle" in each)
    assert "in no measure" in remark


def test_the_result_does_not_depend_on_the_number_of_workers(
    catalogue: Path, first: Any, tmp_path: Path
) -> None:
    _, found = evaluated(catalogue / FILE, tmp_path, workers=2)
    for name, values in found.items():
        assert np.array_equal(values, first[1][name])


def test_stars_that_were_trained_on_are_left_out(catalogue: Path, tmp_path: Path) -> None:
    ids = pq.read_table(catalogue / FILE, columns=["id"])["id"].to_pylist()
    seen = named_stars([f"css:{each}" for each in ids[12:]])
    _, found = evaluated(catalogue / FILE, tmp_path, seen=seen)
    assert set(found["id"].tolist()) == set(ids[:12])
    assert json.loads((tmp_path / "metrics.json").read_text())["stars"] == 12
