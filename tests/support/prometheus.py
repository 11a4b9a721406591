# SPDX-License-Identifier: BSD-3-Clause
"""A real Prometheus on a loopback port, that scrapes and judges rules twice a second."""

from __future__ import annotations

import json
import re
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any, ClassVar

import yaml

from tests.support.deployment_tools import prometheus_program
from tests.support.process import LOOPBACK, Server, ServerProcess, free_ports, port_open

__all__ = ["PrometheusServer", "sped_up"]

DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))
"""No proxy of the environment may come between a test and its own loopback server."""

EVERY = "500ms"

DURATION = re.compile(r"(?<![\w.])(\d+)(s|m|h|d)(?!\w)")
"""As they stand in rules: `for: 5m`, `[15m:30s]`."""

MS = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}

HURRY = 60
"""A minute of the rules in a second of the test."""


class PrometheusServer(Server):
    """A Prometheus of the tests' own.

    Parameters
    ----------
    folder
        Where its settings, its data and its log go.
    target_port
        Port of the process that is scraped.
    rules
        Text of a file of rules, or nothing.
    """

    READY_S: ClassVar[float] = 60.0
    """It serves within a second."""

    def __init__(self, folder: Path, *, target_port: int, rules: str = "") -> None:
        (self.port,) = free_ports(1)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "rules.yaml").write_text(rules)
        settings = {
            "global": {"scrape_interval": EVERY, "scrape_timeout": EVERY, "evaluation_interval": EVERY},
            "rule_files": [str(folder / "rules.yaml")],
            "scrape_configs": [
                {"job_name": "astrom3", "static_configs": [{"targets": [f"{LOOPBACK}:{target_port}"]}]}
            ],
        }
        (folder / "prometheus.yaml").write_text(yaml.safe_dump(settings))
        command = [
            prometheus_program(),
            f"--config.file={folder / 'prometheus.yaml'}",
            f"--storage.tsdb.path={folder / 'data'}",
            f"--web.listen-address={LOOPBACK}:{self.port}",
        ]
        super().__init__(ServerProcess("Prometheus", command, log_path=folder / "prometheus.log"))

    def serves(self) -> bool:
        """Return whether it is ready."""
        if not port_open(self.port):
            return False
        try:
            with DIRECT.open(f"http://{LOOPBACK}:{self.port}/-/ready", timeout=5) as answer:
                return bool(answer.status == 200)
        except urllib.error.URLError:
            return False

    def query(self, expression: str) -> list[dict[str, Any]]:
        """Return the result of an instant query: labels and value of each series."""
        asked = urllib.parse.urlencode({"query": expression})
        found = self._ask(f"/api/v1/query?{asked}")
        return list(found["result"]) if found["resultType"] == "vector" else [found]

    def alerts(self) -> dict[str, str]:
        """Return the alerts that are pending or firing, by name."""
        return {one["labels"]["alertname"]: one["state"] for one in self._ask("/api/v1/alerts")["alerts"]}

    def _ask(self, path: str) -> dict[str, Any]:
        try:
            with DIRECT.open(f"http://{LOOPBACK}:{self.port}{path}", timeout=10) as answer:
                data: dict[str, Any] = json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            raise ValueError(f"{path}: {json.load(error)['error']}") from None
        return data


def sped_up(rules: str) -> str:
    """Return rules whose minutes are seconds.

    Examples
    --------
    >>> sped_up("for: 10m, deriv(a[15m:30s])")
    'for: 10000ms, deriv(a[15000ms:500ms])'
    """
    return DURATION.sub(lambda found: f"{int(found[1]) * MS[found[2]] // HURRY}ms", rules)
