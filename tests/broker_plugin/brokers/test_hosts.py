# SPDX-License-Identifier: BSD-3-Clause
"""Inside every broker, through its own classes, real alerts get the decision that `replay` gives them.

Each broker's real package is installed into an environment of its own, where a module of `inside/` hands the
same packets over. What a broker does not keep of a packet is blanked before the comparison.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from broker_plugin.brokers.lasair import (
    CLASSDICT_MAX,
    CLASSIFICATION_MAX,
    EXPLANATION_MAX,
    NO_CLASS,
    VERSION_MAX,
    WITHDRAWN,
)
from broker_plugin.codec.packets import decode_message
from broker_plugin.codec.schemas import SchemaStore
from broker_plugin.pipeline.assembly import FilterRecipe
from broker_plugin.pipeline.dead_letters import DeadLetters
from broker_plugin.pipeline.outbox import Outbox
from broker_plugin.streams.base import Message
from tests.broker_plugin.brokers.sample import decisions, framed_packets, lsst_packets, ztf_packets
from tests.support.cluster import KafkaCluster
from tests.support.environments import SPARK, in_environment
from tests.support.hosts import host_interpreter
from tests.support.process import ServerUnavailableError
from tests.support.tiers import unavailable

HOST_S = 800.0
"""Longest wait for a host: Spark takes a minute to start on a machine with other work."""

pytestmark = [pytest.mark.hosts, pytest.mark.timeout(HOST_S + 100.0)]


def inside(host: str, data_dir: Path, *further: str) -> list[Any]:
    """Return what a broker's plug-in point made of the packets."""
    try:
        interpreter = host_interpreter(host)
    except ServerUnavailableError as missing:
        unavailable(str(missing))
    module = f"tests.broker_plugin.brokers.inside.{host}"
    done = in_environment(
        interpreter,
        ["-m", module, str(data_dir), *further],
        timeout_s=HOST_S,
        variables={**SPARK, "PYSPARK_PYTHON": str(interpreter), "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found: list[Any] = json.loads(done.stdout)
    return found


def agree(found: Mapping[str, Any], expected: Any) -> None:
    """Compare what a broker carries of a decision; `strange` is whether it was selected.

    That is at p <= 0.01, but for withdrawn alerts, which are selected at no p-value.
    """
    assert not isinstance(expected, str), expected
    assert found, expected
    for name, value in found.items():
        if name == "strange":
            assert value == (expected["anomaly_p_value"] <= 0.01 and expected["revision"] == "initial")
        else:
            assert value == expected[name], name


def without(packet: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in packet.items() if name not in names}


@pytest.fixture(scope="module")
def lsst(data_dir: Path) -> list[dict[str, Any]]:
    # None of them keeps the record of the solar-system object; that of the source says which one it is.
    return [without(packet, "ssSource") for packet in lsst_packets(data_dir)]


@pytest.fixture(scope="module")
def ztf(data_dir: Path) -> list[dict[str, Any]]:
    return ztf_packets(data_dir)


def test_antares_carries_the_decision(
    data_dir: Path, lsst: list[dict[str, Any]], ztf: list[dict[str, Any]]
) -> None:
    # A locus has the identity of the object in its sources, and ZTF's forced photometry not at all.
    expected = decisions([without(p, "diaObject") for p in lsst] + [without(p, "fp_hists") for p in ztf])
    found = inside("antares", data_dir)
    assert len(found) == len(expected) > 100
    compare(found, expected)


def test_ampel_carries_the_decision(
    data_dir: Path, lsst: list[dict[str, Any]], ztf: list[dict[str, Any]]
) -> None:
    expected = decisions([*lsst, *ztf])
    found = inside("ampel", data_dir)
    assert len(found) == len(expected) > 100
    compare(found, expected)


def test_fink_selects_and_scores_as_the_pipeline_does(data_dir: Path, lsst: list[dict[str, Any]]) -> None:
    expected = decisions(lsst)
    found = inside("fink", data_dir)
    assert len(found) == len(expected) > 50
    for one, other in zip(found, expected, strict=True):
        if isinstance(other, str):
            assert one["anomaly_p_value"] == 1.0
            assert not one["strange"]
        else:
            agree(one, other)


def test_lasair_gets_annotations_within_its_limits(data_dir: Path, lsst: list[dict[str, Any]]) -> None:
    owned = [packet for packet in lsst if packet["diaObject"]]
    expected = {
        str(packet["diaObject"]["diaObjectId"]): decision
        for packet, decision in zip(owned, decisions(owned), strict=True)
    }
    found = inside("lasair", data_dir)
    annotations = [each for each in found if isinstance(each, dict)]
    assert WITHDRAWN in {each["classification"] for each in annotations}
    assert len(annotations) == sum(not isinstance(each, str) for each in expected.values()) > 20
    assert sum("no such object" in each for each in found if isinstance(each, str)) == 1
    assert sum("Internal Server Error" in each for each in found if isinstance(each, str)) == 1
    for each in annotations:
        numbers, decision = json.loads(each["classdict"]), expected[each["objectId"]]
        assert numbers["anomaly_p_value"] == decision["anomaly_p_value"]
        assert numbers["verdict_id"] == decision["verdict_id"]
        assert {name: numbers[name] for name in decision["class_probabilities"]} == decision[
            "class_probabilities"
        ]
        is_withdrawn = decision["revision"] == numbers["revision"] == "retraction"
        assert each["classification"] == (WITHDRAWN if is_withdrawn else decision["class"] or NO_CLASS)
        assert decision["explanation"].startswith(each["explanation"].rstrip("…"))
        assert len(each["classdict"]) <= CLASSDICT_MAX
        assert 0 < len(each["classification"]) <= CLASSIFICATION_MAX
        assert len(each["explanation"]) <= EXPLANATION_MAX
        assert len(each["version"]) <= VERSION_MAX


def test_pitt_google_carries_the_decision(data_dir: Path, rubin_schemas: Path) -> None:
    found = dict(inside("pittgoogle", data_dir))
    store = SchemaStore(None, (rubin_schemas,))
    paths = framed_packets(data_dir)
    packets = [decode_message(path.read_bytes(), schema_of=store.writer_schema).packets[0] for path in paths]
    expected = decisions(packets)
    assert len(found) == len(expected) > 3
    for path, decision in zip(paths, expected, strict=True):
        if isinstance(decision, str):
            assert found[path.name] == {"reason": decision}
        else:
            agree(found[path.name], decision)


def test_babamul_s_own_models_know_the_form_that_is_read(data_dir: Path) -> None:
    found = inside("babamul", data_dir)
    assert len(found) > 80
    assert any(earlier > 1 for _, earlier, _ in found)


def test_scimma_s_client_reads_what_is_sent(
    data_dir: Path, kafka_broker: KafkaCluster, topic: Callable[[str], str], lsst: list[dict[str, Any]]
) -> None:
    messages = [
        Message(topic="in", partition=0, offset=n, value=b"", packet=packet) for n, packet in enumerate(lsst)
    ]
    recipe = FilterRecipe(device="cpu")
    judged = [each for each in recipe.filter(recipe.scorer()).judge(messages) if each.verdicts]
    verdicts = kafka_broker.create_topic(topic("verdicts"))
    parcels = Outbox(verdicts, DeadLetters(topic="none")).pack(judged)
    kafka_broker.produce(
        verdicts, [(each.key, each.value, each.headers) for parcel in parcels for each in parcel.contents]
    )
    kafka_broker.group_committed(
        "anybody", verdicts
    )  # the client takes a coordinator that starts for an error
    found = inside("scimma", data_dir, kafka_broker.bootstrap, verdicts)
    sent = [(each.verdicts[0].verdict_id, each.verdicts[0].anomaly_p_value) for each in judged]
    assert found == [["AvroBlob", *each] for each in sent]
    assert len(found) > 40


def compare(found: list[Any], expected: list[Any]) -> None:
    for one, other in zip(found, expected, strict=True):
        if isinstance(other, str):
            assert one == other
        else:
            agree(one, other)
