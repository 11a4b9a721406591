# SPDX-License-Identifier: BSD-3-Clause
"""Which tiers of the tests ran, and what happens to a tier whose means are missing.

A tier is a kind of means: nothing (unit), librdkafka's own mock cluster and SQLite (stream), real
servers (service), real data, other brokers' packages (hosts), the GPU wheel, a GPU. On a developer's
machine a test without its means is skipped, with the reason; where the tiers are required, it is an error.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import NoReturn

import pytest

__all__ = ["DATA_FIXTURES", "SERVICES", "TierRecorder", "tier_of", "tiers_required", "unavailable"]

ORDER = ("unit", "stream", "service", "data", "hosts", "gpu_wheel", "openvino_wheel", "gpu", "bench", "slow")
"""The order in which the summary names them."""

SERVICES = {
    "kafka_broker": "kafka",
    "private_kafka": "kafka",
    "secure_kafka": "kafka",
    "redis_url": "redis",
    "private_redis": "redis",
    "registry_url": "registry",
    "private_registry": "registry",
    "promtool": "prometheus",
    "helm": "helm",
    "compose_loader": "compose",
}
"""Which server, or program that stands for one, a fixture stands for."""

DATA_FIXTURES = ("data_dir",)
"""Fixtures that give real data."""

WHEEL_FIXTURES = {"gpu_wheel_python": "gpu_wheel", "openvino_python": "openvino_wheel"}
"""The fixtures that give an environment with another wheel, and the tiers of what uses them."""

MARKED = ("hosts", *WHEEL_FIXTURES.values(), "gpu", "bench", "slow")
"""Tiers that are markers."""

NVIDIA_DEVICE = Path("/dev/nvidiactl")
"""There wherever an NVIDIA driver is loaded, in containers too."""

STREAM_FOLDERS = ("streams", "store", "pipeline", "service", "demo", "e2e")
"""Folders whose unmarked tests run on in-process stand-ins for servers, so make up the stream tier."""

PROPERTY = "tier"
"""Name under which a test's tiers travel in its report."""


def tiers_required() -> bool:
    """Return whether a missing tier is an error: `ASTROM3_REQUIRE_TIERS=1`, or `CI=true`."""
    return any(
        os.environ.get(name, "").lower() in {"1", "true", "yes"} for name in ("ASTROM3_REQUIRE_TIERS", "CI")
    )


def unavailable(reason: str) -> NoReturn:
    """Skip the test that asked, or make it an error where the tiers are required."""
    if tiers_required():
        pytest.fail(f"a required tier is missing: {reason}", pytrace=False)
    pytest.skip(reason)


def tier_of(markers: Iterable[str], fixtures: Iterable[str], folders: Iterable[str]) -> list[str]:
    """Return the tiers that a test belongs to.

    Parameters
    ----------
    markers, fixtures
        Names of the test's markers and of all its fixtures.
    folders
        Names of the folders it lies in.

    Examples
    --------
    >>> tier_of(["service"], ["redis_url", "data_dir"], ["tests", "e2e"])
    ['service(redis)', 'data']
    >>> tier_of([], ["rng"], ["tests", "trainer"])
    ['unit']
    """
    marked, asked = set(markers), set(fixtures)
    tiers: list[str] = [name for name in MARKED if name in marked]
    servers = sorted({server for fixture, server in SERVICES.items() if fixture in asked})
    if servers:
        tiers += [f"service({server})" for server in servers]
    elif "service" in marked:
        tiers.append("service")
    if asked.intersection(DATA_FIXTURES):
        tiers.append("data")
    if not tiers:
        tiers.append("stream" if set(folders).intersection(STREAM_FOLDERS) else "unit")
    return tiers


class TierRecorder:
    """The plug-in that marks tests by their means, and prints at the end which tiers ran."""

    def __init__(self) -> None:
        self.ran: set[str] = set()
        self.skipped: set[str] = set()

    @pytest.hookimpl(tryfirst=True)  # before -m selects by marker
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        for item in items:
            fixtures = getattr(item, "fixturenames", ())
            if not SERVICES.keys().isdisjoint(fixtures):
                item.add_marker("service")
            for fixture in WHEEL_FIXTURES.keys() & set(fixtures):
                item.add_marker(WHEEL_FIXTURES[fixture])
            markers = [mark.name for mark in item.iter_markers()]
            folders = item.nodeid.split("::")[0].split("/")[:-1]
            for tier in tier_of(markers, fixtures, folders):
                item.user_properties.append((PROPERTY, tier))

    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        # The one tier that no provisioning can bring, so never an error.
        if item.get_closest_marker("gpu") is not None and not NVIDIA_DEVICE.exists():
            pytest.skip("no NVIDIA GPU on this machine")

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        tiers = {str(value) for name, value in report.user_properties if name == PROPERTY}
        if report.when == "call" and report.outcome != "skipped":
            self.ran |= tiers
        elif report.when != "teardown" and report.outcome != "passed":
            self.skipped |= tiers

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        terminalreporter.write_line(self.summary())

    def summary(self) -> str:
        """Return the line that names the tiers that ran, and those of which no test did.

        Examples
        --------
        >>> recorder = TierRecorder()
        >>> recorder.ran |= {"service(redis)", "unit", "service(kafka)"}
        >>> recorder.skipped |= {"data", "unit"}
        >>> recorder.summary()
        'tiers: unit service(kafka,redis); without means: data'
        """
        missing = _named(self.skipped - self.ran)
        line = f"tiers: {' '.join(_named(self.ran)) or 'none'}"
        return f"{line}; without means: {' '.join(missing)}" if missing else line


def _named(tiers: Iterable[str]) -> list[str]:
    found = set(tiers)
    servers = sorted(tier[len("service(") : -1] for tier in found if tier.startswith("service("))
    names = found - {f"service({server})" for server in servers}
    if servers:
        names = (names - {"service"}) | {f"service({','.join(servers)})"}
    return sorted(names, key=lambda name: ORDER.index(name.split("(")[0]))
