# SPDX-License-Identifier: BSD-3-Clause
from __future__ import annotations

import json
import shutil
import sys
import threading
from collections.abc import Iterator, Sequence
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import onnxruntime
import pytest
from confluent_kafka import Producer

from broker_plugin.bundle import installed_bundles
from broker_plugin.engine.runtime import CUDA_PROVIDER, offered_providers
from broker_plugin.service.diagnosis import CHECKS, Check, Outcome, diagnose
from broker_plugin.settings import Settings
from broker_plugin.streams.embedded import EmbeddedKafka
from tests.broker_plugin.engine.environments import add_distribution, run_python
from tests.support.cluster import KafkaCluster
from tests.support.process import free_ports

DOCTOR = ["-m", "broker_plugin", "doctor"]

SECRET = "hunter2"  # noqa: S105


def found_by(**settings: Any) -> dict[str, Check]:
    """What the doctor finds with these settings, looking for no bundle unless one is named."""
    return {check.name: check for check in diagnose(Settings(**{"bundle": "none-such"} | settings))}


def doctor(arguments: Sequence[str] = (), **machine: Any) -> tuple[int, dict[str, dict[str, str]]]:
    """Run the command, and return its exit status and findings."""
    done = run_python([*DOCTOR, "--json", *arguments], **machine)
    assert done.stderr == ""
    findings = json.loads(done.stdout)
    assert findings["healthy"] == (done.returncode == 0)
    return done.returncode, {check["name"]: check for check in findings["checks"]}


