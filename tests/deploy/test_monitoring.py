# SPDX-License-Identifier: BSD-3-Clause
"""Alert rules and dashboards ask for metrics and labels that exist, and fire when they should."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.deploy.monitoring import (
    ALERTS,
    DASHBOARDS,
    dashboard_expressions,
    documented_metrics,
    metrics_in,
    rules,
)

LABELS = re.compile(r'(\w+)\s*(?:=~|!~|!=|=)\s*"')
GROUPED = re.compile(r"by \(([^)]*)\)")
SCRAPED = {"job", "instance", "le", "alertname", "alertstate"}
"""Labels that come from Prometheus, or with every histogram."""


def expressions() -> list[tuple[str, str]]:
    return [(rule["alert"], rule["expr"]) for rule in rules()] + list(dashboard_expressions())


@pytest.mark.parametrize(("where", "expression"), expressions())
def test_every_metric_and_label_exists(where: str, expression: str) -> None:
    used = metrics_in(expression)
    assert used
    assert used <= documented_metrics().keys(), where
    asked = set(LABELS.findall(expression))
    asked |= {label.strip() for group in GROUPED.findall(expression) for label in group.split(",")}
    assert asked <= SCRAPED.union(*(documented_metrics()[name] for name in used)), where


def test_promtool_finds_the_rules_sound(promtool: str) -> None:
    done = subprocess.run([promtool, "check", "rules", ALERTS], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert f"{len(rules())} rules found" in done.stdout


def test_each_alert_fires_when_it_should_and_not_otherwise(promtool: str) -> None:
    page = ALERTS.with_name("alerts.test.yaml")
    done = subprocess.run(
        [promtool, "test", "rules", page.name], cwd=page.parent, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    tests = [one for case in yaml.safe_load(page.read_text())["tests"] for one in case["alert_rule_test"]]
    names = {rule["alert"] for rule in rules()}
    assert {one["alertname"] for one in tests if one.get("exp_alerts")} == names
    assert {one["alertname"] for one in tests if not one.get("exp_alerts")} == names


def test_each_alert_says_what_to_do_and_how_urgent_it_is() -> None:
    for rule in rules():
        name = rule["alert"]
        assert rule["labels"]["severity"] in {"page", "ticket"}
        assert rule["annotations"].keys() == {"summary", "description", "runbook"}
        assert rule["annotations"]["runbook"] == f"deploy/docs/operating.md#{name.lower()}"
    assert len({rule["alert"] for rule in rules()}) == len(rules())


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_a_dashboard_can_be_taken_into_any_grafana(path: Path) -> None:
    board = json.loads(path.read_text("utf-8"))
    panels = board["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    assert board["uid"].startswith("astrom3-")
    variables = {one["name"] for one in board["templating"]["list"]}
    for panel in panels:
        if panel["type"] == "row":
            continue
        assert panel["title"]
        assert panel["description"], panel["title"]
        assert panel["datasource"]["uid"] == "${datasource}"
        for target in panel["targets"]:
            assert target["datasource"]["uid"] == "${datasource}"
            named = set(re.findall(r"\$(\w+)", target["expr"]))
            assert named - {"__rate_interval"} <= variables, panel["title"]


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_panels_do_not_overlap(path: Path) -> None:
    taken: set[tuple[int, int]] = set()
    for panel in json.loads(path.read_text("utf-8"))["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        taken |= cells
