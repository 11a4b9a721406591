# SPDX-License-Identifier: BSD-3-Clause
"""Laws of all adapters: nothing but alerts and rejections comes out, whatever goes in."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker_plugin.errors import ConfigurationError, RejectedAlert
from broker_plugin.records import Access
from broker_plugin.surveys.registry import SURVEYS, adapters
from tests.broker_plugin.surveys.packets import (
    FROM_TEST,
    assert_sound,
    lsst_forced,
    lsst_packet,
    lsst_source,
    real_packets,
    ztf_detection,
    ztf_forced,
    ztf_packet,
)
from tests.broker_plugin.surveys.test_fields import JUNK

EVERYTHING = frozenset(Access)
NEAR_REFERENCE = {"distnr": 0.3, "magnr": 17.0, "sigmagnr": 0.02}


def ztf_full() -> dict[str, Any]:
    rows = [ztf_detection(jd=2_458_990.0 + i, candid=2 + i, **NEAR_REFERENCE) for i in range(3)]
    return ztf_packet(previous=rows, forced=[ztf_forced(), ztf_forced(jd=2_458_995.0)], **NEAR_REFERENCE)


def lsst_full() -> dict[str, Any]:
    rows = [lsst_source(diaSourceId=2 + i, visit=2 + i, midpointMjdTai=60_890.0 + i) for i in range(3)]
    return lsst_packet(previous=rows, forced=[lsst_forced(), lsst_forced(visit=99)])


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the path to every value in a packet."""
    found = [path] if path else []
    if isinstance(value, Mapping):
        for name, inner in value.items():
            found += places(inner, (*path, name))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            found += places(inner, (*path, index))
    return found


def changed(value: Any, path: tuple[Any, ...], junk: Any) -> Any:
    """Return a copy of a packet with another value at a path."""
    if not path:
        return junk
    step, *rest = path
    if isinstance(value, Mapping) and step in value:
        return {**value, step: changed(value[step], tuple(rest), junk)}
    if isinstance(value, list) and isinstance(step, int) and step < len(value):
        return [changed(inner, tuple(rest), junk) if i == step else inner for i, inner in enumerate(value)]
    return value  # an earlier change took the place away


def becomes_alert_or_rejection(packet: Mapping[str, Any]) -> None:
    for adapter in adapters():
        if adapter.recognises(packet):
            rejection = None
            try:
                assert_sound(adapter.adapt(packet, access=EVERYTHING, provenance=FROM_TEST))
            except RejectedAlert as found:
                rejection = found
            assert rejection is None or rejection.access == adapter.access_of(packet)


@settings(max_examples=400)
@given(st.data())
@pytest.mark.parametrize("packet", [ztf_full(), lsst_full()], ids=SURVEYS)
def test_any_value_anywhere_is_survived(packet: dict[str, Any], data: st.DataObject) -> None:
    spots = places(packet)
    for _ in range(data.draw(st.integers(1, 4))):
        packet = changed(packet, data.draw(st.sampled_from(spots)), data.draw(JUNK))
    becomes_alert_or_rejection(packet)


@settings(max_examples=100)
@given(data=st.data())
def test_any_value_anywhere_in_real_packets_is_survived(data: st.DataObject, data_dir: Path) -> None:
    files = ["ztf/nocutouts.avro", "lsst/lsst_v7_4_nocutouts.avro", "lsst/lsst_v9_0_nocutouts.avro"]
    packets = real_packets(data_dir / "alerts" / data.draw(st.sampled_from(files)))
    packet: Any = packets[data.draw(st.integers(0, len(packets) - 1))]
    for _ in range(3):
        packet = changed(packet, data.draw(st.sampled_from(places(packet))), data.draw(JUNK))
    becomes_alert_or_rejection(packet)


@given(st.dictionaries(st.sampled_from(["objectId", "candidate", "diaSource", "candid", "x"]), JUNK))
def test_packets_of_nobody_are_no_error(packet: dict[str, Any]) -> None:
    becomes_alert_or_rejection(packet)


def test_each_survey_knows_its_own_packets_only() -> None:
    ztf, lsst = adapters()[-2:]
    assert (ztf.name, lsst.name) == SURVEYS
    assert ztf.recognises(ztf_packet())
    assert not ztf.recognises(lsst_packet())
    assert lsst.recognises(lsst_packet())
    assert not lsst.recognises(ztf_packet())


def test_an_unknown_survey_is_a_configuration_error() -> None:
    with pytest.raises(ConfigurationError, match="ztf, lsst"):
        adapters(["atlas"])


def test_adapters_do_not_change_their_packets() -> None:
    for make in (ztf_full, lsst_full):
        packet = make()
        becomes_alert_or_rejection(packet)
        assert packet == make()
