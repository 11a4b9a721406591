# SPDX-License-Identifier: BSD-3-Clause
"""A real Apache Kafka broker: one process, broker and controller in one (KRaft), on loopback ports."""

from __future__ import annotations

import base64
import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Self

from tests.support.artefacts import java, kafka_classpath
from tests.support.cluster import KafkaCluster, KafkaRecord, Outgoing
from tests.support.process import LOOPBACK, Server, ServerFailedError, ServerProcess, free_ports, port_open

__all__ = ["LARGE_MESSAGES", "KafkaBroker", "KafkaCluster", "KafkaRecord", "Outgoing"]

JVM_FLAGS = ("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Djava.awt.headless=true")
"""Quick to start and sparing with the two cores it shares with the tests; not quick in the long run."""

LOG_FLAG = "-Dorg.apache.logging.log4j.level=INFO"
"""Without it the log holds errors only, and the tail shown on failure says too little."""

FORMAT_S = 60.0
"""Formatting the data folder takes one second of processor time."""

FORMATTED = "meta.properties"
"""File in the data folder by which Kafka knows it as its own. The folder itself may be there before: a small
file system, for instance, that a test wants to fill."""

PORT_ATTEMPTS = 3
"""Another run may take a port between our looking and Kafka's binding; three times in a row it does not."""

LARGE_MESSAGES: Mapping[str, str] = {
    "message.max.bytes": str(60 * 2**20),
    "replica.fetch.max.bytes": str(60 * 2**20),
}
"""A broker raised to 60 MiB a record batch, from Kafka's 1 MiB."""

PROPERTIES: Mapping[str, str] = {
    "process.roles": "broker,controller",
    "node.id": "1",
    "controller.listener.names": "CONTROLLER",
    "offsets.topic.replication.factor": "1",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "transaction.abort.timed.out.transaction.cleanup.interval.ms": "500",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    # Fifty partitions of each internal topic would be made at the first group and transaction.
    "offsets.topic.num.partitions": "1",
    "transaction.state.log.num.partitions": "1",
    "share.coordinator.state.topic.num.partitions": "1",
    "group.initial.rebalance.delay.ms": "0",
    # A killed broker is let in again only when its former session has run out, 9 s by default.
    "broker.session.timeout.ms": "3000",
    "broker.heartbeat.interval.ms": "500",
}
"""What one node needs, and what makes groups, transactions and restarts quick."""

NEVER_LOST: Mapping[str, str] = {"broker.session.timeout.ms": "60000"}
"""For a broker that no test kills: beside a dozen processes it may starve for seconds, and stays."""


class KafkaBroker(KafkaCluster, Server):
    """A Kafka broker of the tests' own, with a data folder that outlives its process.

    Parameters
    ----------
    folder
        Where its settings, its log and its data go.
    properties
        Server properties over the usual ones, `LARGE_MESSAGES` for instance.
    heap_mb
        Largest Java heap.

    Examples
    --------
    ::

        with KafkaBroker(tmp_path) as broker:
            broker.create_topic("alerts", 3)
            broker.produce("alerts", [(b"key", b"value", [])])
            broker.kill()
            broker.restart()
            assert len(broker.consume_all("alerts", expected=1)) == 1
    """

    READY_S: ClassVar[float] = 240.0
    """Three seconds on two free cores; the rest is for a machine that compiles something beside it."""

    def __init__(
        self, folder: Path, *, properties: Mapping[str, str] | None = None, heap_mb: int = 512
    ) -> None:
        self.folder = folder
        self.properties = dict(properties or {})
        self._data = folder / "data"
        self._settings = folder / "server.properties"
        self._java = [java(), f"-Xmx{heap_mb}m", *JVM_FLAGS, LOG_FLAG, "-cp", kafka_classpath()]
        folder.mkdir(parents=True, exist_ok=True)
        command = [*self._java, "kafka.Kafka", str(self._settings)]
        Server.__init__(self, ServerProcess("Kafka", command, log_path=folder / "kafka.log"))
        self._take_ports()

    @property
    def data(self) -> Path:
        """Where its data go."""
        return self._data

    def serves(self) -> bool:
        """Return whether it answers with metadata in which every partition has a leader."""
        return port_open(self._port) and super().serves()

    def start(self) -> Self:
        """Start, formatting the data folder the first time, and wait until it serves."""
        if (self._data / FORMATTED).exists():
            return super().start()
        for attempt in range(1, PORT_ATTEMPTS + 1):
            self._format()
            try:
                return super().start()
            except ServerFailedError:
                self.kill()
                if attempt == PORT_ATTEMPTS or "Address already in use" not in self.process.tail():
                    raise
                shutil.rmtree(self._data, ignore_errors=True)
                self._take_ports()
        raise AssertionError("not reached")

    def __exit__(self, *_: object) -> None:
        self.kill()
        shutil.rmtree(self._data, ignore_errors=True)

    def _take_ports(self) -> None:
        self._port, self._controller_port = free_ports(2)
        KafkaCluster.__init__(self, f"{LOOPBACK}:{self._port}")

    def _listeners(self) -> str:
        return f"PLAINTEXT://{LOOPBACK}:{self._port},CONTROLLER://{LOOPBACK}:{self._controller_port}"

    def _format_options(self) -> list[str]:
        """Return further options of the tool that formats the data folder."""
        return []

    def _format(self) -> None:
        settings = {
            **PROPERTIES,
            "listeners": self._listeners(),
            "controller.quorum.voters": f"1@{LOOPBACK}:{self._controller_port}",
            "log.dirs": str(self._data),
            **self.properties,
        }
        self._settings.write_text("".join(f"{name}={value}\n" for name, value in settings.items()))
        # The zero byte makes it begin with "A": the tool takes one that begins with "-" for an option.
        cluster_id = base64.urlsafe_b64encode(bytes(1) + os.urandom(15)).decode().rstrip("=")
        tool = ["kafka.tools.StorageTool", "format", "-t", cluster_id, "-c", str(self._settings)]
        tool += self._format_options()
        done = subprocess.run(
            [*self._java, *tool], capture_output=True, text=True, check=False, timeout=FORMAT_S
        )
        if done.returncode != 0:
            raise ServerFailedError(
                f"Kafka's data folder could not be formatted:\n{done.stdout}{done.stderr}"
            )
