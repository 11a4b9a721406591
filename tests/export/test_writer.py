# SPDX-License-Identifier: BSD-3-Clause
"""A written bundle opens, is complete, and replaces an older one whole."""

import json
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from broker_plugin.bundle import open_bundle
from broker_plugin.engine.scorer import Scorer
from broker_plugin.errors import BundleError, ConfigurationError
from broker_plugin.records import SourceContext
from broker_plugin.taxonomy import CLASSES, TAXONOMY
from export.parity import COSINE_MIN, FOREST_MAX, PROBABILITY_MAX, ParityError, forest_parity
from export.writer import npz_bytes, write_bundle
from tests.export.conftest import SAMPLE, SOURCE, Exported
from tests.support.artefacts import REPOSITORY
from trainer.augment import imitate
from trainer.config import STRATUM_MIN
from trainer.fitting import STRATA

DEFAULT = open_bundle("default")


def test_the_manifest_reports_its_parity(exported: Exported) -> None:
    parity = open_bundle(exported.bundle).manifest.parity
    assert min(value for name, value in parity.items() if name.endswith("cosine_min")) >= COSINE_MIN
    assert parity["probability_difference_max"] <= PROBABILITY_MAX
    forests = [value for name, value in parity.items() if name.startswith("forest_")]
    assert len(forests) == 3
    assert max(forests) <= FOREST_MAX


def test_the_classes_and_their_frequencies_have_names_of_their_own(exported: Exported) -> None:
    manifest = open_bundle(exported.bundle).manifest
    assert manifest.taxonomy == TAXONOMY
    assert manifest.class_prior == exported.prepared.run.class_prior != TAXONOMY
    assert set(manifest.classes) <= {entry.name for entry in CLASSES}


def test_the_card_tells_of_these_stars_and_of_no_others(exported: Exported) -> None:
    card = (exported.bundle / "MODEL_CARD.md").read_text("utf-8")
    assert f"{SOURCE}. " in card
    assert "declination -" in card
    assert f"(prior `{SAMPLE}`)" in card
    assert "Catalina" not in card
    assert open_bundle(exported.bundle).manifest.class_prior == SAMPLE


def test_every_alert_finds_its_stratum(exported: Exported) -> None:
    bundle = open_bundle(exported.bundle)
    scores = bundle.arrays(bundle.manifest.calibration_file)
    for photometry, metadata, n_epochs in product([False, True], [False, True], [0, 1, 7, 8, 5000]):
        if photometry != (n_epochs > 0):
            continue
        having = {"photometry": photometry, "metadata": metadata}
        modalities = tuple(name for name, there in having.items() if there)
        stratum = bundle.stratum_of(modalities, n_epochs)
        assert stratum.n >= STRATUM_MIN
        for source in ("fused", *modalities):
            values = scores[f"{stratum.name}/{source}"]
            assert values.dtype == np.float32
            assert len(values) == stratum.n
            assert (np.diff(values) >= 0).all()


def test_references_are_plain_arrays_of_training_stars(exported: Exported) -> None:
    bundle = open_bundle(exported.bundle)
    reference = bundle.arrays(bundle.manifest.reference_file)
    n = len(reference["object_id"])
    assert reference["profile"].shape == (n, 24)
    assert np.isfinite(reference["profile"]).all()
    assert len(set(reference["object_id"].tolist())) == n
    assert set(reference["label"].tolist()) <= set(bundle.manifest.classes)


def test_the_runtime_scores_with_the_bundle(exported: Exported, rng: np.random.Generator) -> None:
    scorer = Scorer.open(exported.bundle, device="cpu")
    stars = exported.prepared.stars
    alerts = [imitate(stars, k, rng, n_epochs=1 + k, alert_id=k) for k in range(40)]
    verdicts = scorer.score(alerts)
    for verdict in verdicts:
        # float64 sums of probabilities.
        assert sum(verdict.class_probabilities.values()) == pytest.approx(1.0, abs=1e-9)
        assert 0 < verdict.anomaly_p_value <= 1


