# SPDX-License-Identifier: BSD-3-Clause
"""What verdicts rest on: the brightness of a detection beside that of the reference image."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import fastavro
import numpy as np
import pytest

from broker_plugin.engine.evidence import evidence
from broker_plugin.features.period import Periods
from broker_plugin.pipeline.alert_files import read_alerts
from broker_plugin.records import Alert, AlertBatch

AT_THE_OBJECT_ARCSEC = 1.5
"""Within this the reference image's source is the object itself (`broker_plugin.surveys.context`)."""


def changes(*alerts: Alert) -> list[float | None]:
    batch = AlertBatch.from_alerts(alerts)
    return list(evidence(batch, Periods.none(len(batch)))["reference_change_mag"])


@pytest.fixture(scope="module")
def file(data_dir: Path) -> Path:
    return data_dir / "alerts/ztf/nocutouts.avro"


@pytest.fixture(scope="module")
def alerts(file: Path) -> list[Alert]:
    return list(read_alerts(file))


def test_it_is_that_of_the_packets_magnitudes(file: Path, alerts: list[Alert]) -> None:
    """The oracle: ZTF's difference magnitude and its sign, and the reference's, from the packet itself."""
    with file.open("rb") as handle:
        candidates = {packet["candid"]: packet["candidate"] for packet in fastavro.reader(handle)}
    compared = 0
    for alert, change in zip(alerts, changes(*alerts), strict=True):
        found = candidates[alert.alert_id]
        if "reference_mag" not in alert.metadata:
            assert change is None
            continue
        reference = 10 ** (-0.4 * found["magnr"])
        sign = 1.0 if found["isdiffpos"] in ("t", "1", True) else -1.0
        total = reference + sign * 10 ** (-0.4 * found["magpsf"])
        if total <= 0:
            assert change is None
        elif change is not None:
            expected = -2.5 * np.log10(total / reference)
            assert change == pytest.approx(expected, abs=1e-3)
            compared += 1
    assert compared > 500


def test_the_kind_of_flux_does_not_matter(alerts: list[Alert]) -> None:
    alert = next(
        alert
        for alert in alerts
        if alert.light_curve.apparent.all() and len(alert.light_curve) and "reference_mag" in alert.metadata
    )
    curve = alert.light_curve
    reference_njy = 10 ** (-0.4 * (alert.metadata["reference_mag"] - 31.4))
    difference = replace(
        curve,
        flux_njy=(curve.flux_njy - reference_njy).astype(np.float32),
        apparent=np.zeros(len(curve), np.bool_),
    )
    apparent, other = changes(alert, replace(alert, light_curve=difference))
    assert apparent == pytest.approx(other, abs=1e-3)


def test_it_is_not_known_without_a_reference_a_flux_or_the_detection_itself(alerts: list[Alert]) -> None:
    alert = next(alert for alert, change in zip(alerts, changes(*alerts), strict=True) if change is not None)
    curve = alert.light_curve
    unknown = {name: value for name, value in alert.metadata.items() if name != "reference_mag"}
    assert (
        changes(
            replace(alert, metadata=unknown),
            replace(alert, light_curve=replace(curve, flux_njy=-np.abs(curve.flux_njy) - 1e12)),
            replace(alert, mjd_tai=alert.mjd_tai + 1.0),
            replace(alert, light_curve=curve.take(np.zeros(0, np.int64))),
        )
        == [None] * 4
    )
