# SPDX-License-Identifier: BSD-3-Clause
"""A finished bundle with a stream's own normal: what the service then says of real alerts."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from broker_plugin.bundle import FORMAT_VERSION, Bundle, open_bundle
from broker_plugin.engine.scorer import Scorer
from broker_plugin.records import Alert
from broker_plugin.stream_reference import reference_of, scaled_columns
from export.stream import next_version, write_stream_bundle
from export.stream_card import BEGIN, END
from tests.support.alerts import real_alerts
from trainer.stream.archive import Sighting, StreamArchive
from trainer.stream.planted import KINDS, MIN_EPOCHS, plant
from trainer.stream.refit import refit

N_ALERTS = 420
"""Enough for two strata of 200 and for a measurement of one split; more only takes longer."""

SEED = 3


@pytest.fixture(scope="module")
def alerts(data_dir: Path) -> list[Alert]:
    """Stellar ZTF alerts and some others."""
    every = [alert for alert in real_alerts(data_dir) if alert.survey == "ztf"]
    return sorted(every, key=lambda alert: (alert.source_context != "stellar", alert.alert_id))[:N_ALERTS]


@pytest.fixture(scope="module")
def archive(alerts: list[Alert]) -> StreamArchive:
    # Alerts of one time are of one exposure.
    sightings = tuple(Sighting(alert=alert, exposure=str(alert.mjd_tai)) for alert in alerts)
    return StreamArchive(sightings=sightings, funnel={"ztf": {"read": len(alerts), "kept": len(alerts)}})


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The default bundle as the last format had it: without strata and forests of a stream."""
    copy = Path(shutil.copytree(open_bundle("default").path, tmp_path_factory.mktemp("base") / "base"))
    manifest = json.loads((copy / "manifest.json").read_text())
    for name in ("stream_strata", "stream"):
        manifest.pop(name, None)
    own = [model for model in manifest["forests"] if model.pop("survey", None)]
    manifest["forests"] = [model for model in manifest["forests"] if model not in own]
    for model in own:
        del manifest["files"][model["file"]]
    (copy / "manifest.json").write_text(json.dumps(manifest | {"format_version": FORMAT_VERSION - 1}))
    return open_bundle(copy)


