# SPDX-License-Identifier: BSD-3-Clause
"""Every real packet becomes a sound alert."""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from broker_plugin.codec.packets import read_container_file
from broker_plugin.records import METADATA_COLUMNS, Alert, AlertBatch, QualityFlag, SourceContext
from tests.broker_plugin.surveys.packets import assert_sound, lsst_alert, parts, real_packets, ztf_alert

LSST_COUNTS = {"7_1": 39, "7_3": 1, "7_4": 87, "9_0": 229, "10_0": 137}


@pytest.fixture(scope="module")
def ztf_alerts(data_dir: Path) -> list[Alert]:
    packets = real_packets(data_dir / "alerts" / "ztf" / "nocutouts.avro")
    return [ztf_alert(packet) for packet in packets]


@pytest.fixture(scope="module")
def lsst_alerts(data_dir: Path) -> dict[str, list[Alert]]:
    return {
        version: [
            lsst_alert(packet)
            for packet in read_container_file(data_dir / f"alerts/lsst/lsst_v{version}_nocutouts.avro")
        ]
        for version in LSST_COUNTS
    }


def test_every_ztf_packet_is_a_sound_alert(ztf_alerts: list[Alert]) -> None:
    assert len(ztf_alerts) == 2116
    assert len({alert.alert_id for alert in ztf_alerts}) == 2116
    assert len({alert.object_id for alert in ztf_alerts}) == 1897
    for alert in ztf_alerts:
        assert_sound(alert)
        assert len(alert.light_curve) > 0


def test_native_and_re_encoded_forms_of_an_alert_are_equal(ztf_alerts: list[Alert], data_dir: Path) -> None:
    by_id = {alert.alert_id: alert for alert in ztf_alerts}
    native = [
        ztf_alert(packet)
        for path in sorted((data_dir / "alerts" / "ztf" / "native").glob("*.avro"))
        for packet in read_container_file(path)
    ]
    assert len(native) == 198
    for alert in native:
        assert parts(alert) == parts(by_id[alert.alert_id])


def test_every_lsst_packet_is_a_sound_alert(lsst_alerts: dict[str, list[Alert]]) -> None:
    assert {version: len(alerts) for version, alerts in lsst_alerts.items()} == LSST_COUNTS
    for alerts in lsst_alerts.values():
        for alert in alerts:
            assert_sound(alert)


def test_identities_of_lsst_alerts_are_of_all_three_kinds(lsst_alerts: dict[str, list[Alert]]) -> None:
    kinds: Counter[str] = Counter()
    for alerts in lsst_alerts.values():
        for alert in alerts:
            kinds[alert.object_id.rpartition(":")[0]] += 1
            moving = alert.source_context is SourceContext.SOLAR_SYSTEM
            assert moving == alert.object_id.startswith("lsst:sso:")
    assert kinds == {"lsst": 454, "lsst:sso": 39}


def test_no_exposure_of_a_detector_occurs_twice(lsst_alerts: dict[str, list[Alert]]) -> None:
    for alert in lsst_alerts["10_0"]:
        curve = alert.light_curve
        epochs = set(zip(curve.mjd_tai.tolist(), curve.detector.tolist(), curve.band.tolist(), strict=True))
        assert len(epochs) == len(curve)


def test_detections_and_forced_points_of_an_hour_are_the_same_light(
    lsst_alerts: dict[str, list[Alert]],
) -> None:
    # Reference flux is added to forced points by another path than to detections. If one path were wrong, or
    # a band mixed kinds of flux, most of these ratios would be off by orders, not by the noise of an hour.
    ratios = []
    for alert in lsst_alerts["10_0"]:
        curve = alert.light_curve
        for band in np.unique(curve.band[curve.apparent]):
            seen = curve.take((curve.band == band) & (curve.origin == 0))
            looked = curve.take((curve.band == band) & (curve.origin == 1))
            if len(seen) and len(looked):
                nearest = np.abs(looked.mjd_tai[:, None] - seen.mjd_tai).argmin(axis=1)
                hour = np.abs(looked.mjd_tai - seen.mjd_tai[nearest]) < 1 / 24
                ratios += (looked.flux_njy / seen.flux_njy[nearest])[hour].tolist()
    assert len(ratios) > 5_000
    assert abs(np.median(ratios) - 1) < 0.01  # 0.1 % in this sample
    assert np.mean(np.abs(np.array(ratios) - 1) < 0.2) > 0.8  # 0.92: some of the objects vary or are blended


def test_every_metadata_column_can_be_batched(ztf_alerts: list[Alert]) -> None:
    batch = AlertBatch.from_alerts(ztf_alerts)
    assert np.isfinite(batch.metadata).all()
    seen = batch.metadata_valid.any(axis=0)
    never = [name for name, there in zip(METADATA_COLUMNS, seen, strict=True) if not there]
    assert never == ["catalogue_period_day"]  # which no packet holds


def test_known_variables_are_never_taken_for_something_else(ztf_alerts: list[Alert], data_dir: Path) -> None:
    with (data_dir / "alerts" / "ztf" / "object_labels.csv").open(encoding="utf-8", newline="") as file:
        labelled = {row["oid"]: row["astrom3_class"] for row in csv.DictReader(file)}
    contexts = Counter(
        alert.source_context for alert in ztf_alerts if labelled.get(alert.object_id.removeprefix("ztf:"))
    )
    assert contexts[SourceContext.STELLAR] > 100
    assert set(contexts) <= {SourceContext.STELLAR, SourceContext.UNKNOWN}
    assert contexts[SourceContext.UNKNOWN] < 0.05 * contexts.total()


def test_flags_of_the_sample(ztf_alerts: list[Alert]) -> None:
    counts = Counter(flag for alert in ztf_alerts for flag in alert.flags)
    assert counts[QualityFlag.HISTORY_AFTER_ALERT] == 53
    assert counts[QualityFlag.NO_LIGHT_CURVE] == 0
    assert counts[QualityFlag.WITHDRAWN] == 0
