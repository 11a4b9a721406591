# SPDX-License-Identifier: BSD-3-Clause
"""Simulated alerts as the surveys would send them, and messages that nobody could read.

ZTF: one Avro container file a message, schema 4.02 inside. LSST: bare Avro behind Confluent's five bytes,
which name the schema 11.1. Both without cutouts, which no encoder of ours reads and which are 99 % of a
packet's bytes.
"""

from __future__ import annotations

import io
import json
import struct
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import fastavro
import numpy as np
from fastavro.types import Schema

from broker_plugin.demo.lsst_packets import lsst_packet
from broker_plugin.demo.observing import ZTF
from broker_plugin.demo.schemas import LSST_SCHEMA_ID, LSST_VERSION, lsst_schema, ztf_schema
from broker_plugin.demo.simulator import Night, SimulatedAlert
from broker_plugin.demo.ztf_packets import ztf_packet

__all__ = ["broken_messages", "encode", "night_messages", "write_schemas"]

SYNC_BYTES = 16
"""Length of the marker behind each block of an Avro container file."""


def night_messages(night: Night) -> Iterator[tuple[SimulatedAlert, bytes]]:
    """Yield every alert of a night with its message, in order of time."""
    for alert in night.alerts:
        yield alert, encode(alert)


def encode(alert: SimulatedAlert) -> bytes:
    """Return an alert as the bytes of one Kafka message."""
    buffer = io.BytesIO()
    if alert.object.survey is ZTF:
        # The marker between blocks is random by default; equal nights are to be equal to the last byte.
        marker = alert.alert_id.to_bytes(SYNC_BYTES, "big")
        fastavro.writer(buffer, _parsed_ztf(), [ztf_packet(alert)], sync_marker=marker)
        return buffer.getvalue()
    buffer.write(struct.pack(">bI", 0, LSST_SCHEMA_ID))
    fastavro.schemaless_writer(buffer, _parsed_lsst(), lsst_packet(alert))
    return buffer.getvalue()


def broken_messages(seed: int, sound: bytes) -> list[tuple[str, bytes]]:
    """Return messages that no reader can turn into an alert, each with what is wrong with it.

    Parameters
    ----------
    sound
        A message that can be read, to be cut short.
    """
    rng = np.random.default_rng([seed, 3])
    other = io.BytesIO()
    schema = {"type": "record", "name": "note", "fields": [{"name": "text", "type": "string"}]}
    fastavro.writer(other, schema, [{"text": "clouds"}], sync_marker=bytes(SYNC_BYTES))
    return [
        ("random bytes", rng.bytes(700)),
        ("a packet cut in half", sound[: len(sound) // 2]),
        ("an empty message", b""),
        ("a frame of a schema that nobody knows", struct.pack(">bI", 0, 987_654) + rng.bytes(300)),
        ("a sound Avro record that is no alert", other.getvalue()),
    ]


def write_schemas(folder: Path) -> None:
    """Write LSST's schema to a directory, for a reader of framed messages that has no registry."""
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(lsst_schema())
    (folder / f"lsst.v{LSST_VERSION.replace('.', '_')}.alert.avsc").write_text(text, encoding="utf-8")


@cache
def _parsed_ztf() -> Schema:
    return fastavro.parse_schema(ztf_schema())


@cache
def _parsed_lsst() -> Schema:
    return fastavro.parse_schema(lsst_schema())
