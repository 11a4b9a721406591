# SPDX-License-Identifier: BSD-3-Clause
"""Imitated alerts are alerts: what the surveys' adapters promise holds for them too."""

import numpy as np
import pytest

from broker_plugin.records import METADATA_COLUMNS, Alert, Origin
from broker_plugin.taxonomy import PASSBANDS
from trainer.augment import imitate
from trainer.cadence import LSST, ZTF
from trainer.odd import KINDS, odd_alert
from trainer.preparation import Prepared


def make(prepared: Prepared, number: int, *, n_epochs: int, observed_share: float = 0.3) -> Alert:
    return imitate(
        prepared.stars,
        number % len(prepared.stars),
        np.random.default_rng((5, number)),
        n_epochs=n_epochs,
        alert_id=number,
        observed_share=observed_share,
    )


def check(alert: Alert, n_epochs: int) -> None:
    curve = alert.light_curve
    assert 1 <= len(curve) <= n_epochs
    assert (np.diff(curve.mjd_tai) >= 0).all()
    assert curve.mjd_tai[-1] == alert.mjd_tai
    assert curve.origin[-1] == Origin.DETECTION
    assert np.isfinite(curve.flux_njy).all()
    assert (curve.flux_err_njy > 0).all()
    bands = {PASSBANDS[code][0].partition("_")[0] for code in curve.band}
    assert bands == {alert.survey}
    assert set(alert.metadata) <= set(METADATA_COLUMNS)


@pytest.mark.parametrize("n_epochs", [1, 2, 3, 12, 60, 256])
@pytest.mark.parametrize("observed_share", [0.0, 1.0])
def test_an_imitated_alert_is_in_order_and_ends_with_its_detection(
    prepared: Prepared, n_epochs: int, observed_share: float
) -> None:
    for number in range(60):
        check(make(prepared, number, n_epochs=n_epochs, observed_share=observed_share), n_epochs)


@pytest.mark.parametrize("kind", KINDS)
def test_an_odd_alert_is_in_order_and_ends_with_its_detection(prepared: Prepared, kind: str) -> None:
    for number in range(30):
        rng = np.random.default_rng((6, number))
        check(odd_alert(kind, prepared.stars, number, rng, n_epochs=20, alert_id=number), 20)


def test_alerts_follow_from_their_seed(prepared: Prepared) -> None:
    for number in range(20):
        one, other = make(prepared, number, n_epochs=30), make(prepared, number, n_epochs=30)
        assert np.array_equal(one.light_curve.flux_njy, other.light_curve.flux_njy)
        assert one.metadata == other.metadata


def test_alerts_come_in_all_kinds(prepared: Prepared) -> None:
    alerts = [make(prepared, number, n_epochs=40) for number in range(300)]
    curves = [alert.light_curve for alert in alerts]
    assert {alert.survey for alert in alerts} == {ZTF.name, LSST.name}
    assert any(curve.apparent.all() for curve in curves)
    assert any(not curve.apparent.any() for curve in curves)
    assert any(0 < curve.apparent.mean() < 1 for curve in curves)
    assert any((curve.origin == Origin.FORCED).any() for curve in curves)
    assert len({len(np.unique(curve.band)) for curve in curves}) >= 5
    assert any("reference_mag" not in alert.metadata for alert in alerts)
    assert all("gal_lat_deg" in alert.metadata for alert in alerts)


def test_one_kind_of_flux_a_band(prepared: Prepared) -> None:
    for number in range(100):
        curve = make(prepared, number, n_epochs=40).light_curve
        for band in np.unique(curve.band):
            assert len(np.unique(curve.apparent[curve.band == band])) == 1
