# SPDX-License-Identifier: BSD-3-Clause
"""What images are made of is pinned and unprivileged, and what they install runs from a read-only root.

The steps are those of the Dockerfile. The images themselves are not built: that takes a container engine.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.deploy.container_image import (
    DOCKERFILE,
    build_context,
    confined,
    environment_of,
    lineage,
    stages,
    take_steps,
)
from tests.e2e.service import Topics, as_records, stop_in_order, ztf_packets
from tests.support.artefacts import REPOSITORY
from tests.support.kafka import KafkaCluster
from tests.support.process import ServerProcess, free_ports

FINAL = ("cpu", "cuda")
LARGEST_MB = 700
"""Of the installed environment, on top of the base image: llvmlite and pyarrow are half of it."""

TEMPORARY = "/" + "tmp"
"""The one place that the images write to."""

NAMES = (
    "import importlib.metadata as m; print(*(f'{d.name.lower()}=={d.version}' for d in m.distributions()))"
)


@dataclass(frozen=True, slots=True)
class Installed:
    """What the steps of the CPU image have made, in a root of its own."""

    root: Path
    variables: dict[str, str]

    @property
    def python(self) -> str:
        return str(self.root / "opt/astrom3/bin/python")

    @property
    def program(self) -> str:
        return str(self.root / "opt/astrom3/bin/broker-plugin")

    def environment(self, scratch: Path) -> dict[str, str]:
        """Return the image's environment, with a scratch folder for its `/tmp`."""
        image = {name: value.replace(TEMPORARY, str(scratch)) for name, value in self.variables.items()}
        ours = {name: "" for name in os.environ if name.startswith(("ASTROM3_", "PYTHON"))}
        return {**ours, **image, "TMPDIR": str(scratch), "OMP_NUM_THREADS": "1"}


@pytest.fixture(scope="module")
def installed() -> Iterator[Installed]:
    # Not among pytest's own folders: those are closed to other users.
    with tempfile.TemporaryDirectory(prefix="astrom3-image-") as name:
        root = Path(name)
        root.chmod(0o755)
        context = build_context(root / "context")
        (root / "src").mkdir()
        take_steps("build-cpu", context, root=root)
        yield Installed(root, environment_of("cpu"))


@pytest.fixture
def scratch(installed: Installed) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="scratch-", dir=installed.root) as name:
        Path(name).chmod(0o777)
        yield Path(name)


def test_the_installed_environment_is_small_and_holds_nothing_of_ours_that_is_not_meant(
    installed: Installed,
) -> None:
    target = installed.root / "opt/astrom3"
    megabytes = sum(path.lstat().st_size for path in target.rglob("*")) / 1e6
    assert megabytes < LARGEST_MB
    assert not (target / "bin/pip").exists()
    assert not (target / "bin/uv").exists()
    sent = {path.name for path in (installed.root / "context").iterdir()}
    wanted = {
        "broker_plugin",
        "constraints.txt",
        "deploy",
        "export",
        "LICENSE",
        "pyproject.toml",
        "README.md",
        "trainer",
    }
    assert sent == wanted
    assert {path.name for path in (installed.root / "context/deploy").rglob("*")} == {"docker", "install.sh"}


def test_versions_are_those_of_the_constraints(installed: Installed) -> None:
    done = subprocess.run([installed.python, "-c", NAMES], capture_output=True, text=True, check=True)
    found = {re.sub(r"[-_.]+", "-", one) for one in done.stdout.split()}
    pins = {re.sub(r"[-_.]+", "-", one) for one in (REPOSITORY / "constraints.txt").read_text().split("\n")}
    assert {one for one in found if not one.startswith("astrom3-broker")} <= pins


def test_the_doctor_is_content_without_rights_and_with_a_read_only_root(
    installed: Installed, scratch: Path
) -> None:
    done = subprocess.run(
        confined([installed.program, "doctor", "--json"], scratch=scratch),
        env=installed.environment(scratch),
        capture_output=True,
        text=True,
        check=False,
    )
    findings = {check["name"]: check for check in json.loads(done.stdout)["checks"]}
    assert done.returncode == 0, done.stdout
    assert findings["kernels"]["outcome"] == "ok", findings["kernels"]
    assert "onnxruntime" in findings["onnx runtime"]["found"]