def altered_bundle(folder: Path) -> Path:
    """Make a copy of the default bundle of which one bit of a graph is another."""
    copy = shutil.copytree(installed_bundles()["default"], folder / "altered")
    graph = copy / json.loads((copy / "manifest.json").read_text("utf-8"))["head"]["file"]
    content = bytearray(graph.read_bytes())
    content[len(content) // 2] ^= 1
    graph.write_bytes(content)
    return copy


@pytest.fixture
def no_registry() -> Iterator[str]:
    """Address of a web server that is no schema registry."""

    class Answers404(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_error(404)

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Answers404) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_a_machine_that_is_well_is_found_well() -> None:
    status, checks = doctor()
    assert status == 0
    assert list(checks) == [name for name, _, _ in CHECKS]
    assert {check["outcome"] for check in checks.values()} <= {"ok", "note", "skipped"}
    for name in ("python", "onnx runtime", "cpu", "device", "bundle", "graphs"):
        assert checks[name]["outcome"] == "ok"
    assert "GFLOP/s" in checks["cpu"]["found"]
    assert "fp32" in checks["cpu"]["found"]


def test_the_table_names_every_check_and_ends_with_the_sum() -> None:
    done = run_python([*DOCTOR, "--bundle", "none-such", "--store", "redis://127.0.0.1:9"])
    assert done.returncode == 1
    assert done.stderr == ""
    for name, _, _ in CHECKS:
        assert f" {name} " in done.stdout
    assert "-> start it, or correct its address" in done.stdout
    assert done.stdout.rstrip().endswith("failed: bundle, store")


def test_an_altered_bundle_fails_and_its_graphs_are_not_run(tmp_path: Path) -> None:
    checks = found_by(bundle=str(altered_bundle(tmp_path)))
    assert checks["bundle"].outcome is Outcome.FAILED
    assert "SHA-256" in checks["bundle"].found
    assert checks["graphs"] == Check(name="graphs", outcome=Outcome.SKIPPED, found="needs bundle")


def test_nothing_that_was_not_asked_for_fails() -> None:
    failed = {name for name, check in found_by().items() if check.outcome is Outcome.FAILED}
    assert failed == {"bundle"}


@pytest.mark.skipif(CUDA_PROVIDER in offered_providers(), reason="this is about the wheels without CUDA")
def test_cuda_fails_only_if_it_was_asked_for() -> None:
    asked, not_asked = found_by(device="cuda"), found_by(device="auto")
    assert asked["cuda"].outcome is Outcome.FAILED
    assert "astrom3-broker[gpu]" in asked["cuda"].remedy
    assert asked["device"].outcome is Outcome.SKIPPED
    assert asked["cpu"].outcome is Outcome.OK
    assert not_asked["cuda"].outcome is Outcome.SKIPPED
    assert not_asked["cuda"].found == asked["cuda"].found
    assert "auto took cpu" in not_asked["device"].found


def test_a_cluster_that_is_there_is_told_with_its_topics() -> None:
    with EmbeddedKafka() as cluster:
        bootstrap = cluster.address.bootstrap
        producer = Producer({"bootstrap.servers": bootstrap})
        producer.produce("alerts", b"x")
        assert producer.flush(10) == 0
        there = found_by(bootstrap=bootstrap, input="alerts", output="verdicts")
        absent = found_by(bootstrap=bootstrap, input="alerts,tomorrow")
    assert there["input"].outcome is Outcome.OK
    assert "alerts: 4 partitions" in there["input"].found
    # An output may be made when it is first written, an input may not.
    assert there["output"].outcome is Outcome.NOTE
    assert "verdicts: no partitions" in there["output"].found
    assert absent["input"].outcome is Outcome.FAILED
    assert "tomorrow: no partitions" in absent["input"].found
    assert "--input" in absent["input"].remedy
    assert absent["output"].outcome is Outcome.SKIPPED


def test_servers_that_are_not_there_fail_with_what_to_do() -> None:
    kafka, registry = free_ports(2)
    status, checks = doctor(
        [
            *("--bootstrap", f"127.0.0.1:{kafka}", "--input", "alerts", "--output", "verdicts"),
            *("--registry", f"http://127.0.0.1:{registry}", "--bundle", "none-such"),
        ]
    )
    assert status == 1
    for name in ("input", "output", "output registry"):
        assert checks[name]["outcome"] == "failed"
        assert checks[name]["remedy"]
    assert checks["input registry"]["outcome"] == "skipped"


def test_a_web_server_is_not_taken_for_a_registry(no_registry: str) -> None:
    checks = found_by(input_registry=no_registry, registry="mock://here")
    assert checks["input registry"].outcome is Outcome.FAILED
    assert "HTTP 404" in checks["input registry"].found
    assert checks["output registry"].outcome is Outcome.OK


def test_schemas_are_looked_for_where_they_can_be_had(tmp_path: Path) -> None:
    schema = {
        "type": "record",
        "name": "alert",
        "namespace": "lsst.v9_0",
        "fields": [{"name": "x", "type": "int"}],
    }
    (tmp_path / "any.avsc").write_text(json.dumps(schema))
    found = found_by(survey="lsst", schemas=tmp_path)["schemas"]
    assert found.outcome is Outcome.OK
    assert "900" in found.found
    missing = found_by(survey="lsst", schemas=tmp_path / "absent")["schemas"]
    assert missing.outcome is Outcome.FAILED
    assert "--schemas" in missing.remedy
    assert found_by(survey="ztf")["schemas"].outcome is Outcome.SKIPPED


def test_settings_are_held_against_what_a_run_demands() -> None:
    whole = {
        "survey": "ztf",
        "bootstrap": f"127.0.0.1:{free_ports(1)[0]}",
        "input": "alerts",
        "output": "verdicts",
        "dead_letters": "dead",
        "group": "filter",
    }
    assert found_by()["settings"].outcome is Outcome.SKIPPED
    assert found_by(**whole)["settings"].outcome is Outcome.OK
    part = found_by(**{name: value for name, value in whole.items() if name != "group"})["settings"]
    assert part.outcome is Outcome.NOTE
    assert part.found.endswith(": --group")
    contradictory = found_by(**whole | {"output": "alerts"})["settings"]
    assert contradictory.outcome is Outcome.FAILED
    assert "--input" in contradictory.remedy


def test_two_wheels_are_found_and_the_rest_is_still_looked_at(tmp_path: Path) -> None:
    other = "onnxruntime-gpu" if CUDA_PROVIDER not in offered_providers() else "onnxruntime"
    status, checks = doctor(paths=[add_distribution(tmp_path, other, "1.31.1")])
    assert status == 1
    assert checks["onnx runtime"]["outcome"] == "failed"
    assert f"{other} 1.31.1" in checks["onnx runtime"]["found"]
    assert "pip uninstall" in checks["onnx runtime"]["remedy"]
    for name in ("cpu", "cuda", "device", "graphs"):
        assert checks[name]["outcome"] == "skipped"
    assert checks["bundle"]["outcome"] == "ok"


def test_without_a_wheel_the_three_to_choose_from_are_named(tmp_path: Path) -> None:
    site = Path(onnxruntime.__file__).parents[1]
    for entry in site.iterdir():
        if not entry.name.startswith("onnxruntime"):
            (tmp_path / entry.name).symlink_to(entry)
    done = run_python(["-S", *DOCTOR, "--json"], paths=[tmp_path])
    assert done.returncode == 1, done.stderr
    checks = {check["name"]: check for check in json.loads(done.stdout)["checks"]}
    assert checks["onnx runtime"]["found"] == "ONNX Runtime is not installed"
    for extra in ("cpu", "gpu", "openvino"):
        assert f"astrom3-broker[{extra}]" in checks["onnx runtime"]["remedy"]


def test_what_is_secret_in_the_settings_is_not_told(tmp_path: Path) -> None:
    config = tmp_path / "run.toml"
    config.write_text(
        f'bootstrap = "127.0.0.1:{free_ports(1)[0]}"\ninput = "alerts"\nbundle = "none-such"\n'
        f'registry = "http://me:{SECRET}@127.0.0.1:{free_ports(1)[0]}"\n'
        f'[kafka.source]\nsecurity_protocol = "SASL_PLAINTEXT"\nsasl_mechanism = "PLAIN"\n'
        f'sasl_username = "me"\nsasl_password = "{SECRET}"\n'
    )
    done = run_python([*DOCTOR, "--config", str(config)])
    assert done.returncode == 1
    assert "failed" in done.stdout
    assert SECRET not in done.stdout + done.stderr


def test_settings_that_do_not_fit_stop_the_doctor_as_they_stop_a_run(tmp_path: Path) -> None:
    config = tmp_path / "run.toml"
    config.write_text('devise = "cpu"\n')
    done = run_python([*DOCTOR, "--config", str(config)])
    assert done.returncode == 2
    assert "did you mean 'device'?" in done.stderr


@pytest.mark.service
def test_real_servers_are_found_well(kafka_broker: KafkaCluster, registry_url: str) -> None:
    checks = found_by(
        bootstrap=kafka_broker.bootstrap, input="^.*", registry=registry_url, input_registry=registry_url
    )
    for name in ("output registry", "input registry"):
        assert checks[name].outcome is Outcome.OK
    assert "brokers at" in checks["input"].found


@pytest.mark.gpu_wheel
def test_the_cuda_wheel_without_a_gpu_is_seen_through(gpu_wheel_python: Path) -> None:
    if sys.platform == "linux" and Path("/dev/nvidiactl").exists():
        pytest.skip("this machine has an NVIDIA driver; see the gpu tier")
    status, checks = doctor(interpreter=gpu_wheel_python)
    assert status == 0
    assert "CUDAExecutionProvider" in checks["onnx runtime"]["found"]  # the wheel's word
    assert checks["cuda"]["outcome"] == "skipped"
    assert "libcuda.so.1 is missing" in checks["cuda"]["found"]  # the truth
    assert checks["device"]["found"].startswith("cpu: auto took cpu: no NVIDIA driver")
    assert "CPUExecutionProvider" in checks["graphs"]["found"]
    # Rubin's schema package is not in that environment, and nothing there asks for it.
    assert checks["schemas"]["outcome"] == "note"
    assert "astrom3-broker[lsst-schemas]" in checks["schemas"]["remedy"]


@pytest.mark.gpu_wheel
def test_cuda_that_was_asked_for_and_cannot_be_had_fails(gpu_wheel_python: Path) -> None:
    if sys.platform == "linux" and Path("/dev/nvidiactl").exists():
        pytest.skip("this machine has an NVIDIA driver; see the gpu tier")
    status, checks = doctor(["--device", "cuda", "--survey", "lsst"], interpreter=gpu_wheel_python)
    assert status == 1
    failed = {name for name, check in checks.items() if check["outcome"] == "failed"}
    assert failed == {"cuda", "schemas"}
    assert "nvidia-smi" in checks["cuda"]["remedy"]
    assert checks["graphs"]["outcome"] == "skipped"


@pytest.mark.gpu
def test_a_gpu_is_found_and_the_graphs_run_on_it() -> None:
    status, checks = doctor(["--device", "cuda"])
    assert status == 0
    assert checks["cuda"]["outcome"] == "ok"
    assert CUDA_PROVIDER in checks["graphs"]["found"]
