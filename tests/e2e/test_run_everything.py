# SPDX-License-Identifier: BSD-3-Clause
"""Every real packet goes through `broker-plugin run` on a real Kafka and comes out exactly once."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from broker_plugin.codec.verdict import Verdict, to_json
from tests.e2e.conftest import StartRun
from tests.e2e.service import (
    Topics,
    all_places,
    as_records,
    lsst_packets,
    source_places,
    stop_in_order,
    verdict_of,
    wait_for_outputs,
    ztf_packets,
)
from tests.support.cluster import KafkaCluster, KafkaRecord

pytestmark = pytest.mark.service

N_ZTF = 2116
N_ZTF_NATIVE = 198
N_LSST_CONTAINERS = 39 + 1 + 87 + 229 + 137
N_LSST_RAW_MESSAGES = 36
N_LSST_RAW_RECORDS = 35 + 7
"""Packets of their own, and one container file that holds seven."""


def assert_sound(records: Sequence[KafkaRecord]) -> list[Verdict]:
    """Check what must hold of every verdict; return them."""
    verdicts = [verdict_of(record) for record in records]
    for record, verdict in zip(records, verdicts, strict=True):
        json.loads(to_json(verdict))  # which refuses NaN and infinity
        assert record.key == verdict.object_id.encode()
        assert dict(record.headers)["verdict_id"].decode() == verdict.verdict_id
        # Nine float64 terms are good to a few units of the last place.
        assert math.isclose(sum(verdict.class_probabilities.values()), 1.0, abs_tol=1e-12)
        assert 0 < verdict.anomaly_p_value <= 1
    return verdicts


def timeless(verdict: Verdict) -> Verdict:
    return verdict._replace(received_at=verdict.emitted_at)


def test_every_ztf_packet_comes_out_once(
    kafka_broker: KafkaCluster, topic: Callable[[str], str], data_dir: Path, run: StartRun
) -> None:
    topics = Topics(kafka_broker, topic, partitions=4)
    packets = ztf_packets(data_dir)
    assert len(packets) == N_ZTF_NATIVE + N_ZTF
    kafka_broker.produce(topics.input, as_records(packets))
    process = run(topics.flags)
    wait_for_outputs(topics, len(packets), process)
    assert stop_in_order(process) == 0
    records = topics.verdicts(len(packets))
    assert source_places(records) == Counter(all_places(topics))
    assert topics.letters(0) == []
    assert topics.committed() == len(packets)
    verdicts = assert_sound(records)
    # The native packets are among the others: the same alert, another encoding, the same verdict.
    by_alert: dict[int, list[Verdict]] = {}
    for verdict in verdicts:
        by_alert.setdefault(verdict.alert_id, []).append(verdict)
    twice = [pair for pair in by_alert.values() if len(pair) == 2]
    assert len(twice) == N_ZTF_NATIVE
    assert len(by_alert) == N_ZTF
    for one, other in twice:
        # Some native files have a schema with null alone for fields of the history; their verdicts say so.
        both = [
            timeless(each)._replace(emitted_at=other.emitted_at, received_at=other.emitted_at)
            for each in (one, other)
        ]
        if one.quality_flags != other.quality_flags:
            assert set(one.quality_flags) ^ set(other.quality_flags) == {"degraded_schema"}
            both = [each._replace(quality_flags=(), inputs_digest="") for each in both]
        assert both[0] == both[1]


def test_every_lsst_packet_comes_out_once(
    kafka_broker: KafkaCluster, topic: Callable[[str], str], data_dir: Path, run: StartRun
) -> None:
    topics = Topics(kafka_broker, topic)
    packets = lsst_packets(data_dir)
    assert len(packets) == N_LSST_RAW_MESSAGES + N_LSST_CONTAINERS
    n_records = N_LSST_RAW_RECORDS + N_LSST_CONTAINERS
    kafka_broker.produce(topics.input, as_records(packets))
    process = run(topics.flags, survey="lsst")
    wait_for_outputs(topics, n_records, process)
    assert stop_in_order(process) == 0
    records = topics.verdicts(n_records)
    assert topics.letters(0) == []
    assert topics.committed() == len(packets)
    places = source_places(records)
    assert set(places) == all_places(topics)
    assert sorted(places.values()) == [1] * (len(packets) - 1) + [7]
    verdicts = assert_sound(records)
    assert {verdict.survey for verdict in verdicts} == {"lsst"}
