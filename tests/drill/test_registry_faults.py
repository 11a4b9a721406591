# SPDX-License-Identifier: BSD-3-Clause
"""The schema registry gone while a stream of framed alerts goes on, and a worker that starts without it."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass
from io import BytesIO

import fastavro
import pytest
from confluent_kafka.schema_registry import Schema, SchemaRegistryClient

from broker_plugin.codec.registry import frame
from tests.drill.conftest import StartDrill
from tests.drill.plan import FULL, TENTH, Plan
from tests.drill.stream import datum
from tests.support.gate import Gate
from tests.support.process import LOOPBACK
from tests.support.registry import RegistryServer

pytestmark = pytest.mark.service

OVERCOME_S = 150.0
"""Longest wait for new verdicts when the registry is back."""


@dataclass(frozen=True)
class Framing:
    """The ids under which a registry knows the schemas of packets."""

    ids: dict[str, int]

    @classmethod
    def registered(cls, packets: Iterable[bytes], url: str) -> Framing:
        """Register the schemas of packets, each time in the same order."""
        texts = sorted({_schema_text(packet) for packet in packets})
        with closing(SchemaRegistryClient({"url": url})) as client:
            ids = [client.register_schema(f"ztf-{n}", Schema(t, "AVRO")) for n, t in enumerate(texts)]
        return cls(dict(zip(texts, ids, strict=True)))

    def __call__(self, packet: bytes) -> bytes:
        """Return a packet as a message with its schema's id instead of the schema."""
        return frame(self.ids[_schema_text(packet)], datum(packet))


@pytest.mark.parametrize(
    ("size", "delivery"),
    [
        (TENTH, "exactly-once"),
        pytest.param(FULL, "exactly-once", marks=pytest.mark.drill),
        pytest.param(FULL, "at-least-once", marks=pytest.mark.drill),
    ],
)
def test_gone(
    drill: StartDrill,
    private_registry: RegistryServer,
    stream_packets: tuple[bytes, ...],
    size: str,
    delivery: str,
) -> None:
    """Longer at full size than a start is given, so that its supervisor has to begin it again."""
    part, away_s = (1, 75.0) if size == FULL else (10, 5.0)
    framing = Framing.registered(stream_packets, private_registry.url)
    with Gate(private_registry.port) as gate:
        url = private_registry.url.replace(f"{LOOPBACK}:{private_registry.port}", f"{LOOPBACK}:{gate.port}")
        plan = Plan(
            scenario=f"registry-gone-{delivery}",
            fault=f"schema registry killed, back after {away_s:g} s and more; a worker killed meanwhile",
            size=size,
            alerts=4000 // part,
            poisoned=20 // part,
            delivery=delivery,
            rate_per_s=40.0,
            flags=("--registry", url, "--input-registry", url),
        )
        with drill(plan, wire=framing) as it:
            it.feeder.release(plan.alerts)
            it.wait(lambda: len(it.tail.sightings) > plan.alerts / 10, timeout_s=OVERCOME_S)
            gate.shut()
            private_registry.kill()
            it.faults["registry killed"] += 1
            worker = it.team.workers[0]
            wound = it.kill(worker)
            it.pause(away_s)
            private_registry.start()
            # The registry is in memory, so it has to be told again; nobody sees it before that is done.
            assert Framing.registered(stream_packets, private_registry.url) == framing
            gate.open()
            it.note_recovery(it.over(wound), timeout_s=OVERCOME_S)


def _schema_text(packet: bytes) -> str:
    return str(fastavro.reader(BytesIO(packet)).metadata["avro.schema"])
