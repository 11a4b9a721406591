# SPDX-License-Identifier: BSD-3-Clause
"""An alert that another broker sends on is the survey's own, less what that broker leaves out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from broker_plugin.codec.decoder import Decoder
from broker_plugin.codec.limits import Limits
from broker_plugin.codec.packets import read_container_file
from broker_plugin.codec.schemas import SchemaStore
from broker_plugin.errors import RejectedAlert, RejectReason
from broker_plugin.records import Access, Alert, Provenance, QualityFlag
from broker_plugin.surveys.base import Packet
from broker_plugin.surveys.registry import adapters
from tests.broker_plugin.surveys.rebroadcasts import (
    alerce_lsst,
    babamul_lsst,
    babamul_ztf,
    container,
    lsst_as_sent_on,
    ztf_as_sent_on,
)

TIME_DAY = 1e-8
"""A Julian Date as one float64 holds 0.04 ms, 5e-10 d."""

FLUX = 1e-5
"""Relative: fluxes are float32, and BOOM's have been through two zero points."""


@pytest.fixture(scope="module")
def decoder() -> Decoder:
    return Decoder(schemas=SchemaStore(), adapters=adapters())


@pytest.fixture(scope="module")
def lsst_packets(data_dir: Path) -> list[dict[str, Any]]:
    alerts = data_dir / "alerts" / "lsst"
    packets = [dict(packet) for packet in read_container_file(alerts / "lsst_v10_0_nocutouts.avro")]
    return [packet for packet in packets if packet["diaObject"]][::3]


@pytest.fixture(scope="module")
def ztf_packets(data_dir: Path) -> list[dict[str, Any]]:
    return [dict(p) for p in read_container_file(data_dir / "alerts" / "ztf" / "nocutouts.avro")][::20]


def outcome(decoder: Decoder, packet: Packet) -> Alert | str:
    try:
        (alert,) = decoder.adapt(packet, Provenance(topic="", partition=0, offset=0, schema=""))
    except RejectedAlert as rejection:
        return str(rejection.reason)
    return alert


def assert_same(sent_on: Alert | str, own: Alert | str) -> None:
    if isinstance(sent_on, str) or isinstance(own, str):
        assert sent_on == own
        return
    assert (sent_on.survey, sent_on.alert_id, sent_on.object_id) == (own.survey, own.alert_id, own.object_id)
    assert sent_on.source_context == own.source_context
    assert sent_on.metadata == own.metadata
    ours, theirs = sent_on.light_curve, own.light_curve
    assert np.abs(ours.mjd_tai - theirs.mjd_tai).max() < TIME_DAY
    np.testing.assert_allclose(ours.flux_njy, theirs.flux_njy, rtol=FLUX)
    np.testing.assert_allclose(ours.flux_err_njy, theirs.flux_err_njy, rtol=FLUX)
    for name in ("band", "origin", "apparent", "access"):
        np.testing.assert_array_equal(getattr(ours, name), getattr(theirs, name))


@pytest.mark.parametrize("kept", [lsst_as_sent_on, ztf_as_sent_on])
def test_babamul_sends_on_the_survey_s_alerts(
    kept: Callable[[Packet], Packet],
    decoder: Decoder,
    lsst_packets: list[dict[str, Any]],
    ztf_packets: list[dict[str, Any]],
) -> None:
    lsst = kept is lsst_as_sent_on
    form, packets = (babamul_lsst, lsst_packets) if lsst else (babamul_ztf, ztf_packets)
    alerts = [outcome(decoder, kept(packet)) for packet in packets]
    long = [alert for alert in alerts if isinstance(alert, Alert) and len(alert.light_curve) > 5]
    assert len(long) > 10
    for packet, alert in zip(packets, alerts, strict=True):
        assert_same(outcome(decoder, form(packet)), alert)


def test_alerce_sends_on_all_of_rubin_s_rows(decoder: Decoder, lsst_packets: list[dict[str, Any]]) -> None:
    for packet in lsst_packets:
        own = outcome(decoder, {name: value for name, value in packet.items() if name != "ssSource"})
        assert_same(outcome(decoder, alerce_lsst(packet)), own)


