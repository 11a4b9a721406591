# SPDX-License-Identifier: BSD-3-Clause
"""The service against a Kafka with TLS, passwords, certificates, tokens and ACLs: let in, and turned away."""

from __future__ import annotations

import base64
import json
import subprocess
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from broker_plugin.streams.kafka_client import REFUSED_AT_START_S
from tests.e2e.conftest import StartRun
from tests.e2e.service import (
    READY_S,
    Topics,
    as_records,
    broker_plugin_command,
    environment,
    events,
    stop_in_order,
    verdict_of,
    wait_for_outputs,
    ztf_packets,
)
from tests.support.artefacts import REPOSITORY
from tests.support.process import ServerProcess, wait_until
from tests.support.secure_kafka import SecureKafka

ACLS = REPOSITORY / "deploy/kafka/acls.sh"
CONFIGURATION, TRY_AGAIN = 2, 75
KEY_PASSWORD = "of the key"  # noqa: S105
JUNK = (b"", b"junk", [])

Name = Callable[[str], str]


def write_config(
    path: Path, topics: Topics, source: Mapping[str, str], sink: Mapping[str, str], **settings: Any
) -> Path:
    """Write the settings of a run."""
    values = {
        "survey": "ztf",
        "bootstrap": topics.cluster.bootstrap,
        "input": topics.input,
        "output": topics.output,
        "dead_letters": topics.dead_letters,
        "group": topics.group,
        **settings,
    }
    lines = [f"{name} = {json.dumps(value)}" for name, value in values.items()]
    for table, properties in (("source", source), ("sink", sink)):
        lines += [f"[kafka.{table}]", *(f'"{name}" = {json.dumps(v)}' for name, v in properties.items())]
    path.write_text("\n".join(lines) + "\n", "utf-8")
    return path


