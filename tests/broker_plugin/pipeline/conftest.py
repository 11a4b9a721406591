# SPDX-License-Identifier: BSD-3-Clause
"""Real packets as messages, and the real filter of the default bundle."""

from __future__ import annotations

from pathlib import Path

import pytest

from broker_plugin.codec.decoder import Decoder
from broker_plugin.codec.schemas import SchemaStore
from broker_plugin.engine.scorer import Scorer
from broker_plugin.pipeline.filter import AlertFilter
from broker_plugin.streams.base import Message
from broker_plugin.surveys.registry import adapters

N_MESSAGES = 40
PARTITIONS = 3


@pytest.fixture(scope="session")
def native_packets(data_dir: Path) -> list[bytes]:
    """All ZTF packets as broadcast."""
    return [path.read_bytes() for path in sorted((data_dir / "alerts/ztf/native").glob("*.avro"))]


@pytest.fixture
def messages(native_packets: list[bytes]) -> list[Message]:
    """Packets on three partitions, with keys and headers."""
    return [
        Message(
            topic="alerts",
            partition=number % PARTITIONS,
            offset=number // PARTITIONS,
            value=value,
            key=b"key %d" % number,
            headers=(("number", str(number).encode()),),
        )
        for number, value in enumerate(native_packets[:N_MESSAGES])
    ]


@pytest.fixture(scope="session")
def scorer() -> Scorer:
    return Scorer.open("default", device="cpu")


@pytest.fixture(scope="session")
def decoder() -> Decoder:
    return Decoder(schemas=SchemaStore(), adapters=adapters(["ztf"]))


@pytest.fixture(scope="session")
def alert_filter(decoder: Decoder, scorer: Scorer) -> AlertFilter:
    return AlertFilter(decoder, scorer)