def test_the_service_runs_so_and_its_health_check_says_so(
    installed: Installed,
    scratch: Path,
    tmp_path: Path,
    kafka_broker: KafkaCluster,
    topic: Callable[[str], str],
    data_dir: Path,
) -> None:
    topics = Topics(kafka_broker, topic)
    packets = sorted(ztf_packets(data_dir), key=len)[:20]
    kafka_broker.produce(topics.input, as_records(packets))
    (port,) = free_ports(1)
    settings = {
        "ASTROM3_SURVEY": "ztf",
        "ASTROM3_BOOTSTRAP": kafka_broker.bootstrap,
        "ASTROM3_INPUT": topics.input,
        "ASTROM3_OUTPUT": topics.output,
        "ASTROM3_DEAD_LETTERS": topics.dead_letters,
        "ASTROM3_GROUP": topics.group,
        "ASTROM3_METRICS_PORT": str(port),
        "ASTROM3_METRICS_HOST": "127.0.0.1",
    }
    (start,), (how,) = stages()["service"].of("ENTRYPOINT"), stages()["service"].of("CMD")
    assert json.loads(start) == ["broker-plugin"]
    process = ServerProcess(
        "the image's command",
        confined([installed.program, *json.loads(how)], scratch=scratch),
        log_path=tmp_path / "run.log",
        environment={**installed.environment(scratch), **settings, "XDG_RUNTIME_DIR": ""},
    )
    process.start()
    try:
        process.wait_ready(lambda: topics.outputs() == len(packets), timeout_s=90.0)
        (check,) = stages()["service"].of("HEALTHCHECK")
        words = json.loads(check.partition("CMD ")[2])
        assert words[0] == "python"
        asked, where = [installed.python, *words[1:]], {"ASTROM3_METRICS_PORT": str(port)}
        assert subprocess.run(asked, env=where, check=False).returncode == 0
        assert stop_in_order(process) == 0
        assert subprocess.run(asked, env=where, check=False, capture_output=True).returncode != 0
    finally:
        process.kill()


def test_bases_are_plain_names_with_pinned_tags() -> None:
    every = stages()
    (default,) = (one.partition("=")[2] for one in every[""].of("ARG"))
    assert re.fullmatch(r"[a-z]+:\d+\.\d+\.\d+-[a-z-]+", default)
    for stage in list(every.values())[1:]:
        assert stage.base in {*every, "${PYTHON_IMAGE}"}


@pytest.mark.parametrize("name", FINAL)
def test_an_image_has_no_rights_and_no_build_tools(name: str) -> None:
    line = list(lineage(name))
    last = line[-1]
    assert [one.name for one in last.instructions][-1] == "USER"
    user, _, group = last.of("USER")[-1].partition(":")
    assert int(user) > 0
    assert int(group) > 0
    assert not any("install.sh" in run for stage in line for run in stage.of("RUN"))
    (copied,) = last.of("COPY")
    assert copied == f"--from=build-{name} /opt/astrom3 /opt/astrom3"
    told = environment_of(name)
    assert told["OMP_NUM_THREADS"] == "1"
    assert told.get("ASTROM3_DEVICE", "auto") == ("cuda" if name == "cuda" else "auto")


def test_each_image_has_its_own_runtime_and_kernels_are_for_the_same_processors() -> None:
    assert environment_of("build-cpu")["EXTRAS"] == "cpu"
    assert environment_of("build-cuda")["EXTRAS"] == "gpu"
    names = ("NUMBA_CPU_NAME", "NUMBA_CPU_FEATURES")
    assert (
        len({tuple(environment_of(one)[name] for name in names) for one in ("build-cpu", "cpu", "cuda")}) == 1
    )


def test_what_is_copied_is_there_and_sent(tmp_path: Path) -> None:
    context = build_context(tmp_path)
    for stage in stages().values():
        for copied in stage.of("COPY"):
            if copied.startswith("--from"):
                continue
            for source in copied.split()[:-1]:
                assert (context / source).exists(), source


def test_the_install_script_explains_itself() -> None:
    script = DOCKERFILE.with_name("install.sh")
    done = subprocess.run([script], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "usage: install.sh dependencies DIR" in done.stderr
