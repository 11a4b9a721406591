# SPDX-License-Identifier: BSD-3-Clause
"""A number that cannot be meant is refused by its option's name before anything is read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from broker_plugin.errors import ConfigurationError
from trainer.cli import make_app
from trainer.downstream.chart import chart
from trainer.run_commands import fit_anomaly

ALERTS: dict[str, Any] = {"alerts": [Path("night")], "out": Path("bundle")}


@pytest.mark.parametrize(
    "arguments",
    [
        ("embed", "--data", "stars.parquet", "--first", "0"),
        ("embed", "--data", "stars.parquet", "--first", "-2"),
        ("similar", "--number", "0"),
        ("audit", "--number", "-1"),
        ("audit", "--measure", "--seeds", "0"),
        ("audit", "--seed", "-1"),
        ("audit", "--seed", "4294967296"),
        ("rank", "--number", "0"),
        ("rank", "--measure", "--seeds", "0"),
        ("rank", "--seed", "-1"),
        ("evaluate", "--data", "stars.parquet", "--workers", "0"),
        ("inject", "--data", "stars.parquet", "--hosts", "0"),
        ("inject", "--data", "stars.parquet", "--hosts", "-5"),
        ("inject", "--data", "stars.parquet", "--seed", "-1"),
        ("inject", "--data", "stars.parquet", "--workers", "0"),
        ("report", "--stars", "0"),
        ("report", "--stars", "-3"),
        ("report", "--workers", "0"),
        ("limited-labels", "--percent", "250"),
        ("limited-labels", "--percent", "0"),
        ("limited-labels", "--percent", "nan"),
        ("limited-labels", "--learning-rates", "0"),
        ("limited-labels", "--learning-rates", "inf"),
        ("limited-labels", "--seeds", "0"),
        ("limited-labels", "--passes", "0"),
        ("limited-labels", "--windows-per-pass", "0"),
        ("limited-labels", "--pretraining-passes", "0"),
        ("fit-anomaly", "--splits", "-1"),
        ("fit-anomaly", "--seed", "-1"),
        ("baselines", "--passes", "0"),
        ("seeds", "--workers", "0"),
        ("simulate", "--out", "objects.parquet", "--n", "0"),
        ("simulate", "--n", "5", "--out", "objects.parquet", "--seed", "-1"),
        ("reproduce", "--epochs-max", "0"),
        ("reproduce", "--seeds", "-1"),
        ("map", "--within", "LPV", "--clusters", "1"),
        ("map", "--neighbours", "1"),
        ("map", "--min-dist", "5"),
        ("map", "--min-dist", "-0.1"),
        ("map", "--measure", "--seeds", "0"),
        ("map", "--seed", "-1"),
    ],
)
def test_it_is_refused(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        make_app(arguments[0])(arguments)
    assert ended.value.code in (1, 2)
    captured = capsys.readouterr()
    assert arguments[-2] in captured.out + captured.err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"run": Path("run"), "bundle": "other"}, "--bundle would do nothing with --run"),
        ({"run": Path("run"), "trained_on": Path("stars"), "seed": 2}, "--trained-on, --seed would do"),
        (ALERTS | {"config": Path("c")}, "--config would do nothing with --alerts"),
        (ALERTS | {"evaluation": False}, "--no-evaluation would do nothing"),
    ],
)
def test_options_of_the_other_form_are_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        fit_anomaly(**options)


def test_clusters_of_no_class_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="--within"):
        chart(clusters=3)
