# SPDX-License-Identifier: BSD-3-Clause
"""Every command of the guide for subscribers runs as it stands, from `pip install` on."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from broker_plugin.client.opening import reading_address
from broker_plugin.codec.topic_schema import topic_schema
from broker_plugin.codec.verdict import Verdict, encode_container
from broker_plugin.engine.scorer import Scorer
from broker_plugin.pipeline.alert_files import read_alerts
from broker_plugin.pipeline.routing import candidate_record
from broker_plugin.service.settings_sources import load_settings
from tests.e2e.service import as_records
from tests.support.artefacts import REPOSITORY
from tests.support.cluster import KafkaCluster
from tests.support.environments import core_requirements, interpreter_of
from tests.support.guides import blocks
from tests.support.process import ServerUnavailableError
from tests.support.receiver import Receiver
from tests.support.tiers import unavailable

PAGE = REPOSITORY / "deploy/docs/subscribing.md"

WATCHED = "ztf:ZTF18abcsatf"
"""On the page's watch list, and strange."""

QUIET_S = 2
"""In place of the page's five seconds: nothing more comes on these topics."""

GUIDE_S = 600.0
"""Longest wait for all commands of the page: each reads until nothing has come for seconds."""

pytestmark = [pytest.mark.hosts, pytest.mark.timeout(GUIDE_S + 300.0)]


@pytest.fixture(scope="module")
def interpreter() -> Path:
    """Python of an environment with what `pip install .` needs, but for the package; no onnxruntime."""
    try:
        return interpreter_of("guide-subscriber", core_requirements())
    except ServerUnavailableError as missing:
        unavailable(str(missing))


@pytest.fixture
def verdicts(
    data_dir: Path, kafka_broker: KafkaCluster, topic: Callable[[str], str]
) -> tuple[dict[str, str], list[Verdict]]:
    """Verdicts and candidates of real alerts on topics, and what stands for the names on the page."""
    every = enumerate(read_alerts(data_dir / "alerts/ztf/nocutouts.avro"))
    alerts = [alert for number, alert in every if number % 16 == 0 or alert.object_id == WATCHED]
    found = Scorer.open("default", device="cpu").score(alerts, received_at=datetime.now(UTC))
    names = {name: kafka_broker.create_topic(topic(name)) for name in ("verdicts", "candidates")}
    kafka_broker.produce(names["verdicts"], as_records(map(encode_container, found)))
    encode = topic_schema("candidate.v1").container
    kafka_broker.produce(
        names["candidates"],
        as_records(encode(candidate_record("strange", v, a)) for v, a in zip(found, alerts, strict=True)),
    )
    return {"localhost:9092": kafka_broker.bootstrap, **names}, found


def meant(text: str, names: dict[str, str]) -> str:
    """Return a block with the names of the test."""
    text = text.replace("localhost:9092", names["localhost:9092"])
    text = text.replace("--timeout-s 5", f"--timeout-s {QUIET_S}").replace(
        "timeout_s=5.0", f"timeout_s={QUIET_S}"
    )
    for role in ("verdicts", "candidates"):
        text = text.replace(f"--topic {role}", f"--topic {names[role]}").replace(
            f'"{role}"', f'"{names[role]}"'
        )
    return text


def test_the_page_can_be_typed(
    interpreter: Path, verdicts: tuple[dict[str, str], list[Verdict]], tmp_path: Path
) -> None:
    names, sent = verdicts
    for name in ("pyproject.toml", "README.md", "LICENSE", "broker_plugin", "trainer", "export", "deploy"):
        (tmp_path / name).symlink_to(REPOSITORY / name)
    steps = [meant(block, names) for block in blocks(PAGE, "sh")]
    with Receiver() as receiver:
        script = "\n".join(steps).replace("http://localhost:8080/hook", receiver.url)
        script = script.replace("follow_up.py ", f"follow_up.py --topic {names['verdicts']} ")
        done = run(interpreter, script, tmp_path, names)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-5000:]
    assert "is forgotten" not in done.stderr
    strange = {v.verdict_id for v in sent if v.anomaly_p_value <= 0.05}
    assert {body["verdict"]["verdict_id"] for body in receiver.taken} == strange != set()
    assert {posted.headers["Authorization"] for posted in receiver.posted} == {"Bearer our-secret"}
    with (tmp_path / "targets.csv").open() as file:
        targets = list(csv.DictReader(file))
    assert {row["object"] for row in targets} == {WATCHED}
    page = (tmp_path / "strangest.html").read_text()
    strangest = min((v for v in sent if v.source_context == "stellar"), key=lambda v: v.anomaly_p_value)
    assert f"{len({v.object_id for v in sent if v.source_context == 'stellar'})} stars" in page
    assert strangest.object_id in page
    assert page.count("data:image/png") >= 2
    check_python(interpreter, names, sent, tmp_path)