@pytest.fixture(scope="module")
def fitted(base: Bundle, archive: StreamArchive, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("fitted")
    refit(base, archive, out, seed=SEED, splits=1, say=lambda line: None)
    return out


@pytest.fixture(scope="module")
def bundle(base: Bundle, fitted: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    out = tmp_path_factory.mktemp("bundle") / "new"
    return open_bundle(write_stream_bundle(base, fitted, out))


def test_the_new_bundle_is_the_old_one_and_the_streams_normal(base: Bundle, bundle: Bundle) -> None:
    old = base
    assert bundle.manifest.format_version == FORMAT_VERSION
    assert bundle.manifest.version == next_version(old.manifest.version)
    for name in old.manifest.files.keys() - {"calibration.npz", "MODEL_CARD.md"}:
        assert bundle.manifest.files[name] == old.manifest.files[name]
    arrays, before = (each.arrays("calibration.npz") for each in (bundle, old))
    of_catalogue = {stratum.name for stratum in old.manifest.strata}
    kept = {name: values for name, values in before.items() if name.rpartition("/")[0] in of_catalogue}
    assert kept
    assert all(np.array_equal(arrays[name], values) for name, values in kept.items())
    assert bundle.manifest.stream is not None
    card = bundle.contents["MODEL_CARD.md"].decode()
    for stratum in bundle.manifest.stream_strata:
        assert f"| {stratum.name} | {stratum.n:,} |" in card
        assert len(arrays[f"{stratum.name}/fused"]) == stratum.n >= 200
    assert card.count(BEGIN) == 1


def test_what_the_stream_was_like_is_noted_for_drift(bundle: Bundle, alerts: list[Alert]) -> None:
    noted = reference_of(bundle.manifest, "ztf")
    assert noted is not None
    assert 0 < noted.n <= len(alerts)
    assert noted.inputs.keys() == scaled_columns(bundle.manifest).keys()
    assert noted.classes is not None
    assert sum(noted.classes.values()) == pytest.approx(1.0)
    assert reference_of(bundle.manifest, "lsst") is None


def test_planted_events_are_measured_by_the_light_curve_that_the_bundle_has(bundle: Bundle) -> None:
    table = bundle.contents["MODEL_CARD.md"].decode().partition("### Planted anomalies")[2]
    header, _, *rows = (line for line in table.partition(END)[0].splitlines() if line.startswith("|"))
    assert "AUROC (light curve)" in header
    assert {row.split("|")[1].split()[-1] for row in rows} == set(KINDS)
    assert not any(cell.strip() == "-" for row in rows for cell in row.split("|"))


def test_verdicts_name_the_streams_stratum(bundle: Bundle, alerts: list[Alert]) -> None:
    verdicts = Scorer.open(bundle.path, device="cpu").score(alerts)
    sizes = {stratum.name: stratum.n for stratum in bundle.manifest.stream_strata}
    for verdict in verdicts:
        assert verdict.calibration_n == sizes[verdict.calibration_stratum]
        assert verdict.anomaly_p_value >= 1 / (verdict.calibration_n + 1)
        at_limit = verdict.anomaly_p_value * (verdict.calibration_n + 1) < 1.5
        assert (verdict.expected_per_night is None) == at_limit
    stellar = [v for v in verdicts if v.source_context == "stellar" and v.n_epochs >= 1]
    assert all(v.calibration_stratum.startswith("ztf/stellar/") for v in stellar)


def test_no_object_of_the_calibration_is_beyond_it(bundle: Bundle, alerts: list[Alert]) -> None:
    """Scores of the service tie with their own in the calibration, which never makes them stranger."""
    sizes = {stratum.name: stratum.n for stratum in bundle.manifest.stream_strata}
    verdicts = Scorer.open(bundle.path, device="cpu").score(alerts)
    for name in {verdict.calibration_stratum for verdict in verdicts}:
        ranks = [v.anomaly_p_value * (v.calibration_n + 1) for v in verdicts if v.calibration_stratum == name]
        # Alerts that grew the forest or repeat an object are beside those of the calibration.
        beside = len(ranks) - sizes[name]
        assert sum(rank < 1.5 for rank in ranks) <= max(beside, 0)


def test_alerts_of_a_survey_without_strata_fall_back_on_the_catalogue(
    base: Bundle, bundle: Bundle, data_dir: Path
) -> None:
    lsst = [alert for alert in real_alerts(data_dir) if alert.survey == "lsst"][:20]
    new = Scorer.open(bundle.path, device="cpu").score(lsst)
    old = Scorer.open(base.path, device="cpu").score(lsst)
    for after, before in zip(new, old, strict=True):
        assert after.anomaly_p_value == before.anomaly_p_value
        assert after.calibration_stratum == before.calibration_stratum


def test_the_same_archive_gives_the_same_bundle(
    base: Bundle, archive: StreamArchive, bundle: Bundle, tmp_path: Path
) -> None:
    refit(base, archive, tmp_path / "again", seed=SEED, splits=1, say=lambda line: None)
    again = open_bundle(write_stream_bundle(base, tmp_path / "again", tmp_path / "one"))
    assert again.digest == bundle.digest
    refit(base, archive, tmp_path / "other", seed=SEED + 1, splits=0, say=lambda line: None)
    other = open_bundle(write_stream_bundle(base, tmp_path / "other", tmp_path / "two"))
    assert other.digest != bundle.digest


def test_a_second_fit_replaces_the_first(bundle: Bundle, fitted: Path, tmp_path: Path) -> None:
    again = open_bundle(write_stream_bundle(bundle, fitted, tmp_path / "again"))
    assert again.manifest.version == next_version(bundle.manifest.version)
    assert again.manifest.stream_strata == bundle.manifest.stream_strata
    assert len((again.manifest.stream or {})["fits"]) == 1
    assert again.contents["MODEL_CARD.md"].decode().count(BEGIN) == 1


def test_the_last_two_formats_are_read(base: Bundle, bundle: Bundle, alerts: list[Alert]) -> None:
    assert [each.manifest.format_version for each in (base, bundle)] == [FORMAT_VERSION - 1, FORMAT_VERSION]
    old, new = (Scorer.open(each.path, device="cpu").score(alerts[:40]) for each in (base, bundle))
    for before, after in zip(old, new, strict=True):
        assert before.class_probabilities == after.class_probabilities
        assert before.class_set == after.class_set
        assert before.calibration_stratum.count("/") == 1
        assert after.calibration_stratum.count("/") == 3


@pytest.mark.parametrize("kind", list(KINDS))
def test_planting_changes_the_light_and_nothing_else(alerts: list[Alert], kind: str) -> None:
    rng = np.random.default_rng(SEED)
    planted = [(alert, plant(alert, kind, rng)) for alert in alerts[:200]]
    assert any(odd is not None for _, odd in planted)
    for alert, odd in planted:
        if odd is None:
            continue
        assert len(alert.light_curve) >= MIN_EPOCHS
        assert np.array_equal(odd.light_curve.mjd_tai, alert.light_curve.mjd_tai)
        assert np.array_equal(odd.light_curve.band, alert.light_curve.band)
        assert (odd.light_curve.flux_err_njy >= alert.light_curve.flux_err_njy * (1 - 1e-6)).all()
        assert not np.array_equal(odd.light_curve.flux_njy, alert.light_curve.flux_njy)
        assert odd.metadata == alert.metadata
