# SPDX-License-Identifier: BSD-3-Clause
"""The Helm chart renders what Kubernetes and the service take, and refuses what cannot work."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from broker_plugin.service.consistency import check_service
from broker_plugin.service.settings_sources import load_settings
from broker_plugin.settings import Settings
from tests.deploy.chart import CHART, KUBERNETES, Manifests, refused, rendered, settings_schema
from tests.deploy.monitoring import ALERTS, DASHBOARDS

REQUIRED = {
    "survey": "lsst",
    "bootstrap": "kafka:9092",
    "input": "alerts-a,alerts-b",
    "output": "verdicts",
    "dead_letters": "dead",
    "group": "night",
}

SECURED = {
    "secretName": "passwords",
    "settings": {
        "batch_max": 128,
        "ready_patience_s": 12.5,
        "registry_file": "/run/secrets/astrom3/registry",
        "kafka": {
            "source": {
                "security.protocol": "SASL_SSL",
                "sasl.mechanism": "SCRAM-SHA-512",
                "sasl.username": "astrom3",
                "sasl.password_file": "/run/secrets/astrom3/source-password",
            }
        },
        "routes": [{"topic": "candidates", "max_p_value": 0.01}],
    },
}

SCALED = {
    "partitions": 45,
    "autoscaling": {"enabled": True, "maxReplicas": 45, "authenticationRef": "survey"},
    "settings": REQUIRED,
}

WATCHED = {name: {"enabled": True} for name in ("serviceMonitor", "prometheusRule", "dashboards")}

ON_GPU = {
    "gpu": {"enabled": True, "runtimeClassName": "nvidia"},
    "bundlesClaim": "bundles",
    "settings": {"bundles": "/bundles"},
    "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists"}],
    "extraEnv": [{"name": "OMP_NUM_THREADS", "value": "4"}],
}

EVERY: dict[str, dict[str, Any]] = {
    "default": {},
    "secured": SECURED,
    "scaled": SCALED,
    "watched": WATCHED,
    "on-gpu": ON_GPU,
    "bare": {
        "serviceAccount": {"create": False},
        "networkPolicy": {"enabled": False},
        "podDisruptionBudget": {"enabled": False},
    },
}

NOT_KUBERNETES = {"ScaledObject", "ServiceMonitor", "PrometheusRule"}
"""Kinds of KEDA and of the Prometheus operator: not in the package that has the schemas of Kubernetes."""


def container(manifests: Manifests) -> dict[str, Any]:
    (found,) = manifests.one("StatefulSet")["spec"]["template"]["spec"]["containers"]
    return dict(found)


def settings_of(manifests: Manifests, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Load the rendered file as the service does, its secrets beside it."""
    text = manifests.one("ConfigMap", "astrom3-broker")["data"]["run.toml"]
    secrets = folder / "secrets"
    secrets.mkdir(exist_ok=True)
    for name in ("registry", "source-password"):
        (secrets / name).write_text("http://registry:8081")
    file = folder / "run.toml"
    file.write_text(text.replace("/run/secrets/astrom3", str(secrets)))
    for variable in container(manifests)["env"]:
        if "value" in variable:
            monkeypatch.setenv(variable["name"], variable["value"])
    return load_settings(config=file)


