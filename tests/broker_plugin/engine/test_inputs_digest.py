# SPDX-License-Identifier: BSD-3-Clause
"""The digest of an alert is that of its own bytes, in the order that earlier versions hashed them in."""

import dataclasses
import hashlib
from pathlib import Path

import numpy as np

from broker_plugin.engine.inputs_digest import inputs_digests
from broker_plugin.records import (
    METADATA_COLUMNS,
    Access,
    Alert,
    AlertBatch,
    Attachment,
    LightCurve,
    QualityFlag,
    Spectrum,
)
from tests.support.alerts import real_alerts


def digest_of(alert: Alert) -> str:
    """The digest put together value by value."""
    known = np.array([name in alert.metadata for name in METADATA_COLUMNS])
    metadata = np.array([alert.metadata.get(name, 0.0) for name in METADATA_COLUMNS], np.float32)
    curve, spectrum = alert.light_curve, alert.spectrum
    parts = [
        "\x1f".join((alert.survey, alert.object_id, alert.source_context, *alert.flags)).encode(),
        np.int64(alert.alert_id).tobytes(),
        *(np.float64(value).tobytes() for value in (alert.ra_deg, alert.dec_deg, alert.mjd_tai)),
        metadata.tobytes(),
        known.tobytes(),
        *(getattr(curve, column.name).tobytes() for column in dataclasses.fields(LightCurve)),
    ]
    if alert.n_stored_epochs is not None:
        parts.append(f"\x1fstored={alert.n_stored_epochs}".encode())
    parts += [f"\x1fcontext={source}".encode() for source in alert.context_sources]
    if spectrum is not None:
        parts += [each.tobytes() for each in (spectrum.wave_aa, spectrum.flux, spectrum.inverse_variance)]
    for name, attachment in sorted(alert.attachments.items()):
        parts += [f"\x1f{name}{attachment.values.shape}".encode(), attachment.values.tobytes()]
    return hashlib.sha256(b"".join(parts)).hexdigest()[:32]


def test_of_real_alerts(data_dir: Path) -> None:
    alerts = real_alerts(data_dir)[:400]
    assert inputs_digests(AlertBatch.from_alerts(alerts)) == [digest_of(alert) for alert in alerts]


def test_of_alerts_with_all_that_few_have(data_dir: Path) -> None:
    plain = real_alerts(data_dir)[0]
    grid = np.linspace(4000.0, 9000.0, 7)
    spectrum = Spectrum(
        wave_aa=grid,
        flux=grid.astype(np.float32),
        inverse_variance=np.ones(7, np.float32),
        access=Access.PUBLIC,
    )
    stamps = {name: Attachment(values=np.ones((2, 3), np.float32)) for name in ("stamp", "difference")}
    alerts = [
        plain,
        dataclasses.replace(plain, light_curve=LightCurve.empty(), flags=(QualityFlag.NO_LIGHT_CURVE,)),
        dataclasses.replace(plain, n_stored_epochs=0),
        dataclasses.replace(plain, n_stored_epochs=3, context_sources=("gaia:1", "vsx:2")),
        dataclasses.replace(plain, spectrum=spectrum, attachments=stamps),
    ]
    digests = inputs_digests(AlertBatch.from_alerts(alerts))
    assert digests == [digest_of(alert) for alert in alerts]
    assert len(set(digests)) == len(alerts)


def test_of_no_alert() -> None:
    assert inputs_digests(AlertBatch.from_alerts([])) == []