def test_each_new_source_of_alerce_is_an_alert_and_knows_those_before_it(
    decoder: Decoder, lsst_packets: list[dict[str, Any]]
) -> None:
    place = Provenance(topic="", partition=0, offset=0, schema="")
    long = [packet for packet in lsst_packets if len(packet["prvDiaSources"] or ()) > 2]
    assert len(long) > 3
    for packet in sorted(long, key=lambda packet: len(packet["prvDiaSources"]))[:4]:
        sent_on = alerce_lsst(packet)
        earlier = sorted(sent_on["previous_sources"], key=lambda row: row["midpointMjdTai"])
        several = {**sent_on, "sources": [*sent_on["sources"], *earlier[1:]], "previous_sources": earlier[:1]}
        alerts = decoder.decode(message(several), place)
        assert [alert.alert_id for alert in alerts] == [
            row["measurement_id"] for row in (*earlier[1:], *sent_on["sources"])
        ]
        own = outcome(decoder, sent_on)
        assert_same(alerts[-1], own)
        assert np.diff([alert.mjd_tai for alert in alerts]).min() >= 0
        for alert in alerts:
            assert (alert.light_curve.mjd_tai <= alert.mjd_tai).all()
        assert decoder.adapt(several, place)[0].alert_id == alerts[0].alert_id


def test_a_message_of_more_alerts_than_the_limit_is_rejected_as_a_whole(
    lsst_packets: list[dict[str, Any]],
) -> None:
    place = Provenance(topic="", partition=0, offset=0, schema="")
    decoder = Decoder(schemas=SchemaStore(), adapters=adapters(), limits=Limits(message_alerts=3))
    one = alerce_lsst(next(packet for packet in lsst_packets if packet["prvDiaSources"]))
    within, beyond = ({**one, "sources": one["sources"] * n} for n in (3, 4))
    assert len(decoder.adapt(within, place)) == len(decoder.decode(message(within), place)) == 3
    with pytest.raises(RejectedAlert, match="more alerts than the limit") as rejected:
        decoder.adapt(beyond, place)
    assert rejected.value.reason is RejectReason.TOO_LARGE
    with pytest.raises(RejectedAlert, match="more alerts than the limit") as rejected:
        decoder.decode(message(beyond), place)
    assert rejected.value.access == {Access.PUBLIC}


def message(packet: Packet) -> bytes:
    return container(packet, "magstats_lsst")


@pytest.mark.parametrize(
    ("form", "name"), [(babamul_lsst, "EnrichedLsstAlert"), (alerce_lsst, "magstats_lsst")]
)
def test_what_a_broker_leaves_out_is_no_drift_of_the_survey_s_schema(
    form: Callable[[Packet], Packet], name: str, lsst_packets: list[dict[str, Any]]
) -> None:
    strict = Decoder(schemas=SchemaStore(), adapters=adapters(), pause_on_drift=True)
    for packet in lsst_packets[:6]:
        value = container(form(packet), name)
        alerts = strict.decode(value, Provenance(topic="", partition=0, offset=0, schema=""))
        assert QualityFlag.DEGRADED_SCHEMA not in alerts[0].flags
        assert len(alerts[0].light_curve) == len(assured(strict, form(packet)).light_curve)


def assured(decoder: Decoder, packet: Packet) -> Alert:
    alert = outcome(decoder, packet)
    assert isinstance(alert, Alert)
    return alert


def test_later_detections_of_the_object_are_not_seen(
    decoder: Decoder, ztf_packets: list[dict[str, Any]]
) -> None:
    packet = babamul_ztf(ztf_packets[0])
    later = {**packet["prv_candidates"][-1], "jd": packet["candidate"]["jd"] + 5.0}
    fuller = {**packet, "prv_candidates": [*packet["prv_candidates"], later]}
    assert_same(outcome(decoder, fuller), outcome(decoder, packet))


def test_rows_of_a_programme_that_is_not_public_stay_out(
    decoder: Decoder, ztf_packets: list[dict[str, Any]]
) -> None:
    packet = max((babamul_ztf(each) for each in ztf_packets), key=lambda each: len(each["prv_candidates"]))
    private = [{**row, "programid": 2} for row in packet["prv_candidates"]]
    alert = outcome(decoder, {**packet, "prv_candidates": private, "fp_hists": []})
    assert isinstance(alert, Alert)
    assert len(alert.light_curve) == 1
    assert set(alert.light_curve.access.tolist()) == {Access.PUBLIC}


def test_an_object_without_sources_is_rejected_for_what_is_missing(decoder: Decoder) -> None:
    empty = {"sources": [], "previous_sources": [], "forced_sources": []}
    assert outcome(decoder, empty) == "missing_field"
