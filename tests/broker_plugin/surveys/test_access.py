# SPDX-License-Identifier: BSD-3-Clause
"""What a sink may not see leaves no trace: relabelling rows is the same as deleting them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker_plugin.codec.decoder import Decoder
from broker_plugin.codec.schemas import SchemaStore
from broker_plugin.errors import RejectedAlert, RejectReason
from broker_plugin.records import Access, Alert, Attachment, Provenance, Spectrum
from broker_plugin.surveys.base import Packet
from broker_plugin.surveys.ztf import ZtfAdapter
from tests.broker_plugin.surveys.packets import (
    parts,
    real_packets,
    ztf_alert,
    ztf_detection,
    ztf_forced,
    ztf_packet,
)

PUBLIC = frozenset({Access.PUBLIC})
HIDDEN = [2, 3, 0, 4, -1, None, "1", 1.0, True, "absent"]
"""Marks that are not public: the partnership's, Caltech's, and everything that nobody can read."""


@pytest.fixture(scope="module")
def long_packets(data_dir: Path) -> list[dict[str, Any]]:
    """Real packets with histories of both kinds."""
    packets = real_packets(data_dir / "alerts" / "ztf" / "nocutouts.avro")
    with_forced = [packet for packet in packets if packet["fp_hists"]]
    long = [packet for packet in packets if len(packet["prv_candidates"] or []) > 30]
    assert len(with_forced) == 35
    return [*with_forced, *long[:40]]


def marked(row: dict[str, Any], mark: Any) -> dict[str, Any]:
    bare = {name: value for name, value in row.items() if name != "programid"}
    return bare if mark == "absent" else bare | {"programid": mark}


@settings(max_examples=100)
@given(data=st.data())
def test_hidden_rows_of_real_packets_leave_no_trace(
    data: st.DataObject, long_packets: list[dict[str, Any]]
) -> None:
    packet = data.draw(st.sampled_from(long_packets))
    relabelled, deleted = dict(packet), dict(packet)
    for path in ("prv_candidates", "fp_hists"):
        rows = packet[path] or []
        marks = data.draw(
            st.lists(st.sampled_from([1, 1, *HIDDEN]), min_size=len(rows), max_size=len(rows)), label=path
        )
        pairs = list(zip(rows, marks, strict=True))
        relabelled[path] = [marked(row, mark) for row, mark in pairs]
        deleted[path] = [row for row, mark in pairs if type(mark) is int and mark == 1]
    counters = {name: data.draw(st.integers(0, 9_999)) for name in ("ndethist", "ncovhist")}
    relabelled["candidate"] = packet["candidate"] | counters | {"jdstarthist": 2_458_000.0}
    assert parts(ztf_alert(relabelled)) == parts(ztf_alert(deleted))


@pytest.mark.parametrize("mark", HIDDEN)
def test_an_alert_of_a_hidden_programme_is_rejected_without_a_word_about_it(mark: Any) -> None:
    packet = ztf_packet(previous=[ztf_detection(jd=2_458_000.5, candid=4)])
    packet["candidate"] = marked(packet["candidate"], mark)
    with pytest.raises(RejectedAlert) as rejected:
        ztf_alert(packet)
    assert rejected.value.reason is RejectReason.ACCESS
    assert not any(secret in str(rejected.value) for secret in ("ZTF20", "015015", "150", "18"))
    assert rejected.value.access is not None
    assert not rejected.value.access <= PUBLIC


def test_access_comes_before_any_other_complaint() -> None:
    with pytest.raises(RejectedAlert) as rejected:
        ztf_alert(ztf_packet(programid=2, ra="nonsense", candid=None))
    assert rejected.value.reason is RejectReason.ACCESS


def test_a_declared_sink_sees_more_and_each_epoch_says_whose_it_is() -> None:
    packet = ztf_packet(
        programid=2,
        previous=[ztf_detection(jd=2_458_000.5, candid=4, programid=3)],
        forced=[ztf_forced(programid=None)],
    )
    everything = frozenset(Access)
    alert = ztf_alert(packet, access=everything)
    assert alert.light_curve.access.tolist() == [Access.CALTECH, Access.PRIVATE, Access.PARTNERSHIP]
    partner = ztf_alert(packet, access=frozenset({Access.PUBLIC, Access.PARTNERSHIP}))
    assert partner.light_curve.access.tolist() == [Access.PARTNERSHIP]


def test_the_access_of_a_packet_is_all_that_occurs_in_it() -> None:
    adapter = ZtfAdapter()
    assert adapter.access_of(ztf_packet()) == PUBLIC
    mixed = ztf_packet(previous=[ztf_detection(programid=2)], forced=[ztf_forced(programid=3)])
    assert adapter.access_of(mixed) == {Access.PUBLIC, Access.PARTNERSHIP, Access.CALTECH}
    assert Access.PRIVATE in adapter.access_of(ztf_packet(previous=[{"jd": 1.0}]))
    assert Access.PRIVATE in adapter.access_of(ztf_packet(forced=["not a record"]))
    assert Access.PRIVATE in adapter.access_of(ztf_packet(previous="not rows"))
    assert Access.PRIVATE in adapter.access_of({"objectId": "x", "candidate": None})


def test_a_rejection_says_whose_epochs_its_packet_holds() -> None:
    with pytest.raises(RejectedAlert) as rejected:
        ztf_alert(ztf_packet(ra=None, previous=[ztf_detection(programid=3)]))
    assert rejected.value.access == {Access.PUBLIC, Access.CALTECH}


@pytest.mark.parametrize("access", list(Access))
def test_a_spectrum_is_seen_by_those_that_it_is_meant_for(access: Access) -> None:
    values = np.ones(4, np.float32)
    alert = replace(
        ztf_alert(ztf_packet()),
        spectrum=Spectrum(wave_aa=np.arange(4.0), flux=values, inverse_variance=values, access=access),
        attachments={"stamp": Attachment(values=values, access=access)},
    )
    public = alert.seen_by(PUBLIC)
    assert (public.spectrum is None) == (access is not Access.PUBLIC)
    assert list(public.attachments) == (["stamp"] if access is Access.PUBLIC else [])
    assert alert.seen_by(frozenset({access})) is alert
    assert Spectrum(wave_aa=np.arange(4.0), flux=values, inverse_variance=values).access is Access.PRIVATE


class WithSpectrum:
    """A survey whose packets bring a spectrum and that leaves it to others who may see it."""

    name = "ztf"
    histories = ZtfAdapter.histories

    def __init__(self, access: Access) -> None:
        self.access = access
        self.inner = ZtfAdapter()

    def recognises(self, packet: Packet) -> bool:
        return self.inner.recognises(packet)

    def access_of(self, packet: Packet) -> frozenset[Access]:
        return self.inner.access_of(packet) | {self.access}

    def adapt(self, packet: Packet, *, access: frozenset[Access], provenance: Provenance) -> Alert:
        flux = np.ones(4, np.float32)
        spectrum = Spectrum(wave_aa=np.arange(4.0), flux=flux, inverse_variance=flux, access=self.access)
        return replace(self.inner.adapt(packet, access=access, provenance=provenance), spectrum=spectrum)


@pytest.mark.parametrize(
    ("of_spectrum", "declared", "seen"),
    [
        (Access.PUBLIC, PUBLIC, True),
        (Access.PARTNERSHIP, PUBLIC, False),
        (Access.PRIVATE, PUBLIC, False),
        (Access.PARTNERSHIP, frozenset({Access.PUBLIC, Access.PARTNERSHIP}), True),
        (Access.CALTECH, frozenset({Access.PUBLIC, Access.PARTNERSHIP}), False),
    ],
)
def test_no_decoder_lets_a_spectrum_through_that_its_sink_may_not_see(
    of_spectrum: Access, declared: frozenset[Access], seen: bool
) -> None:
    decoder = Decoder(schemas=SchemaStore(), adapters=[WithSpectrum(of_spectrum)], access=declared)
    (alert,) = decoder.adapt(ztf_packet(), Provenance(topic="test"))
    assert (alert.spectrum is not None) == seen
