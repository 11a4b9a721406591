# SPDX-License-Identifier: BSD-3-Clause
"""A copy of an encoded packet is another alert of another object, and nothing else about it is changed."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import fastavro
import numpy as np
import pytest

from broker_plugin.benchmark.identities import identities, named_anew
from broker_plugin.benchmark.messages import ContainerForm, FramedForm, read_data

SOURCE = {
    "type": "record",
    "name": "diaSource",
    "fields": [
        {"name": "diaSourceId", "type": "long"},
        {"name": "diaObjectId", "type": ["null", "long"]},
        {"name": "psfFlux", "type": "double"},
    ],
}

SCHEMA = {
    "type": "record",
    "name": "alert",
    "fields": [{"name": "diaSourceId", "type": "long"}, {"name": "diaSource", "type": SOURCE}],
}

ALERT, OBJECT = 169_298_432_598_474_793, 313_853_499_428_823_071


def alert(object_id: int | None) -> dict[str, Any]:
    return {
        "diaSourceId": ALERT,
        "diaSource": {"diaSourceId": ALERT, "diaObjectId": object_id, "psfFlux": 1.5},
    }


def copied(packet: dict[str, Any], copy: int) -> dict[str, Any]:
    form = FramedForm(SCHEMA, 1)
    return form.read(named_anew(form.encoded(packet), identities(packet), copy))


def test_copies_are_other_alerts_of_other_objects() -> None:
    packet = alert(OBJECT)
    assert copied(packet, 0) == packet
    copies = [copied(packet, copy) for copy in range(4)]
    for each in copies:
        assert each["diaSource"]["diaSourceId"] == each["diaSourceId"]
        assert each["diaSource"]["psfFlux"] == 1.5
    assert len({each["diaSourceId"] for each in copies}) == len(copies)
    assert len({each["diaSource"]["diaObjectId"] for each in copies}) == len(copies)


def test_an_alert_without_an_object_gets_none() -> None:
    assert copied(alert(None), 3)["diaSource"]["diaObjectId"] is None


def test_a_number_too_small_to_be_found_stays() -> None:
    schema = {"type": "record", "name": "alert", "fields": [{"name": "candid", "type": "long"}]}
    datum = io.BytesIO()
    fastavro.schemaless_writer(datum, schema, {"candid": 5})
    assert named_anew(datum.getvalue(), identities({"candid": 5}), 1) == datum.getvalue()


@pytest.mark.parametrize("survey", ["ztf", "lsst"])
def test_of_real_packets_nothing_but_the_identities_is_changed(data_dir: Path, survey: str) -> None:
    path = (
        data_dir
        / {"ztf": "alerts/ztf/nocutouts.avro", "lsst": "alerts/lsst/lsst_v10_0_nocutouts.avro"}[survey]
    )
    schema, data = read_data(path)
    form = ContainerForm(schema) if survey == "ztf" else FramedForm(schema, 1000)
    for _, (datum, packet) in zip(range(20), data, strict=False):
        own = identities(packet)
        assert own
        copy = form.read(named_anew(datum, own, 1))
        assert not own & identities(copy)
        moved = dict(zip(sorted(own, key=str), sorted(identities(copy), key=str), strict=True))
        np.testing.assert_equal(
            copy, _exchanged(packet, moved)
        )  # values that are not numbers equal each other


def _exchanged(value: Any, moved: dict[int | str, int | str]) -> Any:
    match value:
        case dict():
            return {name: _exchanged(each, moved) for name, each in value.items()}
        case list():
            return [_exchanged(each, moved) for each in value]
        case int() | str():
            return moved.get(value, value)
    return value
