# SPDX-License-Identifier: BSD-3-Clause
"""What brokers call decides as `broker-plugin replay` does; they carry it whole by `test_hosts.py`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import fastavro

from broker_plugin.codec.verdict import Verdict
from broker_plugin.commands.replay import replay
from tests.broker_plugin.brokers.sample import decisions, in_full

N_PACKETS = 12
"""Of each container."""

NIGHTS = ("ztf/nocutouts.avro", "lsst/lsst_v9_0_nocutouts.avro", "lsst/lsst_v10_0_nocutouts.avro")


def test_a_broker_is_told_what_replay_writes(data_dir: Path, tmp_path: Path) -> None:
    packets: list[Any] = []
    paths = []
    for name in NIGHTS:
        with (data_dir / "alerts" / name).open("rb") as night:
            reader = fastavro.reader(night)
            some = [packet for packet, _ in zip(reader, range(N_PACKETS), strict=False)]
        paths.append(tmp_path / name.replace("/", "-"))
        with paths[-1].open("wb") as short:
            fastavro.writer(short, reader.writer_schema, some)
        packets += some
    out = tmp_path / "verdicts.avro"
    assert replay(*paths, out=out, device="cpu") == 0
    with out.open("rb") as written:
        replayed = {record["verdict_id"]: record for record in fastavro.reader(written)}
    told = [each for each in decisions(packets) if not isinstance(each, str)]
    assert {each["verdict_id"] for each in told} == replayed.keys()
    assert len(told) > len(packets) / 2
    for each in told:
        record = replayed[each["verdict_id"]]
        assert each == in_full(Verdict(**record)), record
