# SPDX-License-Identifier: BSD-3-Clause
"""Programs that check what is deployed: Prometheus and promtool, Helm, the reference loader of compose files.

Those that are on the path are taken. Helm and the loader are otherwise built with Go, once, into the cache.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from functools import partial
from pathlib import Path

from tests.support.artefacts import made_once
from tests.support.process import ServerUnavailableError

__all__ = ["compose_program", "helm_program", "prometheus_program", "promtool_program"]

HELM = "helm.sh/helm/v3/cmd/helm@v3.16.4"
"""A version that Go 1.22 builds."""

COMPOSE = "github.com/compose-spec/compose-go/v2/cmd@v2.16.2"
"""What `docker compose` itself reads compose files with; its command says whether one is valid."""

BUILD_S = 900.0
"""Helm takes two minutes on two free cores."""


def prometheus_program() -> str:
    """Return the Prometheus server on the path."""
    return _on_path("prometheus", "prometheus")


def promtool_program() -> str:
    """Return Prometheus's tool for rules and scrapes."""
    return _on_path("promtool", "prometheus")


def helm_program() -> str:
    """Return Helm, of the path or built."""
    return shutil.which("helm") or _built("helm-3.16.4", HELM)


def compose_program() -> str:
    """Return the loader of compose files, built."""
    return _built("compose-go-2.16.2", COMPOSE)


def _on_path(name: str, package: str) -> str:
    program = shutil.which(name)
    if program is None:
        raise ServerUnavailableError(f"no {name}; install the package {package}")
    return program


def _built(entry: str, package: str) -> str:
    folder = made_once(entry, partial(_build, package))
    (program,) = folder.iterdir()
    return str(program)


def _build(package: str, folder: Path) -> None:
    go = shutil.which("go")
    if go is None:
        raise ServerUnavailableError(f"no Go, which builds {package}; install version 1.22 or newer")
    done = subprocess.run(
        [go, "install", package],
        env={**os.environ, "GOBIN": str(folder), "CGO_ENABLED": "0"},
        capture_output=True,
        text=True,
        check=False,
        timeout=BUILD_S,
    )
    if done.returncode != 0:
        output = "\n".join(done.stderr.splitlines()[-15:])
        raise ServerUnavailableError(f"go install {package} failed\n{output}")
