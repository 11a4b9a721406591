# SPDX-License-Identifier: BSD-3-Clause
"""Simulated packets are the surveys' own: schemas agree to the last type, and everything comes back."""

import struct
from pathlib import Path

import fastavro
import numpy as np
import pytest
from fastavro.schema import load_schema, to_parsing_canonical_form

from broker_plugin.codec.decoder import Decoder
from broker_plugin.codec.schemas import SchemaStore, installed_lsst_schemas
from broker_plugin.demo.packets import broken_messages, encode, night_messages, write_schemas
from broker_plugin.demo.schemas import LSST_SCHEMA_ID, lsst_schema, ztf_schema
from broker_plugin.demo.simulator import Night, SimulatedAlert, simulate_night
from broker_plugin.errors import RejectedAlert, RejectReason
from broker_plugin.records import Alert, Origin, Provenance
from broker_plugin.surveys.context import SEEN_BEFORE_DAY
from broker_plugin.surveys.registry import adapters
from broker_plugin.taxonomy import PASSBANDS
from tests.support.tiers import unavailable

ZTF_NATIVE_402 = "2695378462115010012.avro"
"""A packet of schema 4.02 as ZTF broadcast it."""

FLOAT32 = 5e-6
"""Relative to difference plus reference flux. A magnitude near 20 in float32 is good to 1e-6, its flux to
1e-6, and two of them are added; a float32 flux is good to 6e-8."""


@pytest.fixture(scope="module")
def night() -> Night:
    return simulate_night(11, n_alerts=200)


@pytest.fixture(scope="module")
def decoder(tmp_path_factory: pytest.TempPathFactory) -> Decoder:
    folder = tmp_path_factory.mktemp("schemas")
    write_schemas(folder)
    return Decoder(schemas=SchemaStore(directories=[folder], installed=False), adapters=adapters())


@pytest.fixture(scope="module")
def decoded(night: Night, decoder: Decoder) -> list[tuple[SimulatedAlert, Alert]]:
    return [
        (alert, one)
        for alert, message in night_messages(night)
        for one in decoder.decode(message, Provenance(topic="alerts"))
    ]


def test_the_ztf_schema_is_that_of_a_broadcast_packet(data_dir: Path) -> None:
    with (data_dir / "alerts/ztf/native" / ZTF_NATIVE_402).open("rb") as source:
        theirs = fastavro.reader(source).writer_schema
    assert theirs is not None
    # The canonical form leaves out docs and defaults and keeps names, types and their order.
    assert to_parsing_canonical_form(ztf_schema()) == to_parsing_canonical_form(theirs)


def test_the_lsst_schema_is_that_of_rubins_package() -> None:
    folder = installed_lsst_schemas()
    if folder is None:
        unavailable("lsst-alert-packet is not installed; install the extra lsst-schemas")
    theirs = load_schema(str(folder / "11/1/lsst.v11_1.alert.avsc"))
    assert to_parsing_canonical_form(lsst_schema()) == to_parsing_canonical_form(theirs)


def test_lsst_messages_are_framed_and_ztf_messages_hold_their_schema(night: Night) -> None:
    for alert in night.alerts[:40]:
        message = encode(alert)
        if alert.object.survey.name == "lsst":
            assert struct.unpack(">bI", message[:5]) == (0, LSST_SCHEMA_ID)
        else:
            assert message.startswith(b"Obj\x01")


def test_every_alert_comes_back_with_its_identity(
    decoded: list[tuple[SimulatedAlert, Alert]], night: Night
) -> None:
    assert len(decoded) == len(night.alerts)
    for simulated, alert in decoded:
        assert alert.object_id == simulated.object.object_id
        assert alert.alert_id == simulated.alert_id
        assert alert.survey == simulated.object.survey.name
        assert alert.source_context in contexts_of(simulated)
        # A Julian date in float64 is good to 40 microseconds.
        assert abs(alert.mjd_tai - simulated.mjd_tai) * 86400 < 1e-4