@pytest.mark.parametrize("name", EVERY)
def test_helm_finds_the_chart_sound(helm: str, tmp_path: Path, name: str) -> None:
    (tmp_path / "values.yaml").write_text(json.dumps(EVERY[name]))
    done = subprocess.run(
        [helm, "lint", "--strict", str(CHART), "--values", str(tmp_path / "values.yaml")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("name", EVERY)
def test_kubernetes_takes_every_manifest(helm: str, tmp_path: Path, name: str) -> None:
    manifests = rendered(helm, tmp_path, EVERY[name])
    for one in manifests:
        if one["kind"] not in NOT_KUBERNETES:
            kubernetes_validate.validate(one, KUBERNETES, strict=True)
    wanted = {"StatefulSet", "ConfigMap", "Service"}
    wanted |= set() if name == "bare" else {"ServiceAccount", "NetworkPolicy", "PodDisruptionBudget"}
    wanted |= {"ScaledObject"} if name == "scaled" else set()
    wanted |= {"ServiceMonitor", "PrometheusRule"} if name == "watched" else set()
    assert manifests.kinds == wanted


def test_the_validator_refuses_what_is_wrong(helm: str, tmp_path: Path) -> None:
    wrong = rendered(helm, tmp_path).one("StatefulSet")
    wrong["spec"]["template"]["spec"]["containers"][0]["readynessProbe"] = {}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, KUBERNETES, strict=True)


@pytest.mark.parametrize("name", EVERY)
def test_the_service_takes_the_settings(
    helm: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    settings = settings_of(rendered(helm, tmp_path, EVERY[name]), tmp_path, monkeypatch)
    check_service(settings)
    assert (settings.metrics_host, settings.metrics_port) == ("0.0.0.0", 9100)  # noqa: S104
    assert settings.device == ("cuda" if name == "on-gpu" else "auto")
    if name == "secured":
        assert (settings.batch_max, settings.ready_patience_s) == (128, 12.5)
        assert settings.registry == "http://registry:8081"
        assert settings.kafka.source["sasl.mechanism"].get_secret_value() == "SCRAM-SHA-512"
        assert [route.topic for route in settings.routes] == ["candidates"]


@pytest.mark.parametrize("name", EVERY)
def test_pods_have_no_rights(helm: str, tmp_path: Path, name: str) -> None:
    manifests = rendered(helm, tmp_path, EVERY[name])
    pod = manifests.one("StatefulSet")["spec"]["template"]["spec"]
    assert pod["automountServiceAccountToken"] is False
    assert pod["enableServiceLinks"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert container(manifests)["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    writable = [one["mountPath"] for one in container(manifests)["volumeMounts"] if not one.get("readOnly")]
    assert writable == ["/tmp"]  # noqa: S108


def test_probes_ask_what_the_service_answers(helm: str, tmp_path: Path) -> None:
    found = container(rendered(helm, tmp_path))
    asked = {name: found[name]["httpGet"] for name in found if name.endswith("Probe")}
    assert asked == {
        "startupProbe": {"path": "/startedz", "port": "metrics"},
        "livenessProbe": {"path": "/healthz", "port": "metrics"},
        "readinessProbe": {"path": "/readyz", "port": "metrics"},
    }


def test_a_start_may_take_as_long_as_its_own_deadline_says(helm: str, tmp_path: Path) -> None:
    for values, seconds in (({}, 660), ({"settings": {"start_deadline_s": 1800}}, 2400)):
        probe = container(rendered(helm, tmp_path, values))["startupProbe"]
        assert probe["periodSeconds"] * probe["failureThreshold"] == seconds


@pytest.mark.parametrize(
    ("settings", "ports"),
    [
        ({}, set()),
        ({"registry": "http://registry:8081"}, {8081}),
        ({"registry": "https://me:pass@registry/path:7", "input_registry": "http://[::1]"}, {443, 80}),
        ({"store": "rediss://me:p%2Fa:1@cache:7000/1?x=:3"}, {7000}),
        ({"store": "redis://cache"}, {6379}),
        ({"store": "memory"}, set()),
        ({"store": "unix:///run/redis.sock"}, set()),
        ({"bootstrap": "a:19092, b:19093", "output_bootstrap": "SASL_SSL://c:29092"}, {19092, 19093, 29092}),
        ({"registry_file": "/run/secrets/astrom3/registry", "store_file": "/x"}, {8081, 6379}),
        (
            {"kafka": {"source": {"sasl.oauthbearer.token.endpoint.url": "https://tokens:8443/realm"}}},
            {8443},
        ),
    ],
)
def test_the_network_policy_lets_the_service_reach_its_servers(
    helm: str, tmp_path: Path, settings: dict[str, Any], ports: set[int]
) -> None:
    for given in ([9092, 9093], []):
        manifests = rendered(helm, tmp_path, {"settings": settings, "networkPolicy": {"egressPorts": given}})
        policy = manifests.one("NetworkPolicy")
        kubernetes_validate.validate(policy, KUBERNETES, strict=True)
        _, servers = policy["spec"]["egress"]
        kafka = set() if "bootstrap" in settings else {9092}
        found = [one["port"] for one in servers["ports"]]
        assert sorted(found) == sorted({*given, *ports, *kafka})


def test_the_network_policy_opens_no_port_where_no_server_is_named(helm: str, tmp_path: Path) -> None:
    values = {"settings": {"bootstrap": ""}, "networkPolicy": {"egressPorts": []}}
    (names,) = rendered(helm, tmp_path, values).one("NetworkPolicy")["spec"]["egress"]
    assert {one["port"] for one in names["ports"]} == {53}


def test_a_gpu_is_asked_for_with_its_image(helm: str, tmp_path: Path) -> None:
    manifests = rendered(helm, tmp_path, ON_GPU)
    assert container(manifests)["image"].endswith("-cuda")
    assert container(manifests)["resources"]["limits"] == {"memory": "2Gi", "nvidia.com/gpu": 1}
    assert manifests.one("StatefulSet")["spec"]["template"]["spec"]["runtimeClassName"] == "nvidia"


def test_a_change_of_settings_restarts_the_pods(helm: str, tmp_path: Path) -> None:
    def checksum(values: dict[str, Any]) -> str:
        template = rendered(helm, tmp_path, values).one("StatefulSet")["spec"]["template"]
        return str(template["metadata"]["annotations"]["checksum/settings"])

    assert checksum({}) == checksum({"replicas": 2})
    assert checksum({}) != checksum({"settings": {"batch_max": 100}})


def test_scaling_follows_the_lag_of_each_topic(helm: str, tmp_path: Path) -> None:
    manifests = rendered(helm, tmp_path, SCALED)
    assert "replicas" not in manifests.one("StatefulSet")["spec"]  # else Helm and KEDA would fight over it
    spec = manifests.one("ScaledObject")["spec"]
    assert spec["scaleTargetRef"]["name"] == manifests.one("StatefulSet")["metadata"]["name"]
    assert (spec["minReplicaCount"], spec["maxReplicaCount"]) == (1, 45)
    assert [one["metadata"]["topic"] for one in spec["triggers"]] == ["alerts-a", "alerts-b"]
    for trigger in spec["triggers"]:
        assert trigger["authenticationRef"] == {"name": "survey"}
        assert all(isinstance(value, str) for value in trigger["metadata"].values())
        assert trigger["metadata"]["consumerGroup"] == "night"
    pattern = rendered(helm, tmp_path, {"autoscaling": {"enabled": True}}).one("ScaledObject")
    (trigger,) = pattern["spec"]["triggers"]
    assert "topic" not in trigger["metadata"]  # KEDA then counts every topic of the group


@pytest.mark.parametrize(
    ("values", "why"),
    [
        (SCALED | {"partitions": 44}, "autoscaling.maxReplicas is 45, but the input has 44 partitions"),
        ({"replicas": 9}, "replicas is 9, but the input has 8 partitions"),
        ({"autoscaling": {"enabled": True, "minReplicas": 9}}, "minReplicas is more than"),
        ({"settings": {"store": "sqlite:/data/store"}}, "pods come and go"),
        ({"bundlesClaim": "bundles"}, "give settings.bundles"),
        ({"gpu": {"enabled": True, "count": 2}}, "gpu.count is 2, but a pod is one process"),
        ({"settings": {"dead_leters": "x"}}, "dead_leters"),
        ({"settings": {"survey": "atlas"}}, "survey"),
        ({"settings": {"metrics_port": 1}}, "metrics_port"),
        ({"replica": 2}, "replica"),
    ],
)
def test_what_cannot_work_is_refused_with_the_reason(
    helm: str, tmp_path: Path, values: dict[str, Any], why: str
) -> None:
    assert why in refused(helm, tmp_path, values)


def test_the_rules_and_dashboards_are_those_of_the_repository(helm: str, tmp_path: Path) -> None:
    manifests = rendered(helm, tmp_path, WATCHED)
    assert manifests.one("PrometheusRule")["spec"] == yaml.safe_load(ALERTS.read_text("utf-8"))
    boards = manifests.one("ConfigMap", "-dashboards")
    assert boards["metadata"]["labels"]["grafana_dashboard"] == "1"
    wanted = {path.name: json.loads(path.read_text("utf-8")) for path in DASHBOARDS}
    assert {name: json.loads(text) for name, text in boards["data"].items()} == wanted


def test_the_schema_knows_every_setting(*, update_golden: bool) -> None:
    path = CHART / "values.schema.json"
    schema = json.loads(path.read_text("utf-8"))
    if update_golden:
        schema["properties"]["settings"]["properties"] = settings_schema()
        path.write_text(json.dumps(schema, indent=2) + "\n", "utf-8")
    known = schema["properties"]["settings"]["properties"]
    assert known == settings_schema(), "run pytest --update-golden and look at the difference"


def test_the_schema_knows_every_value() -> None:
    values = yaml.safe_load((CHART / "values.yaml").read_text("utf-8"))
    schema = json.loads((CHART / "values.schema.json").read_text("utf-8"))
    assert schema["properties"].keys() - {"global"} == values.keys()
