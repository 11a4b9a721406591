# SPDX-License-Identifier: BSD-3-Clause
"""A batch is its alerts, and an alert is a row of its batch."""

import dataclasses

import numpy as np
import pytest

from broker_plugin.records import Access, Alert, AlertBatch, LightCurve, Origin, SourceContext, Spectrum
from broker_plugin.upper_limits import UpperLimits


def make_alert(n_epochs: int, *, alert_id: int = 1, spectrum: bool = False) -> Alert:
    rng = np.random.default_rng(alert_id)
    return Alert(
        survey="ztf",
        alert_id=alert_id,
        object_id=f"ztf:ZTF{alert_id}",
        ra_deg=10.0,
        dec_deg=-5.0,
        mjd_tai=60_000.0,
        light_curve=LightCurve.from_columns(
            mjd_tai=np.sort(rng.uniform(59_970, 60_000, n_epochs)),
            flux_njy=rng.normal(1e4, 1e3, n_epochs),
            flux_err_njy=np.full(n_epochs, 50.0),
            band=rng.integers(0, 2, n_epochs),
            origin=np.full(n_epochs, Origin.DETECTION),
            apparent=np.ones(n_epochs),
            detector=np.arange(n_epochs),
            access=np.full(n_epochs, Access.PUBLIC),
        ),
        metadata={"gal_lat_deg": -40.0},
        spectrum=Spectrum(
            wave_aa=np.linspace(4000, 5000, 4),
            flux=np.ones(4, np.float32),
            inverse_variance=np.ones(4, np.float32),
        )
        if spectrum
        else None,
        source_context=SourceContext.STELLAR,
    )


def assert_same_alert(one: Alert, other: Alert) -> None:
    for column in dataclasses.fields(Alert):
        if column.name not in ("light_curve", "limits"):
            assert getattr(one, column.name) == getattr(other, column.name)
    assert_same_columns(one.light_curve, other.light_curve)
    assert_same_columns(one.limits, other.limits)


def assert_same_columns(one: LightCurve | UpperLimits, other: LightCurve | UpperLimits) -> None:
    for column in dataclasses.fields(one):
        left, right = (getattr(table, column.name) for table in (one, other))
        assert left.dtype == right.dtype
        np.testing.assert_array_equal(left, right)


def test_rows_of_a_batch_are_the_alerts_it_was_made_of() -> None:
    alerts = [make_alert(n, alert_id=n + 1, spectrum=n == 2) for n in (3, 0, 2, 7)]
    batch = AlertBatch.from_alerts(alerts)
    assert batch.n_epochs.tolist() == [3, 0, 2, 7]
    for alert, row in zip(alerts, batch, strict=True):
        assert_same_alert(alert, row)


def test_a_row_shares_memory_with_its_batch() -> None:
    batch = AlertBatch.from_alerts([make_alert(3), make_alert(4, alert_id=2)])
    assert np.shares_memory(batch[1].light_curve.flux_njy, batch.epochs.flux_njy)


def test_unknown_metadata_is_refused() -> None:
    with pytest.raises(ValueError, match="not in tuple"):
        AlertBatch.from_alerts([dataclasses.replace(make_alert(1), metadata={"nonsense": 1.0})])