def run_to_its_end(
    folder: Path, config: Path, *flags: str, command: str = "run"
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        broker_plugin_command(command, "--device", "cpu", "--config", str(config), *flags),
        env=environment(folder),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def new_user() -> str:
    """Return a name that no other test has; a certificate's holds 64 characters at most."""
    return f"user-{uuid.uuid4().hex[:12]}"


def in_files(folder: Path, properties: Mapping[str, str]) -> dict[str, str]:
    """Return properties with every secret put into a file."""
    moved = {}
    for name, value in properties.items():
        if "password" in name or "secret" in name:
            secret = folder / f"{name}.{abs(hash(value))}"
            secret.write_text(f"{value}\n", "utf-8")
            moved[f"{name}_file"] = str(secret)
        else:
            moved[name] = value
    return moved


def grant(kafka: SecureKafka, *arguments: str) -> None:
    done = kafka.run_script(ACLS, arguments)
    assert done.returncode == 0, done.stdout + done.stderr


def ended(process: ServerProcess, *, timeout_s: float = READY_S) -> int:
    """Wait until a process has ended by itself, and return its exit status."""
    wait_until(lambda: not process.alive, what="the end of the process", timeout_s=timeout_s)
    assert process._process is not None
    return int(process._process.returncode)


@pytest.mark.parametrize("delivery", ["at-least-once", "exactly-once"])
def test_it_runs_with_the_documented_rights_and_no_others(
    delivery: str, secure_kafka: SecureKafka, topic: Name, data_dir: Path, run: StartRun, tmp_path: Path
) -> None:
    topics, user = Topics(secure_kafka, topic), new_user()
    secure_kafka.set_password(user, "a password of 2026")
    secure_kafka.produce(topics.input, [*as_records(ztf_packets(data_dir)[:20]), JUNK])
    where = ("--bootstrap-server", secure_kafka.bootstrap, "--user", user)
    grant(secure_kafka, "source", *where, "--topic", f"{topics.input[:-1]}*", "--group", topics.group)
    transactions = ("--transactions", topics.group) if delivery == "exactly-once" else ()
    outputs = ("--topic", topics.output, "--topic", topics.dead_letters)
    grant(secure_kafka, "sink", *where, *outputs, *transactions)
    expected = {
        ("READ", "TOPIC", topics.input[:-1], "PREFIXED"),
        ("READ", "GROUP", topics.group, "LITERAL"),
        ("WRITE", "TOPIC", topics.output, "LITERAL"),
        ("WRITE", "TOPIC", topics.dead_letters, "LITERAL"),
    }
    if transactions:
        expected.add(("WRITE", "TRANSACTIONAL_ID", f"{topics.group}-", "PREFIXED"))
    assert secure_kafka.rights(user) == expected
    source = in_files(tmp_path, secure_kafka.scram(user, "a password of 2026"))
    sink, settings = source, {"delivery": delivery}
    if not transactions:
        # Out by a certificate instead, whose key has a password: the same user by another name.
        sink = in_files(tmp_path, secure_kafka.client_certificate(user, password=KEY_PASSWORD))
        settings["output_bootstrap"] = secure_kafka.mutual
    process = run(["--config", str(write_config(tmp_path / "run.toml", topics, source, sink, **settings))])
    wait_for_outputs(topics, 21, process)
    assert stop_in_order(process) == 0
    assert len({verdict_of(record).alert_id for record in topics.verdicts(20)}) == 20
    assert [record.value for record in topics.letters(1)] == [b"junk"]
    assert topics.committed() >= 21


@pytest.mark.parametrize(
    ("lacking", "said"),
    [
        ("password", ["refuses us", "invalid credentials", "check sasl.*"]),
        ("authority", ["refuses us", "certificate verify failed", "ssl.ca.location"]),
        ("reading", ["READ on topic {input}", "READ on group {group}", "deploy/kafka/acls.sh"]),
        ("writing", ["WRITE on topic {output}, WRITE on topic {dead_letters}", "deploy/kafka/acls.sh"]),
        ("transactions", ["TRANSACTIONAL_ID_AUTHORIZATION_FAILED", "grant this user WRITE on transactional"]),
    ],
)
def test_what_is_lacking_is_said_with_what_to_do_and_not_tried_again(
    lacking: str, said: list[str], secure_kafka: SecureKafka, topic: Name, data_dir: Path, tmp_path: Path
) -> None:
    topics, user = Topics(secure_kafka, topic), new_user()
    secure_kafka.set_password(user, "right")
    secure_kafka.produce(topics.input, as_records(ztf_packets(data_dir)[:3]))
    secure_kafka.group_committed(topics.group, topics.input)  # so that there is a coordinator to be asked
    if lacking != "reading":
        secure_kafka.allow(user, "READ", "TOPIC", topics.input)
        secure_kafka.allow(user, "READ", "GROUP", topics.group)
    if lacking != "writing":
        secure_kafka.allow(user, "WRITE", "TOPIC", topics.output)
        secure_kafka.allow(user, "WRITE", "TOPIC", topics.dead_letters)
    login = secure_kafka.scram(user, "wrong" if lacking == "password" else "right")
    if lacking == "authority":
        login["ssl.ca.location"] = str(secure_kafka.stranger)
    delivery = "exactly-once" if lacking == "transactions" else "at-least-once"
    config = write_config(tmp_path / "run.toml", topics, login, login, delivery=delivery)
    done = run_to_its_end(tmp_path, config)
    assert done.returncode == CONFIGURATION, done.stderr
    for part in said:
        assert part.format(**vars(topics)) in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert topics.outputs() == 0
    assert topics.committed() == 0
    if lacking in ("reading", "writing"):
        doctor = run_to_its_end(tmp_path, config, "--bundle", "none-such", "--json", command="doctor")
        findings = {check["name"]: check for check in json.loads(doctor.stdout)["checks"]}
        finding = findings["input" if lacking == "reading" else "output"]
        assert finding["outcome"] == "failed"
        assert said[0].format(**vars(topics)) in finding["found"]
        assert "deploy/kafka/acls.sh" in finding["remedy"]


def test_a_changed_password_is_waited_for_and_then_taken_from_its_file(
    secure_kafka: SecureKafka, topic: Name, data_dir: Path, run: StartRun, tmp_path: Path
) -> None:
    topics, user, packets = Topics(secure_kafka, topic), new_user(), as_records(ztf_packets(data_dir))
    secure_kafka.set_password(user, "old")
    for right in (("READ", "TOPIC", topics.input), ("READ", "GROUP", topics.group)):
        secure_kafka.allow(user, *right)
    for name in (topics.output, topics.dead_letters):
        secure_kafka.allow(user, "WRITE", "TOPIC", name)
    secret = tmp_path / "password"
    secret.write_text("old\n")
    login = secure_kafka.scram(user, "")
    del login["sasl.password"]
    login["sasl.password_file"] = str(secret)
    config = write_config(tmp_path / "run.toml", topics, login, login, refusal_deadline_s=20)
    process = run(["--config", str(config)])
    secure_kafka.produce(topics.input, packets[:10])
    wait_for_outputs(topics, 10, process)
    secure_kafka.set_password(user, "new")
    refused = lambda: [e for e in events(process) if "refuses us" in str(e.get("why"))]  # noqa: E731
    process.wait_ready(lambda: bool(refused()), timeout_s=READY_S)
    assert process.alive
    secret.write_text("new\n")
    secure_kafka.produce(topics.input, packets[10:20])
    wait_for_outputs(topics, 20, process)
    assert any(event["event"] == "credentials_renewed" for event in events(process))
    # Taken away for good: the process stops, and what came in meanwhile is not lost.
    secure_kafka.set_password(user, "for nobody")
    secure_kafka.produce(topics.input, packets[20:30])
    assert ended(process, timeout_s=2 * READY_S) == CONFIGURATION
    assert "invalid credentials" in process.tail(1)
    n_out = topics.outputs()
    assert len({verdict_of(record).alert_id for record in topics.verdicts(n_out)}) >= 20
    assert topics.committed() <= n_out
    assert "new" not in [str(value) for event in events(process) for value in event.values()]


@dataclass
class TokenServer:
    """Issues unsigned tokens, as long as it wants to."""

    user: str
    life_s: float
    url: str = ""
    issued: int = 0
    refusing: bool = False
    asked_by: set[str] = field(default_factory=set)

    def token(self) -> str:
        now = time.time()
        claims = {"sub": self.user, "iat": now, "exp": now + self.life_s}
        parts = ({"alg": "none", "typ": "JWT"}, claims)
        encoded = [
            base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in parts
        ]
        return ".".join([*encoded, ""])


@contextmanager
def token_server(user: str, *, life_s: float) -> Iterator[TokenServer]:
    state = TokenServer(user, life_s)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            login = self.headers.get("Authorization", "").removeprefix("Basic ")
            state.asked_by.add(base64.b64decode(login).decode())
            state.issued += not state.refusing
            body = {"error": "access_denied"} if state.refusing else {"access_token": state.token()}
            content = json.dumps(body | {"token_type": "Bearer", "expires_in": int(state.life_s)}).encode()
            self.send_response(401 if state.refusing else 200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        state.url = f"http://127.0.0.1:{server.server_port}/token"
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield state
        server.shutdown()
        thread.join()


def test_tokens_are_waited_for_and_renewed_and_a_lasting_refusal_ends_the_process_for_another(
    secure_kafka: SecureKafka, topic: Name, data_dir: Path, run: StartRun, tmp_path: Path
) -> None:
    topics, user, packets = Topics(secure_kafka, topic), new_user(), as_records(ztf_packets(data_dir))
    for right in (("READ", "TOPIC", topics.input), ("READ", "GROUP", topics.group)):
        secure_kafka.allow(user, *right)
    for name in (topics.output, topics.dead_letters):
        secure_kafka.allow(user, "WRITE", "TOPIC", name)
    with token_server(user, life_s=6.0) as server:
        login = {
            "security.protocol": "SASL_PLAINTEXT",
            "sasl.mechanism": "OAUTHBEARER",
            "sasl.oauthbearer.method": "oidc",
            "sasl.oauthbearer.client.id": "the-plugin",
            "sasl.oauthbearer.client.secret": "known to the token server",
            "sasl.oauthbearer.token.endpoint.url": server.url,
        }
        login = in_files(tmp_path, login)
        settings = {"bootstrap": secure_kafka.token, "refusal_deadline_s": 3}
        server.refusing = True
        process = run(
            ["--config", str(write_config(tmp_path / "run.toml", topics, login, login, **settings))]
        )
        process.wait_ready(lambda: "brokers_awaited" in process.log_path.read_text(), timeout_s=READY_S)
        time.sleep(REFUSED_AT_START_S)
        server.refusing = False
        secure_kafka.produce(topics.input, packets[:10])
        wait_for_outputs(topics, 10, process)
        first = server.issued
        # Longer than a token lives, for a consumer and a producer.
        process.wait_ready(lambda: server.issued >= first + 4, timeout_s=READY_S)
        secure_kafka.produce(topics.input, packets[10:20])
        wait_for_outputs(topics, 20, process)
        assert server.asked_by == {"the-plugin:known to the token server"}
        server.refusing = True
        assert ended(process, timeout_s=2 * READY_S) == TRY_AGAIN
    assert "refuses us" in process.tail(1)
    assert "Traceback" not in process.log_path.read_text()
    assert len({verdict_of(record).alert_id for record in topics.verdicts(20)}) == 20
    assert topics.committed() == 20
