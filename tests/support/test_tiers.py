# SPDX-License-Identifier: BSD-3-Clause
"""The tiers' rules, seen from outside: pytest is run on small files, on a machine without servers."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.artefacts import REPOSITORY
from tests.support.kafka import KafkaCluster

NEEDS_REDIS = "def test_redis(redis_url): assert redis_url.startswith('redis://')\n"
NEEDS_REGISTRY = "def test_registry(registry_url): assert registry_url.endswith('/v7')\n"
NEEDS_DATA = "def test_data(data_dir): assert (data_dir / 'alerts').is_dir()\n"
NEEDS_NOTHING = (
    "def test_rng(rng): assert rng.random() == rng.__class__(type(rng.bit_generator)({seed})).random()\n"
)
NEEDS_A_MOUNT = """
from tests.support.small_disk import small_disk
def test_disk(tmp_path):
    with small_disk(tmp_path / "disk", size_mb=1): pass
"""
NEEDS_A_COMPILER = """
from tests.broker_plugin.engine.environments import driver_library
def test_driver(tmp_path): driver_library(tmp_path)
"""
NEEDS_KAFKA = """
def test_kafka(kafka_broker, topic):
    name = kafka_broker.create_topic(topic("alerts"))
    kafka_broker.produce(name, [(b"a", b"b", [])])
    assert len(kafka_broker.consume_all(name, expected=1)) == 1
"""


def run_pytest(
    folder: Path, code: str, *arguments: str, **environment: str
) -> subprocess.CompletedProcess[str]:
    folder.joinpath("test_it.py").write_text(code)
    bare = {"PATH": str(folder), "HOME": os.environ.get("HOME", "/"), "ASTROM3_DATA": str(folder / "none")}
    command = [sys.executable, "-m", "pytest", "-c", "pyproject.toml", "-p", "tests.conftest"]
    return subprocess.run(
        [*command, "-p", "no:cacheprovider", "-rs", *arguments, str(folder / "test_it.py")],
        cwd=REPOSITORY,
        env={**bare, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("code", "tier", "advice"),
    [
        (NEEDS_REDIS, "service(redis)", "ASTROM3_TEST_REDIS"),
        (NEEDS_DATA, "data", "ASTROM3_DATA"),
    ],
    ids=["redis", "data"],
)
def test_missing_means_skip_here_and_fail_in_ci(tmp_path: Path, code: str, tier: str, advice: str) -> None:
    here = run_pytest(tmp_path, code)
    assert here.returncode == 0, here.stdout
    assert "1 skipped" in here.stdout
    assert advice in here.stdout
    assert f"tiers: none; without means: {tier}\n" in here.stdout
    for variable in ({"CI": "true"}, {"ASTROM3_REQUIRE_TIERS": "1"}):
        required = run_pytest(tmp_path, code, **variable)
        assert required.returncode == 1, required.stdout
        assert "1 error" in required.stdout
        assert "a required tier is missing" in required.stdout
        assert advice in required.stdout


@pytest.mark.parametrize("code", [NEEDS_A_MOUNT, NEEDS_A_COMPILER], ids=["mount", "compiler"])
def test_programs_that_a_test_asks_for_itself_are_required_in_ci_too(tmp_path: Path, code: str) -> None:
    assert "1 skipped" in run_pytest(tmp_path, code).stdout
    required = run_pytest(tmp_path, code, CI="true")
    assert required.returncode == 1, required.stdout
    assert "a required tier is missing" in required.stdout


def test_a_server_that_is_given_but_absent_is_named(tmp_path: Path) -> None:
    done = run_pytest(tmp_path, NEEDS_REDIS, CI="true", ASTROM3_TEST_REDIS="redis://127.0.0.1:1/0")
    assert done.returncode == 1
    assert "no Redis at ASTROM3_TEST_REDIS=redis://127.0.0.1:1/0" in done.stdout


def test_a_test_is_of_the_service_tier_by_its_fixtures(tmp_path: Path) -> None:
    done = run_pytest(tmp_path, NEEDS_REDIS + NEEDS_NOTHING.format(seed=20_241_108), "-m", "not service")
    assert done.returncode == 0, done.stdout
    assert "1 passed, 1 deselected" in done.stdout
    assert "tiers: unit\n" in done.stdout


def test_a_gpu_test_without_a_gpu_is_skipped_even_in_ci(tmp_path: Path) -> None:
    code = "import pytest\n@pytest.mark.gpu\ndef test_gpu(): pass\n"
    done = run_pytest(tmp_path, code, "-m", "gpu", CI="true")
    assert done.returncode == 0, done.stdout
    there = Path("/dev/nvidiactl").exists()
    assert ("tiers: gpu\n" if there else "tiers: none; without means: gpu\n") in done.stdout


def test_given_servers_need_no_programs(
    tmp_path: Path, kafka_broker: KafkaCluster, redis_url: str, registry_url: str
) -> None:
    done = run_pytest(
        tmp_path,
        NEEDS_KAFKA + NEEDS_REDIS + NEEDS_REGISTRY,
        CI="true",
        ASTROM3_TEST_BOOTSTRAP=kafka_broker.bootstrap,
        ASTROM3_TEST_REDIS=redis_url,
        ASTROM3_TEST_REGISTRY=registry_url,
    )
    assert done.returncode == 0, done.stdout
    assert "3 passed" in done.stdout
    assert "tiers: service(kafka,redis,registry)\n" in done.stdout
