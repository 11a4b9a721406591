# SPDX-License-Identifier: BSD-3-Clause
from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.artefacts import KAFKA_VERSION, REGISTRY_VERSION, REPOSITORY
from tests.support.provision import install_command, missing_programs
from tests.support.tiers import unavailable

COMMAND = [sys.executable, "-m", "tests.support.provision"]


def bare(folder: Path) -> dict[str, str]:
    return {
        "PATH": str(folder),
        "HOME": os.environ.get("HOME", "/"),
        "ASTROM3_TEST_CACHE": str(folder / "cache"),
    }


def test_what_is_missing_is_named_with_the_command_that_installs_it(tmp_path: Path) -> None:
    done = subprocess.run(
        COMMAND, cwd=REPOSITORY, env=bare(tmp_path), capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    for word in (
        "no Java",
        "no Maven",
        "no Redis",
        "install with:",
        "default-jre-headless maven redis-server",
    ):
        assert word in done.stdout


@pytest.mark.parametrize(
    ("manager", "command"),
    [
        ("apt-get", "sudo apt-get update && sudo apt-get install -y default-jre-headless maven redis-server"),
        ("dnf", "sudo dnf install -y java-21-openjdk-headless maven valkey"),
        ("brew", "brew install openjdk maven redis"),
    ],
)
def test_the_command_is_that_of_the_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, manager: str, command: str
) -> None:
    program = tmp_path / manager
    program.write_text("#!/bin/sh\nexit 1\n")
    program.chmod(0o755)
    for name in (
        "JAVA_HOME",
        "KAFKA_HOME",
        *(f"ASTROM3_TEST_{one}" for one in ("BOOTSTRAP", "REDIS", "REGISTRY")),
    ):
        monkeypatch.delenv(name, raising=False)
    for name, value in bare(tmp_path).items():
        monkeypatch.setenv(name, value)
    assert install_command(missing_programs()) == command


def test_given_servers_need_nothing(tmp_path: Path) -> None:
    given = {f"ASTROM3_TEST_{name}": "given" for name in ("BOOTSTRAP", "REDIS", "REGISTRY")}
    environment = {**bare(tmp_path), **given}
    done = subprocess.run(
        COMMAND, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "ready for the service tests\n")


@pytest.mark.parametrize("required", ["", "1"])
def test_without_go_the_tests_of_deployments_are_skipped_unless_they_are_required(
    tmp_path: Path, required: str
) -> None:
    for name in ("prometheus", "promtool"):
        program = tmp_path / name
        program.write_text("#!/bin/sh\n")
        program.chmod(0o755)
    given = {f"ASTROM3_TEST_{name}": "given" for name in ("BOOTSTRAP", "REDIS", "REGISTRY")}
    environment = {**bare(tmp_path), **given, "ASTROM3_REQUIRE_TIERS": required}
    done = subprocess.run(
        [*COMMAND, "--deployment"],
        cwd=REPOSITORY,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "no Go, which builds helm" in done.stdout
    assert done.returncode == (1 if required else 0)


@pytest.mark.service
def test_two_runs_at_once_fill_one_cache(tmp_path: Path) -> None:
    if missing_programs():
        unavailable("java, mvn or redis-server is missing; run python -m tests.support.provision")
    environment = {**os.environ, "ASTROM3_TEST_CACHE": str(tmp_path)}
    runs = [
        subprocess.Popen(COMMAND, cwd=REPOSITORY, env=environment, stdout=subprocess.PIPE, text=True)
        for _ in "ab"
    ]
    outputs = [run.communicate()[0] for run in runs]
    assert [run.returncode for run in runs] == [0, 0], outputs
    kafka, registry = (
        tmp_path / f"kafka_2.13-{KAFKA_VERSION}",
        tmp_path / f"apicurio-registry-app-{REGISTRY_VERSION}",
    )
    assert (kafka / f"kafka_2.13-{KAFKA_VERSION}.jar").stat().st_size > 0
    assert (registry / f"apicurio-registry-app-{REGISTRY_VERSION}-runner.jar").stat().st_size > 0
    assert {path.name for path in tmp_path.iterdir()} == {
        "locks",
        kafka.name,
        f"kafka-tools-{KAFKA_VERSION}",
        registry.name,
    }