def contexts_of(simulated: SimulatedAlert) -> tuple[str, ...]:
    """Return what the packet of an alert may say of its source."""
    context, seen = simulated.object.source.context, simulated.observations
    if simulated.object.survey.name == "ztf" or context in ("solar_system", "artefact"):
        return (context,)
    is_before = seen.detected & (seen.mjd_tai <= seen.mjd_tai[-1] - SEEN_BEFORE_DAY)
    return ("stellar", "unknown") if is_before.any() else ("unknown",)


def test_sources_that_lsst_saw_before_are_points(decoded: list[tuple[SimulatedAlert, Alert]]) -> None:
    before = [alert for simulated, alert in decoded if contexts_of(simulated) == ("stellar", "unknown")]
    # The rest lies above empty places of the template.
    assert np.mean([alert.source_context == "stellar" for alert in before]) > 0.8


def test_positions_are_good_to_an_arcsecond(decoded: list[tuple[SimulatedAlert, Alert]]) -> None:
    for simulated, alert in decoded:
        assert abs(alert.dec_deg - simulated.object.dec_deg) * 3600 < 1.0


def test_every_epoch_comes_back_with_its_flux(decoded: list[tuple[SimulatedAlert, Alert]]) -> None:
    n_epochs = n_detected = n_forced = 0
    for simulated, alert in decoded:
        seen, curve = simulated.observations, alert.light_curve
        distance = np.abs(curve.mjd_tai[:, None] - seen.mjd_tai)
        place = distance.argmin(axis=1)
        assert distance.min(axis=1).max() * 86400 < 1e-4
        assert len(set(place.tolist())) == len(place)
        bands = [PASSBANDS[code][0] for code in curve.band]
        assert bands == [f"{alert.survey}_{band}" for band in seen.band[place]]
        if alert.survey == "lsst" and simulated.object.source.host is not None:
            assert curve.apparent.all()  # the template holds what reaches there of the host
            continue
        reference = np.array([seen.reference_njy[band] for band in seen.band[place]])
        truth = seen.difference_njy[place] + np.where(curve.apparent, reference, 0.0)
        scale = np.abs(seen.difference_njy[place]) + reference
        assert (np.abs(curve.flux_njy - truth) <= FLOAT32 * scale).all()
        detected = curve.origin == Origin.DETECTION
        np.testing.assert_array_equal(seen.detected[place], detected)
        n_epochs, n_detected = n_epochs + len(curve), n_detected + int(detected.sum())
        n_forced += int((~detected).sum())
    assert min(n_detected, n_forced) > 500


def test_apparent_flux_belongs_to_stars(decoded: list[tuple[SimulatedAlert, Alert]]) -> None:
    for _, alert in decoded:
        if alert.source_context in ("galaxy_host", "solar_system"):
            assert not alert.light_curve.apparent.any()
    stars = [
        alert.light_curve for simulated, alert in decoded if simulated.object.source.context == "stellar"
    ]
    assert np.mean([curve.apparent.all() for curve in stars]) > 0.9


def test_upper_limits_are_no_epochs(decoded: list[tuple[SimulatedAlert, Alert]]) -> None:
    """Exposures that saw nothing come back as forced points only, or not at all where those lack a flux."""
    ztf = [(s, a) for s, a in decoded if a.survey == "ztf" and s.object.source.context != "solar_system"]
    visits = sum(len(simulated.observations) for simulated, _ in ztf)
    epochs = sum(len(alert.light_curve) for _, alert in ztf)
    assert 0.9 * visits < epochs < visits


def test_broken_messages_are_rejected_for_what_they_are(night: Night, decoder: Decoder) -> None:
    sound = next(message for alert, message in night_messages(night) if alert.object.survey.name == "ztf")
    reasons = {}
    for note, message in broken_messages(1, sound):
        with pytest.raises(RejectedAlert) as rejected:
            decoder.decode(message, Provenance(topic="alerts"))
        reasons[note] = rejected.value.reason
    assert reasons["an empty message"] is RejectReason.EMPTY
    assert reasons["random bytes"] is RejectReason.UNDECODABLE
    assert reasons["a packet cut in half"] is RejectReason.UNDECODABLE
    assert reasons["a frame of a schema that nobody knows"] is RejectReason.UNKNOWN_SCHEMA
    assert len(reasons) == 5
