# SPDX-License-Identifier: BSD-3-Clause
"""The Helm chart, rendered."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from broker_plugin.settings import Settings
from tests.support.artefacts import REPOSITORY

__all__ = ["CHART", "KUBERNETES", "Manifests", "refused", "rendered", "settings_schema"]

CHART = REPOSITORY / "deploy/helm/astrom3-broker"

KUBERNETES = "1.31"
"""Whose schemas manifests are held against."""

SET_BY_THE_CHART = {"metrics_port", "metrics_host", "instance", "workers"}
"""One process a pod: Kubernetes and KEDA count pods."""


class Manifests(list[dict[str, Any]]):
    """What Kubernetes would be given."""

    def one(self, kind: str, name: str = "") -> dict[str, Any]:
        """Return the only manifest of a kind (and a name)."""
        (found,) = [one for one in self if one["kind"] == kind and one["metadata"]["name"].endswith(name)]
        return found

    @property
    def kinds(self) -> set[str]:
        """Their kinds."""
        return {one["kind"] for one in self}


def rendered(helm: str, folder: Path, values: Mapping[str, Any] | None = None) -> Manifests:
    """Return the manifests for some values."""
    done = _template(helm, folder, values)
    assert done.returncode == 0, done.stderr
    return Manifests(one for one in yaml.safe_load_all(done.stdout) if one is not None)


def refused(helm: str, folder: Path, values: Mapping[str, Any]) -> str:
    """Return why Helm refuses some values."""
    done = _template(helm, folder, values)
    assert done.returncode != 0, done.stdout
    return done.stderr


def settings_schema() -> dict[str, Any]:
    """Return what the chart's schema says of the settings: their names, and the values of those with few."""
    properties: dict[str, Any] = {}
    for name, schema in Settings.model_json_schema()["properties"].items():
        if name in SET_BY_THE_CHART:
            continue
        choices = [one["enum"] for one in (schema, *schema.get("anyOf", ())) if "enum" in one]
        described = {"description": schema.get("description", "")}
        properties[name] = described | ({"enum": choices[0]} if choices else {})
    return properties


def _template(helm: str, folder: Path, values: Mapping[str, Any] | None) -> subprocess.CompletedProcess[str]:
    file = folder / "values.yaml"
    file.write_text(json.dumps(values or {}))  # which is YAML too
    return subprocess.run(
        [helm, "template", "night", str(CHART), "--kube-version", f"{KUBERNETES}.0", "--values", str(file)],
        capture_output=True,
        text=True,
        check=False,
    )
