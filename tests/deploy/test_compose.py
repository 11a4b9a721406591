# SPDX-License-Identifier: BSD-3-Clause
"""The composition is one that `docker compose` reads, and its parts name one another rightly."""

from __future__ import annotations

import json
import re
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from broker_plugin.service.consistency import check_service
from broker_plugin.service.settings_sources import load_settings
from broker_plugin.service.topic_plans import topic_plans
from broker_plugin.settings import Settings
from broker_plugin.streams.kafka_admission import read_secret
from tests.deploy.monitoring import ALERTS
from tests.support.artefacts import KAFKA_VERSION, REGISTRY_VERSION, REPOSITORY

FOLDER = REPOSITORY / "deploy/compose"


@pytest.fixture(scope="module")
def composition(compose_loader: str) -> dict[str, Any]:
    """The composition as the reference loader resolves it."""
    done = subprocess.run(
        [compose_loader, "--format", "json", "compose.yaml"],
        cwd=FOLDER,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch, composition: dict[str, Any], tmp_path: Path) -> Settings:
    """The service's settings, with its environment and secrets."""
    secrets = make_secrets(tmp_path)
    for name, value in composition["services"]["astrom3"]["environment"].items():
        monkeypatch.setenv(name, value.replace("/run/secrets", str(secrets)))
    return load_settings(config=FOLDER / "run.toml")


def make_secrets(folder: Path) -> Path:
    subprocess.run([FOLDER / "secrets.sh", folder / "secrets"], check=True, capture_output=True)
    return folder / "secrets"


def test_the_loader_refuses_what_is_wrong(compose_loader: str, tmp_path: Path) -> None:
    wrong = (FOLDER / "compose.yaml").read_text().replace("stop_grace_period", "stop_grace_perod")
    (tmp_path / "compose.yaml").write_text(wrong)
    done = subprocess.run(
        [compose_loader, "compose.yaml"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode != 0


def test_what_is_mounted_is_there(composition: dict[str, Any]) -> None:
    for config in composition["configs"].values():
        assert Path(config["file"]).is_file()
    for service in composition["services"].values():
        for volume in service.get("volumes", ()):
            if volume["type"] == "bind":
                assert Path(volume["source"]).is_dir()
            else:
                assert volume["source"] in composition["volumes"]
    build = composition["services"]["astrom3"]["build"]
    assert Path(build["context"]) == REPOSITORY
    assert (REPOSITORY / build["dockerfile"]).is_file()


def test_images_are_pinned_and_are_the_versions_of_the_tests(composition: dict[str, Any]) -> None:
    images = {name: service["image"] for name, service in composition["services"].items()}
    for image in images.values():
        assert re.fullmatch(r"[a-z0-9/-]+:v?\d+\.\d+\.\d+[\w.-]*", image), image
    assert images["kafka"] == images["input"] == f"apache/kafka:{KAFKA_VERSION}"
    assert images["registry"].endswith(f":{REGISTRY_VERSION}")
    project = re.search(r'^version = "(.*)"', (REPOSITORY / "pyproject.toml").read_text(), re.MULTILINE)
    assert project is not None
    assert images["astrom3"] == images["topics"] == f"astrom3-broker:{project[1]}-cpu"


def test_nothing_is_open_to_other_machines(composition: dict[str, Any]) -> None:
    for service in composition["services"].values():
        for port in service.get("ports", ()):
            assert port["host_ip"] == "127.0.0.1"
        assert not service.get("privileged")
    ours = composition["services"]["astrom3"]
    assert ours["read_only"] is True
    assert ours["cap_drop"] == ["ALL"]
    assert composition["services"]["store"]["user"] == "valkey"


def test_what_waits_for_a_service_waits_for_one_that_says_when_it_is_well(
    composition: dict[str, Any],
) -> None:
    services = composition["services"]
    for service in services.values():
        for name, how in service.get("depends_on", {}).items():
            if how["condition"] == "service_healthy":
                assert services[name]["healthcheck"]["test"]
            else:
                assert services[name].get("restart") is None  # it ends


def test_the_settings_name_the_other_services(composition: dict[str, Any], settings: Settings) -> None:
    check_service(settings)
    listeners = composition["services"]["kafka"]["environment"]["KAFKA_ADVERTISED_LISTENERS"]
    assert f"INTERNAL://{settings.bootstrap}," in listeners
    assert {host_of(settings.registry), host_of(settings.store)} <= composition["services"].keys()
    assert f"--topic={settings.input}" in composition["services"]["input"]["command"]
    made = {plan.name for plan in topic_plans(settings, partitions=8, replicas=1)}
    assert made == {"verdicts", "dead-letters", "ledger", "candidates"}
    kafka = composition["services"]["kafka"]["environment"]
    assert settings.limits.message_bytes <= int(kafka["KAFKA_MESSAGE_MAX_BYTES"])


def host_of(url: str) -> str:
    return url.partition("//")[2].rpartition("@")[2].partition(":")[0]


def test_secrets_are_made_once_and_fit_together(tmp_path: Path) -> None:
    secrets = make_secrets(tmp_path)
    first = {path.name: path.read_text() for path in secrets.iterdir()}
    make_secrets(tmp_path)
    assert {path.name: path.read_text() for path in secrets.iterdir()} == first
    assert first["store-url"] == f"redis://:{first['store-password']}@store:6379/0"
    assert len(first["store-password"]) == 48
    assert first["store-password"] != first["grafana-password"]
    assert read_secret(secrets / "store-url", "store") == first["store-url"]
    assert stat.S_IMODE(secrets.stat().st_mode) == 0o700


def test_secrets_are_never_committed() -> None:
    done = subprocess.run(
        ["git", "check-ignore", "deploy/compose/secrets/store-password"], cwd=REPOSITORY, check=False
    )
    assert done.returncode == 0


def test_promtool_finds_the_settings_of_prometheus_sound(promtool: str, tmp_path: Path) -> None:
    (tmp_path / "prometheus.yaml").write_text((FOLDER / "prometheus.yaml").read_text())
    (tmp_path / "alerts.yaml").write_text(ALERTS.read_text())
    done = subprocess.run(
        [promtool, "check", "config", tmp_path / "prometheus.yaml"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_grafana_finds_the_dashboards_and_prometheus(composition: dict[str, Any]) -> None:
    def provisioned(name: str) -> Iterator[dict[str, Any]]:
        page = yaml.safe_load((FOLDER / f"grafana/{name}.yaml").read_text())
        yield from page.get("datasources") or page["providers"]

    (source,), (provider,) = provisioned("datasource"), provisioned("dashboards")
    assert host_of(source["url"]) in composition["services"]
    mounts = {one["target"]: one["source"] for one in composition["services"]["grafana"]["volumes"]}
    assert Path(mounts[provider["options"]["path"]]) == REPOSITORY / "deploy/grafana"