def check_python(interpreter: Path, names: dict[str, str], sent: list[Verdict], folder: Path) -> None:
    (block,) = blocks(PAGE, "python")
    (folder / "script.py").write_text(meant(block, names))
    done = run(interpreter, "python script.py", folder, names)
    assert done.returncode == 0, done.stderr
    assert "is forgotten" not in done.stdout + done.stderr
    assert "rights_unknown" not in done.stdout  # what is logged is not what is shown
    shown = [line.split()[0] for line in done.stdout.splitlines()]
    assert WATCHED in shown
    assert set(shown) <= {v.object_id for v in sent if v.anomaly_p_value <= 0.5}


def test_the_settings_let_a_subscriber_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (block,) = blocks(PAGE, "toml")
    (tmp_path / "password").write_text("only-we-know\n")
    (tmp_path / "kafka.toml").write_text(block)
    address = reading_address(load_settings({}, config=tmp_path / "kafka.toml"), "localhost:9092")
    assert address.resolved()["sasl.username"] == "me"
    assert address.resolved()["sasl.password"] == "only-we-know"


def run(
    interpreter: Path, script: str, folder: Path, names: dict[str, str]
) -> subprocess.CompletedProcess[str]:
    """Run lines of a shell as a subscriber would; `pip` is uv's, which works in any environment."""
    pip = f'pip() {{ command "{sys.executable}" -m uv pip "$@" --quiet --python "{interpreter}"; }}'
    inherited = {
        n: v for n, v in os.environ.items() if not n.startswith(("PYTHON", "VIRTUAL_ENV", "ASTROM3_"))
    }
    variables = {
        "PATH": f"{interpreter.parent}{os.pathsep}{os.environ['PATH']}",
        "OMP_NUM_THREADS": "1",
        "TOPIC": names["verdicts"],
        "CANDIDATES": names["candidates"],
        **dict.fromkeys(
            ("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "MPLCONFIGDIR"), str(folder)
        ),
    }
    return subprocess.run(
        ["bash", "-euo", "pipefail", "-c", f"{pip}\n{script}"],
        cwd=folder,
        env=inherited | variables,
        capture_output=True,
        text=True,
        check=False,
        timeout=GUIDE_S,
    )


def test_the_notebook_says_that_no_candidate_came(
    kafka_broker: KafkaCluster, topic: Callable[[str], str], tmp_path: Path
) -> None:
    pytest.importorskip("matplotlib")
    names = {name: kafka_broker.create_topic(topic(name.lower())) for name in ("TOPIC", "CANDIDATES")}
    cells = json.loads((REPOSITORY / "deploy/examples/strangest.ipynb").read_text("utf-8"))["cells"]
    code = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    (tmp_path / "notebook.py").write_text(code.replace('"timeout_s": 5.0', '"timeout_s": 1.0'))
    done = subprocess.run(
        [sys.executable, str(tmp_path / "notebook.py")],
        env=os.environ | names | {"BOOTSTRAP": kafka_broker.bootstrap, "MPLBACKEND": "Agg"},
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines() == ["0 stars", "no candidate came in the last day"]


@pytest.mark.parametrize("name", ["strangest.ipynb"])
def test_a_notebook_holds_no_outputs(name: str) -> None:
    cells = json.loads((REPOSITORY / "deploy/examples" / name).read_text("utf-8"))["cells"]
    assert all(not cell.get("outputs") and cell.get("execution_count") is None for cell in cells)
