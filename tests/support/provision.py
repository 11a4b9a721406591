# SPDX-License-Identifier: BSD-3-Clause
"""Make ready what the service tests need: `python -m tests.support.provision [--wheels] [--deployment]`.

Programs that are missing are installed where that needs no question (root, or sudo without a
password, on Debian and its kin); elsewhere the command that installs them is printed and the exit
status is 1. Then the artefacts of Kafka and of the schema registry are fetched into the cache. What
is there already is left alone, so a second run costs a moment, and two may run at once. A server that
is given by its address (`$ASTROM3_TEST_BOOTSTRAP`, `_REDIS`, `_REGISTRY`) needs none of it.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tests.support.artefacts import (
    KAFKA_VERSION,
    REGISTRY_VERSION,
    cache_dir,
    java,
    kafka_classpath,
    kafka_tools_classpath,
    redis_program,
    registry_home,
)
from tests.support.deployment_tools import (
    compose_program,
    helm_program,
    prometheus_program,
    promtool_program,
)
from tests.support.gpu_wheel import gpu_wheel_interpreter
from tests.support.openvino_wheel import openvino_interpreter
from tests.support.process import ServerUnavailableError
from tests.support.tiers import tiers_required

__all__ = ["Need", "install_command", "main", "missing_programs"]

APT_SCRIPT = """\
set -e
exec 9>/run/lock/astrom3-provision && flock 9
# Debian starts a service as soon as it is installed. The tests start their own, on ports of their
# own, so while this runs the start is refused in the way that Debian provides for it.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    trap 'rm -f /usr/sbin/policy-rc.d' EXIT
    printf '#!/bin/sh\\nexit 101\\n' > "$policy" && chmod 755 "$policy"
fi
export DEBIAN_FRONTEND=noninteractive
apt-get -q -o DPkg::Lock::Timeout=600 update || echo "apt-get update failed; trying with the lists there are"
apt-get -q -y -o DPkg::Lock::Timeout=600 install --no-install-recommends "$@"
"""
"""Run by a root shell, with the packages as arguments."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """A program that is missing, why, and the package that brings it."""

    reason: str
    debian: str
    fedora: str
    homebrew: str


JAVA = ("default-jre-headless", "java-21-openjdk-headless", "openjdk")
MAVEN = ("maven", "maven", "maven")
REDIS = ("redis-server", "valkey", "redis")
PROMETHEUS = ("prometheus", "golang-github-prometheus", "prometheus")


def main(arguments: Sequence[str] | None = None) -> int:
    """Provision, and return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.support.provision", description=__doc__)
    parser.add_argument(
        "--wheels",
        action="store_true",
        help="also make the environments with the wheels onnxruntime-gpu and onnxruntime-openvino",
    )
    parser.add_argument(
        "--deployment",
        action="store_true",
        help="also get Prometheus, Helm and the loader of compose files (the last two are built with Go)",
    )
    options = parser.parse_args(arguments)
    needs = missing_programs(deployment=options.deployment)
    if needs:
        for need in needs:
            _say(f"missing: {need.reason}")
        if not _install([need.debian for need in needs], deployment=options.deployment):
            _say(f"install with: {install_command(needs)}")
            return 1
    try:
        _fetch(wheels=options.wheels, deployment=options.deployment)
    except ServerUnavailableError as missing:
        _say(str(missing))
        return 1
    _say("ready for the service tests")
    return 0


def missing_programs(*, deployment: bool = False) -> list[Need]:
    """Return the programs that have to be installed before the servers can be had.

    Parameters
    ----------
    deployment
        Count what checks deployments too.
    """
    kafka, registry = _wants("BOOTSTRAP"), _wants("REGISTRY")
    fetch_kafka = kafka and not os.environ.get("KAFKA_HOME") and not _cached(f"kafka_2.13-{KAFKA_VERSION}")
    fetch_registry = registry and not _cached(f"apicurio-registry-app-{REGISTRY_VERSION}")
    needs = []
    if kafka or registry:
        needs += _without(java, JAVA)
    if (fetch_kafka or fetch_registry) and shutil.which("mvn") is None:
        needs.append(_need("no Maven (mvn), which fetches Kafka and the schema registry", MAVEN))
    if _wants("REDIS"):
        needs += _without(redis_program, REDIS)
    if deployment:
        needs += _without(prometheus_program, PROMETHEUS)
    return needs


