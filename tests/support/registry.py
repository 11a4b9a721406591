# SPDX-License-Identifier: BSD-3-Clause
"""A real schema registry, Apicurio, that speaks Confluent's interface on a loopback port."""

from __future__ import annotations

import http.client
import urllib.request
from pathlib import Path
from typing import ClassVar

from tests.support.artefacts import REGISTRY_VERSION, java, registry_home
from tests.support.process import LOOPBACK, Server, ServerProcess, free_ports, port_open

__all__ = ["RegistryServer", "registry_answers"]

JVM_FLAGS = ("-Xmx400m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
"""Small and quick to start: the registry holds a handful of schemas for a minute."""


class RegistryServer(Server):
    """An Apicurio registry of the tests' own, in memory: it forgets everything when it stops.

    Parameters
    ----------
    folder
        Where its log goes.
    """

    READY_S: ClassVar[float] = 240.0
    """Ten seconds on two free cores; the rest is for a machine that compiles something beside it."""

    def __init__(self, folder: Path) -> None:
        (self.port,) = free_ports(1)
        folder.mkdir(parents=True, exist_ok=True)
        jar = registry_home() / f"apicurio-registry-app-{REGISTRY_VERSION}-runner.jar"
        process = ServerProcess(
            "the schema registry",
            [java(), *JVM_FLAGS, "-jar", str(jar)],
            log_path=folder / "registry.log",
            environment={"QUARKUS_HTTP_HOST": LOOPBACK, "QUARKUS_HTTP_PORT": str(self.port)},
        )
        super().__init__(process)

    @property
    def url(self) -> str:
        """Confluent-compatible endpoint."""
        return f"http://{LOOPBACK}:{self.port}/apis/ccompat/v7"

    def serves(self) -> bool:
        """Return whether it lists its subjects."""
        return port_open(self.port) and registry_answers(self.url)


def registry_answers(url: str) -> bool:
    """Return whether a registry at this address lists its subjects."""
    # No proxy of the environment may come between a test and its own loopback server.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"{url.rstrip('/')}/subjects", timeout=5.0) as answer:
            return bool(answer.status == http.client.OK)
    except (OSError, http.client.HTTPException):
        return False
