# SPDX-License-Identifier: BSD-3-Clause
"""The alert rules and dashboards as they are deployed, and the metrics they ask for."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import cache
from typing import Any

import yaml

from tests.support.artefacts import REPOSITORY

__all__ = ["ALERTS", "DASHBOARDS", "dashboard_expressions", "documented_metrics", "metrics_in", "rules"]

ALERTS = REPOSITORY / "deploy/prometheus/alerts.yaml"
DASHBOARDS = sorted((REPOSITORY / "deploy/grafana").glob("*.json"))
METRICS_PAGE = REPOSITORY / "deploy/docs/metrics.md"

ROW = re.compile(r"^\| `(broker_plugin_\w+)` \| \w+ \| ([\w, ]*) \|", re.MULTILINE)
"""A metric of that page, and its labels."""


def rules() -> list[dict[str, Any]]:
    """Return every alert rule."""
    return [rule for group in yaml.safe_load(ALERTS.read_text("utf-8"))["groups"] for rule in group["rules"]]


def dashboard_expressions() -> Iterator[tuple[str, str]]:
    """Yield the title of each panel of each dashboard, and what it asks."""
    for path in DASHBOARDS:
        for panel in json.loads(path.read_text("utf-8"))["panels"]:
            for target in panel.get("targets", ()):
                yield f"{path.stem}: {panel['title']}", target["expr"]


def metrics_in(expression: str) -> set[str]:
    """Return our metrics in an expression, by the name of their family.

    Examples
    --------
    >>> sorted(metrics_in("rate(broker_plugin_stage_seconds_sum[5m]) > broker_plugin_paused"))
    ['broker_plugin_paused', 'broker_plugin_stage_seconds']
    """
    names = re.findall(r"broker_plugin_\w+", expression)
    return {
        name if name in documented_metrics() else re.sub(r"_(bucket|sum|count)$", "", name) for name in names
    }


@cache
def documented_metrics() -> dict[str, set[str]]:
    """Return the metrics on the page of the docs, which a test compares with the code, and their labels."""
    rows = re.findall(
        r"^\| `(broker_plugin_\w+)` \| \w+ \| ([\w, ]*) \|", METRICS_PAGE.read_text("utf-8"), re.MULTILINE
    )
    return {name: {label for label in labels.split(", ") if label} for name, labels in rows}
