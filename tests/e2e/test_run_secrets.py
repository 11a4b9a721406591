# SPDX-License-Identifier: BSD-3-Clause
"""Secrets of every kind, given in every way: nothing that the service writes has one in it."""

from __future__ import annotations

import json
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from broker_plugin.cli import main
from broker_plugin.service.secret_files import secret_path
from broker_plugin.service.settings_sources import load_settings
from tests.e2e.conftest import StartRun
from tests.e2e.service import (
    Topics,
    as_records,
    broker_plugin_command,
    environment,
    events,
    stop_in_order,
    wait_for_event,
    wait_for_outputs,
    ztf_packets,
)
from tests.e2e.test_run_security import new_user, write_config
from tests.support.process import free_ports
from tests.support.secure_kafka import SecureKafka

CANARIES = {
    name: f"canary-of-the-{name}-7Qx" for name in ("variable", "file", "table", "key", "registry", "token")
}

DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def leaks(texts: Iterable[str | bytes]) -> list[str]:
    """Return the names of the secrets that occur in what was written."""
    everything = b"\n".join(text.encode() if isinstance(text, str) else text for text in texts)
    return [name for name, canary in CANARIES.items() if canary.encode() in everything]


def read(port: int, path: str) -> str:
    try:
        with DIRECT.open(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
            return str(answer.read().decode())
    except urllib.error.HTTPError as error:
        return str(error.read().decode())


def test_a_good_run_writes_no_secret(
    secure_kafka: SecureKafka,
    topic: Callable[[str], str],
    data_dir: Path,
    run: StartRun,
    tmp_path: Path,
) -> None:
    topics, user = Topics(secure_kafka, topic), new_user()
    secure_kafka.set_password(user, CANARIES["variable"])
    for right in (("READ", "TOPIC", topics.input), ("READ", "GROUP", topics.group)):
        secure_kafka.allow(user, *right)
    for name in (topics.output, topics.dead_letters):
        secure_kafka.allow(user, "WRITE", "TOPIC", name)
    source = secure_kafka.scram(user, "")
    del source["sasl.password"]
    sink = secure_kafka.client_certificate(user, password=CANARIES["key"])
    (tmp_path / "key-password").write_text(sink.pop("ssl.key.password"))
    sink["ssl.key.password_file"] = "key-password"  # among the credentials that systemd hands over
    config = write_config(
        tmp_path / "run.toml", topics, source, sink, output_bootstrap=secure_kafka.mutual, log_level="debug"
    )
    secure_kafka.produce(
        topics.input, [*as_records(ztf_packets(data_dir)[:5]), (b"k", b"junk", [("h", b"v")])]
    )
    variables = {
        "ASTROM3_KAFKA__SOURCE__SASL_PASSWORD": CANARIES["variable"],
        "CREDENTIALS_DIRECTORY": str(tmp_path),
    }
    process = run(["--config", str(config), "--metrics-port", "0"], variables=variables)
    wait_for_event(process, "health_served")
    (port,) = [event["port"] for event in events(process) if event["event"] == "health_served"]
    wait_for_outputs(topics, 6, process)
    pages = [read(port, path) for path in ("/metrics", "/healthz", "/startedz", "/readyz", "/")]
    assert stop_in_order(process) == 0
    records = [*topics.verdicts(5), *topics.letters(1)]
    written = [part for r in records for n, v in r.headers for part in (n.encode(), v)]
    written += [part for record in records for part in (record.key or b"", record.value or b"")]
    log = process.log_path.read_text()
    assert "batch_delivered" in log
    assert leaks([log, *pages, *written]) == []


def test_no_bad_start_writes_a_secret(
    secure_kafka: SecureKafka, topic: Callable[[str], str], tmp_path: Path
) -> None:
    topics, user = Topics(secure_kafka, topic), new_user()
    secure_kafka.set_password(user, "another")
    (tmp_path / "secret").write_text(CANARIES["file"])
    (tmp_path / "registry").write_text(
        f"http://reader:{CANARIES['registry']}@127.0.0.1:{free_ports(1)[0]}/v7"
    )
    login = secure_kafka.scram(user, CANARIES["table"])
    certificate = secure_kafka.client_certificate(user, password="another")  # noqa: S106
    token = {
        "security.protocol": "SASL_PLAINTEXT",
        "sasl.mechanism": "OAUTHBEARER",
        "sasl.oauthbearer.method": "oidc",
        "sasl.oauthbearer.client.id": "us",
        "sasl.oauthbearer.client.secret": CANARIES["token"],
        "sasl.oauthbearer.token.endpoint.url": f"http://127.0.0.1:{free_ports(1)[0]}/token",
    }
    bad = {
        "wrong password": login,
        "wrong password in a file": {
            **{name: value for name, value in login.items() if name != "sasl.password"},
            "sasl.password_file": str(tmp_path / "secret"),
        },
        "an impossible value": {**login, "security.protocol": CANARIES["table"]},
        "an unknown property": {**login, "sasl.passwort": CANARIES["table"]},
        "a property of ours": {**login, "group.id": CANARIES["table"]},
        "a key that stays locked": {**certificate, "ssl.key.password": CANARIES["key"]},
        "a token server that is away": token,
    }

    def start(case: str) -> subprocess.CompletedProcess[str]:
        config = write_config(
            tmp_path / f"{case}.toml", topics, bad[case], bad[case], start_deadline_s=1, log_level="debug"
        )
        return _run(tmp_path, "run", "--config", str(config))

    with ThreadPoolExecutor(len(bad)) as together:  # most of the time each of them waits
        ended = dict(zip(bad, together.map(start, bad), strict=True))
    for case, done in ended.items():
        assert done.returncode in (2, 75), (case, done.stderr)
        assert "Traceback" not in done.stderr, (case, done.stderr)
        assert leaks([done.stdout, done.stderr]) == [], case
    variables = {"ASTROM3_REGISTRY_FILE": str(tmp_path / "registry")}
    plain = write_config(tmp_path / "run.toml", topics, login, login, start_deadline_s=1)
    for command in (["run"], ["doctor"], ["doctor", "--json"]):
        done = _run(tmp_path, *command, "--config", str(plain), **variables)
        assert done.returncode != 0
        assert leaks([done.stdout, done.stderr]) == [], command
    assert "127.0.0.1" in done.stdout  # the registry is named, without what stands before it
    broken = tmp_path / "broken.toml"
    broken.write_text(f'[kafka.source]\n"sasl.password" = "{CANARIES["table"]}" oops {CANARIES["table"]}\n')
    done = _run(tmp_path, "run", "--config", str(broken))
    assert done.returncode == 2
    assert leaks([done.stdout, done.stderr]) == []


def _run(folder: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        broker_plugin_command(*arguments),
        env={**environment(folder), **variables},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_a_value_may_be_in_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "registry").write_text("http://a:b@host\n")
    (tmp_path / "other").write_text("http://other\n")
    config = tmp_path / "run.toml"
    config.write_text(
        f'input_registry_file = "{tmp_path / "registry"}"\n[kafka.source]\nsasl.password_file = "x"\n'
        '"sasl.oauthbearer.assertion.file" = "y"\n'
    )
    monkeypatch.setenv("ASTROM3_REGISTRY_FILE", str(tmp_path / "registry"))
    monkeypatch.setenv("ASTROM3_KAFKA__SINK__SASL_PASSWORD_FILE", "z")
    monkeypatch.setenv("ASTROM3_KAFKA__SINK__SASL_OAUTHBEARER_ASSERTION_FILE", "native")
    settings = load_settings({}, config=config)
    assert settings.registry == settings.input_registry == "http://a:b@host"
    assert set(settings.kafka.source) == {"sasl.password_file", "sasl.oauthbearer.assertion.file"}
    assert set(settings.kafka.sink) == {"sasl.password_file", "sasl.oauthbearer.assertion.file"}
    # A flag is stronger than any file, and a variable than the settings file.
    monkeypatch.setenv("ASTROM3_INPUT_REGISTRY_FILE", str(tmp_path / "other"))
    assert load_settings({}, config=config).input_registry == "http://other"
    assert load_settings({"input_registry": "http://flag"}, config=config).input_registry == "http://flag"


def test_a_relative_name_is_looked_for_among_the_credentials(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "password").write_text("secret")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert secret_path("password") == tmp_path / "password"
    assert secret_path("elsewhere") == Path("elsewhere")
    assert secret_path("/etc/password") == Path("/etc/password")


@pytest.mark.parametrize(
    ("content", "why"),
    [(None, "No such file"), (b"", "empty"), (b"\xff\xfe", "not text"), (b"x" * 200_000, "long")],
)
def test_a_file_without_a_secret_is_named_and_not_quoted(
    content: bytes | None,
    why: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    secret = tmp_path / "secret"
    if content is not None:
        secret.write_bytes(content)
    config = tmp_path / "run.toml"
    config.write_text(f"registry_file = {json.dumps(str(secret))}\n")
    with pytest.raises(SystemExit) as ended:
        main(["doctor", "--config", str(config)])
    said = capfd.readouterr().err
    assert ended.value.code == 2
    assert str(secret) in said
    assert why in said
    assert "xxx" not in said


@pytest.mark.parametrize("password", ["a[{}]b", "[{}", "{}]", "{}/[", "a:{}@b"])
@pytest.mark.parametrize(("setting", "scheme"), [("STORE", "redis"), ("REGISTRY", "http")])
def test_a_password_that_breaks_its_address_is_not_quoted(
    password: str,
    setting: str,
    scheme: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    secret = password.format(CANARIES["variable"])
    monkeypatch.setenv(f"ASTROM3_{setting}", f"{scheme}://me:{secret}@127.0.0.1:{free_ports(1)[0]}/1")
    for command in (["doctor"], ["replay", str(tmp_path), "--out", str(tmp_path / "v.jsonl")]):
        with pytest.raises(SystemExit) as ended:
            main(command)
        said = capfd.readouterr()
        assert ended.value.code in (1, 2, 75)
        assert leaks([said.out, said.err]) == []
        assert "Traceback" not in said.err
