# SPDX-License-Identifier: BSD-3-Clause
"""The service as a process of its own, started as an operator starts it, and what it should have written."""

from __future__ import annotations

import io
import json
import os
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import fastavro

from broker_plugin.codec.schemas import SchemaStore
from broker_plugin.codec.verdict import Verdict
from broker_plugin.pipeline.verdict_reader import verdict_reader
from tests.support.artefacts import REPOSITORY
from tests.support.cluster import KafkaCluster, KafkaRecord, Outgoing
from tests.support.process import ServerProcess

__all__ = [
    "READY_S",
    "Topics",
    "all_places",
    "as_records",
    "broker_plugin_command",
    "dead_letter_headers",
    "environment",
    "events",
    "lsst_packets",
    "source_places",
    "start_run",
    "stop_in_order",
    "verdict_of",
    "wait_for_event",
    "wait_for_outputs",
    "ztf_packets",
]

READY_S = 60.0
"""Opening the bundle and joining takes two seconds on a free core."""

STOP_S = 30.0
"""A batch under way is finished first."""


class Topics:
    """The topics and the group of one test.

    Parameters
    ----------
    cluster
        Where they are made.
    name
        Maker of names.
    partitions
        Of the input.
    """

    def __init__(self, cluster: KafkaCluster, name: Any, *, partitions: int = 3) -> None:
        self.cluster = cluster
        self.input = cluster.create_topic(name("alerts"), partitions)
        self.output = cluster.create_topic(name("verdicts"), 2)
        self.dead_letters = cluster.create_topic(name("dead"), 1)
        self.group = name("group")

    @property
    def flags(self) -> list[str]:
        """The flags that `run` needs."""
        return [
            *("--bootstrap", self.cluster.bootstrap, "--input", self.input, "--output", self.output),
            *("--dead-letters", self.dead_letters, "--group", self.group),
        ]

    def outputs(self) -> int:
        """How many records, of open and aborted transactions too, are on the output and the dead letters."""
        ends = (*self.cluster.end_offsets(self.output).values(),)
        return sum(ends) + sum(self.cluster.end_offsets(self.dead_letters).values())

    def committed(self) -> int:
        """How many input messages are covered by committed offsets."""
        return sum(self.cluster.group_committed(self.group, self.input).values())

    def verdicts(self, expected: int, **how: Any) -> list[KafkaRecord]:
        """Return what is on the output."""
        return self.cluster.consume_all(self.output, expected=expected, **how)

    def letters(self, expected: int, **how: Any) -> list[KafkaRecord]:
        """Return what is on the dead letters."""
        return self.cluster.consume_all(self.dead_letters, expected=expected, **how)


def broker_plugin_command(*arguments: str) -> list[str]:
    """Return the command line of a subcommand."""
    return [sys.executable, "-m", "broker_plugin", *arguments]


def start_run(
    folder: Path,
    flags: Sequence[str],
    *,
    survey: str = "ztf",
    name: str = "run",
    variables: Mapping[str, str] | None = None,
) -> ServerProcess:
    """Start `broker-plugin run`; its log is `<folder>/<name>.log`."""
    folder.mkdir(exist_ok=True)
    process = ServerProcess(
        name,
        broker_plugin_command("run", "--survey", survey, "--device", "cpu", *flags),
        log_path=folder / f"{name}.log",
        environment={**environment(folder), **(variables or {})},
    )
    process.start()
    return process


def environment(folder: Path) -> dict[str, str]:
    """Variables that keep a process inside the test's folder and on one core."""
    return {
        "PYTHONPATH": str(REPOSITORY),
        "XDG_CACHE_HOME": str(folder / "cache"),
        "XDG_RUNTIME_DIR": str(folder),
        "OMP_NUM_THREADS": "1",
        "PYTHONWARNINGS": "error",
        "PYTHONFAULTHANDLER": "1",  # one that hangs shows where
        **{name: "" for name in os.environ if name.startswith("ASTROM3_") and "TEST" not in name},
    }


def events(process: ServerProcess) -> list[dict[str, Any]]:
    """Return what a process has logged."""
    lines = process.log_path.read_text().splitlines()  # of which the last may be half written
    return [json.loads(line) for line in lines if line.startswith("{") and line.endswith("}")]


def wait_for_event(process: ServerProcess, event: str, *, timeout_s: float = READY_S) -> None:
    """Wait until a process has logged an event."""
    process.wait_ready(lambda: any(found["event"] == event for found in events(process)), timeout_s=timeout_s)


def wait_for_outputs(topics: Topics, number: int, process: ServerProcess) -> None:
    """Wait until so many messages came out of a process, which must live."""
    process.wait_ready(lambda: topics.outputs() >= number, timeout_s=READY_S)


def stop_in_order(process: ServerProcess) -> int:
    """Send SIGTERM, wait for the end and return the exit status."""
    running = process._process
    assert running is not None
    running.terminate()
    status = running.wait(STOP_S)
    process.kill()  # what is left of it
    return status


@cache
def ztf_packets(data_dir: Path) -> tuple[bytes, ...]:
    """Every ZTF alert as one message: the native packets as they are, the others each in a container."""
    native = [path.read_bytes() for path in sorted((data_dir / "alerts/ztf/native").glob("*.avro"))]
    return (*native, *_containers(data_dir / "alerts/ztf/nocutouts.avro"))


@cache
def lsst_packets(data_dir: Path) -> tuple[bytes, ...]:
    """Every LSST alert as one message: raw framed ones and containers as they are, the others each in one."""
    folder = data_dir / "alerts/lsst"
    raw = [path.read_bytes() for path in sorted((folder / "raw").rglob("*")) if path.is_file()]
    return (*raw, *(one for path in sorted(folder.glob("*.avro")) for one in _containers(path)))


def as_records(values: Iterable[bytes]) -> list[Outgoing]:
    """Return messages to be produced, each with a key of its own, so that they spread."""
    return [(b"%d" % number, value, []) for number, value in enumerate(values)]


def verdict_of(record: KafkaRecord, schemas: SchemaStore | None = None) -> Verdict:
    """Return the verdict in a record."""
    assert record.value is not None
    return verdict_reader(schemas or SchemaStore(installed=False)).read(record.value)


def dead_letter_headers(record: KafkaRecord) -> dict[str, str]:
    """Return our headers on a dead letter."""
    prefix = "dead_letter_"
    return {n.removeprefix(prefix): v.decode() for n, v in record.headers if n.startswith(prefix)}


def source_places(records: Iterable[KafkaRecord]) -> Counter[tuple[int, int]]:
    """Count the input messages, by partition and offset, that records came from."""
    places: Counter[tuple[int, int]] = Counter()
    for record in records:
        headers = dict(record.headers)
        prefix = "source" if "source_offset" in headers else "dead_letter"
        places[int(headers[f"{prefix}_partition"]), int(headers[f"{prefix}_offset"])] += 1
    return places


def all_places(topics: Topics) -> set[tuple[int, int]]:
    """Return partition and offset of every input message."""
    ends = topics.cluster.end_offsets(topics.input)
    return {(partition, offset) for partition, end in ends.items() for offset in range(end)}


def _containers(path: Path) -> list[bytes]:
    with path.open("rb") as source:
        reader = fastavro.reader(source)
        schema = fastavro.parse_schema(_plain(reader.writer_schema))
        containers = []
        for packet in reader:
            buffer = io.BytesIO()
            fastavro.writer(buffer, schema, [packet])
            containers.append(buffer.getvalue())
    return containers


def _plain(schema: Any) -> Mapping[str, Any]:
    plain: Mapping[str, Any] = json.loads(json.dumps(schema))
    return plain
