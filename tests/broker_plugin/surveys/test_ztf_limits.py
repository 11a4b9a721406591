# SPDX-License-Identifier: BSD-3-Clause
"""Upper limits are the rows without a detection that may be seen, and no verdict rests on them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from broker_plugin.records import Access, Provenance
from broker_plugin.surveys.columns import columns_of_packets
from broker_plugin.surveys.photometry import AB_ZERO_NJY
from broker_plugin.surveys.ztf import ZtfAdapter
from broker_plugin.surveys.ztf_limits import ALERT_STEP
from broker_plugin.taxonomy import PASSBANDS
from broker_plugin.times import SECONDS_PER_DAY
from tests.broker_plugin.surveys.packets import (
    JD,
    PUBLIC,
    parts,
    real_packets,
    ztf_alert,
    ztf_detection,
    ztf_forced,
    ztf_packet,
)

EVERYTHING = frozenset(Access)


def missed(**changes: Any) -> dict[str, Any]:
    """Return a look of magnitude 20.5 in r that found nothing, three days before the alert."""
    return {"jd": JD - 3, "fid": 2, "programid": 1, "rcid": 10, "candid": None, "diffmaglim": 20.5} | changes


def said(packet: dict[str, Any], access: frozenset[Access] = PUBLIC) -> list[tuple[float, str, float]]:
    """Return the limits of a packet: days before the alert, band and magnitude."""
    alert = ztf_alert(packet, access)
    return [
        (round(float(alert.mjd_tai - mjd), 4), PASSBANDS[band][0], float(limit))
        for mjd, limit, band in zip(
            alert.limits.mjd_tai, alert.limits.limit_njy, alert.limits.band, strict=True
        )
    ]


def test_a_row_without_a_detection_is_a_limit_in_nanojansky() -> None:
    packet = ztf_packet(previous=[missed(), ztf_detection(jd=JD - 2, candid=7), missed(jd=JD - 5, fid=1)])
    (first, second) = said(packet)
    assert first[:2] == (5.0, "ztf_g")
    assert second[:2] == (3.0, "ztf_r")
    assert second[2] == pytest.approx(AB_ZERO_NJY * 10 ** (-0.4 * 20.5), rel=1e-6)  # float32
    assert len(ztf_alert(packet).light_curve) == 2


def test_of_two_detectors_the_deeper_look_counts() -> None:
    packet = ztf_packet(previous=[missed(), missed(rcid=11, diffmaglim=21.0), missed(fid=1)])
    assert [band for _, band, _ in said(packet)] == ["ztf_g", "ztf_r"]
    assert said(packet)[1][2] == pytest.approx(AB_ZERO_NJY * 10 ** (-0.4 * 21.0), rel=1e-6)  # float32


@pytest.mark.parametrize(
    "row",
    [
        missed(programid=2),
        missed(jd=JD + 1),
        missed(jd=JD),
        missed(fid=9),
        missed(diffmaglim=None),
        missed(diffmaglim=-999.0),
        missed(jd=None),
    ],
)
def test_what_may_not_be_seen_comes_later_or_says_nothing_is_left_out(row: dict[str, Any]) -> None:
    assert said(ztf_packet(previous=[row])) == []


def test_who_may_see_the_partnership_sees_its_limits() -> None:
    packet = ztf_packet(previous=[missed(programid=2)])
    assert len(said(packet, EVERYTHING)) == 1


def test_an_exposure_that_was_measured_is_no_limit_and_one_that_could_not_be_is() -> None:
    looks = [missed(jd=JD - 1 + 0.000004), missed(jd=JD - 1.001)]
    assert [day for day, *_ in said(ztf_packet(previous=looks, forced=[ztf_forced()]))] == [1.001]
    unusable = ztf_forced(procstatus="56")
    assert len(said(ztf_packet(previous=looks, forced=[unusable]))) == 2


def test_no_row_of_another_packet_takes_a_limit_away() -> None:
    far = JD - 3 + ALERT_STEP / SECONDS_PER_DAY / 1000  # the number of an exposure of the next alert
    packets = [ztf_packet(forced=[ztf_forced(jd=far)]), ztf_packet(previous=[missed()])]
    adapter = ZtfAdapter()
    found = adapter.adapt_columns(
        columns_of_packets(packets, adapter.layout), access=PUBLIC, provenance=[Provenance(topic="t")] * 2
    )
    assert [len(alert.limits) for alert in found.alerts()] == [0, 1]


def test_the_limits_of_a_moving_source_are_of_another_place() -> None:
    packet = ztf_packet(previous=[missed()], ssdistnr=0.5, ssmagnr=18.0, ssnamenr="433")
    assert ztf_alert(packet).source_context == "solar_system"
    assert said(packet) == []


def test_of_real_packets_each_row_without_a_detection_is_a_limit_once(data_dir: Path) -> None:
    total = 0
    for packet in real_packets(data_dir / "alerts/ztf/nocutouts.avro")[::5]:
        alert = ztf_alert(packet, EVERYTHING)
        rows = [row for row in packet["prv_candidates"] or () if row["candid"] is None]
        looked = [
            row["jd"] for row in packet["fp_hists"] or () if row["forcediffimflux"] not in (None, -99999.0)
        ]
        looked += [row["jd"] for row in packet["prv_candidates"] or () if row["candid"] is not None]
        before = [row for row in rows if row["jd"] < packet["candidate"]["jd"]]
        unmeasured = [row for row in before if all(abs(row["jd"] - jd) > 1e-5 for jd in looked)]
        assert len(alert.limits) >= len({(row["jd"], row["fid"]) for row in unmeasured}) * (
            alert.source_context != "solar_system"
        )
        assert len(alert.limits) <= len(before)
        total += len(alert.limits)
        without = dict(packet) | {
            "prv_candidates": [row for row in packet["prv_candidates"] or () if row["candid"] is not None]
        }
        bare = parts(ztf_alert(without, EVERYTHING))
        assert parts(alert) | {"limits": bare["limits"]} == bare, "an alert depends on what was not detected"
    assert total > 3000