def install_command(needs: Sequence[Need]) -> str:
    """Return the command with which a person installs what is missing."""
    if shutil.which("apt-get"):
        packages = " ".join(need.debian for need in needs)
        return f"sudo apt-get update && sudo apt-get install -y {packages}"
    if shutil.which("dnf"):
        return f"sudo dnf install -y {' '.join(need.fedora for need in needs)}"
    if shutil.which("brew"):
        return f"brew install {' '.join(need.homebrew for need in needs)}"
    return f"your package manager, the equivalents of: {' '.join(need.debian for need in needs)}"


def _install(packages: Sequence[str], *, deployment: bool) -> bool:
    prefix = _root_prefix()
    if prefix is None or shutil.which("apt-get") is None:
        return False
    _say(f"installing {' '.join(packages)} with apt-get")
    done = subprocess.run(
        [*prefix, "/bin/sh", "-c", APT_SCRIPT, "provision", *packages],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    still = missing_programs(deployment=deployment)
    if done.returncode != 0 or still:
        _say("\n".join(done.stdout.splitlines()[-15:]))
        for need in still:
            _say(f"still missing: {need.reason}")
        return False
    return True


def _root_prefix() -> list[str] | None:
    if os.geteuid() == 0:
        return []
    sudo = shutil.which("sudo")
    if sudo is None:
        return None
    allowed = subprocess.run([sudo, "-n", "true"], capture_output=True, check=False)
    return [sudo, "-n"] if allowed.returncode == 0 else None


def _fetch(*, wheels: bool, deployment: bool) -> None:
    if _wants("BOOTSTRAP"):
        _timed(f"Kafka {KAFKA_VERSION}", kafka_classpath)
        _timed(f"Kafka's tools {KAFKA_VERSION}", kafka_tools_classpath)
    if _wants("REGISTRY"):
        _timed(f"schema registry {REGISTRY_VERSION}", registry_home)
    if _wants("REDIS"):
        _timed("Redis", redis_program)
    if wheels:
        _timed("environment with onnxruntime-gpu", gpu_wheel_interpreter)
        _timed("environment with onnxruntime-openvino", openvino_interpreter)
    if deployment:
        _timed("promtool", promtool_program)
        _timed_if_possible("Helm", helm_program)
        _timed_if_possible("compose loader", compose_program)


def _timed(what: str, get: Callable[[], object]) -> None:
    _say(f"{what} ...")
    start = time.monotonic()
    place = get()
    _say(f"{what}: {place} ({time.monotonic() - start:.1f} s)")


def _timed_if_possible(what: str, get: Callable[[], object]) -> None:
    """Get what needs Go, which not everybody has: unless its tests are required, they are skipped then."""
    try:
        _timed(what, get)
    except ServerUnavailableError as missing:
        if tiers_required():
            raise
        _say(f"{missing}; the tests that need it are skipped")


def _wants(server: str) -> bool:
    return not os.environ.get(f"ASTROM3_TEST_{server}")


def _cached(name: str) -> bool:
    return (cache_dir() / name).is_dir()


def _without(program: Callable[[], str], packages: tuple[str, str, str]) -> list[Need]:
    try:
        program()
    except ServerUnavailableError as missing:
        return [_need(str(missing), packages)]
    return []


def _need(reason: str, packages: tuple[str, str, str]) -> Need:
    debian, fedora, homebrew = packages
    return Need(reason=reason, debian=debian, fedora=fedora, homebrew=homebrew)


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