def test_the_rule_that_was_chosen_names_the_class(
    exported: Exported, tmp_path: Path, rng: np.random.Generator
) -> None:
    run = tmp_path / "run"
    shutil.copytree(exported.run, run, ignore=shutil.ignore_patterns("cache"))
    strata = json.loads((run / STRATA).read_text())
    weights = {name: [float(w) for w in rng.uniform(0.1, 10, 9)] for name in (s["name"] for s in strata)}
    chosen = [stratum | {"class_weights": weights[stratum["name"]]} for stratum in strata]
    (run / STRATA).write_text(json.dumps(chosen))
    scorer = Scorer.open(write_bundle(run, tmp_path / "bundle"), device="cpu")
    alerts = [
        replace(
            imitate(exported.prepared.stars, k, rng, n_epochs=1 + k % 20, alert_id=k),
            source_context=SourceContext.STELLAR,
        )
        for k in range(60)
    ]
    for verdict in scorer.score(alerts):
        stratum = scorer.bundle.stratum_of(verdict.modalities, verdict.n_epochs)
        products = {
            name: weight * verdict.class_probabilities[name]
            for name, weight in zip(scorer.bundle.manifest.classes, weights[stratum.name], strict=True)
        }
        assert verdict.top_class == max(products, key=products.__getitem__)
        assert verdict.decision_rule == "macro_f1"
    assert "chosen for macro-F1" in (tmp_path / "bundle" / "MODEL_CARD.md").read_text()


def test_a_run_gives_the_same_arrays_twice(exported: Exported, tmp_path: Path) -> None:
    bundle = open_bundle(exported.bundle)
    again = open_bundle(write_bundle(exported.run, tmp_path / "again"))
    for name in ("calibration.npz", "reference.npz", "forest-fused.onnx", "MODEL_CARD.md"):
        assert bundle.manifest.files[name] == again.manifest.files[name]


def test_an_older_bundle_is_replaced_whole(exported: Exported, tmp_path: Path) -> None:
    place = tmp_path / "bundle"
    shutil.copytree(exported.bundle, place)
    manifest = json.loads((place / "manifest.json").read_text())
    manifest["files"]["leftover.md"] = "a file that bundles of an older version had"
    (place / "manifest.json").write_text(json.dumps(manifest))
    (place / "leftover.md").touch()
    write_bundle(exported.run, place)
    assert not (place / "leftover.md").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]


def test_the_command_ends_in_order_by_a_signal() -> None:
    script = (
        "import signal\n"
        "from export import cli\n"
        "cli.app = lambda: signal.raise_signal(signal.SIGTERM)\n"
        "cli.main()"
    )
    ended = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, cwd=REPOSITORY, check=False
    )
    assert (ended.returncode, ended.stderr) == (-signal.SIGTERM, "export: stopped by SIGTERM\n")


def test_an_unfinished_run_is_refused_and_nothing_is_written(exported: Exported, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(exported.run, run, ignore=shutil.ignore_patterns("cache"))
    (run / "references.npz").unlink()
    with pytest.raises(ConfigurationError, match="fit-anomaly"):
        write_bundle(run, tmp_path / "bundle")
    assert not (tmp_path / "bundle").exists()


def test_a_forest_that_differs_is_refused(exported: Exported) -> None:
    bundle = open_bundle(exported.bundle)
    probes = np.eye(bundle.manifest.embedding_dim, dtype=np.float32)
    with pytest.raises(ParityError, match="differs"):
        forest_parity(bundle.graph("forest-metadata.onnx"), "metadata", probes, np.zeros((len(probes), 1)))


def test_the_card_names_data_results_and_limits(exported: Exported) -> None:
    card = (exported.bundle / "MODEL_CARD.md").read_text()
    for part in (
        "random forest",
        "commonest class",
        "## Limits",
        "grown on the very stars",
        "look into the future",
    ):
        assert part in card
    assert "{" not in card


def test_arrays_are_written_without_pickle() -> None:
    with pytest.raises(ValueError, match="allow_pickle"):
        npz_bytes({"objects": np.array([{}], object)})


def test_a_bundle_of_a_failed_export_is_no_bundle(tmp_path: Path) -> None:
    with pytest.raises(BundleError):
        open_bundle(tmp_path)
