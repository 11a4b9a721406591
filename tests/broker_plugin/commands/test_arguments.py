# SPDX-License-Identifier: BSD-3-Clause
"""An argument that cannot be meant is refused by name before anything is done."""

from __future__ import annotations

from pathlib import Path

import pytest

from broker_plugin.cli import main


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["inspect", "default", "--limit", "-1"], "--limit"),
        (["inspect", "default", "--limit", "0"], "--limit"),
        (["demo", "--seed", "-1"], "--seed"),
        (["demo", "--n-alerts", "0"], "--n-alerts"),
        (["demo", "--n-alerts", "-4"], "--n-alerts"),
        (["replay", "alerts.avro"], "give --out FILE"),
    ],
)
def test_it_is_refused(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    said: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code in (1, 2)
    captured = capsys.readouterr()
    assert said in captured.out + captured.err
    assert not list(tmp_path.iterdir())


def test_each_example_of_the_help_has_a_line_of_its_own(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    for command in ("subscribe", "replay"):
        with pytest.raises(SystemExit):
            main([command, "--help"])
        lines = capsys.readouterr().out.splitlines()
        assert sum(f"broker-plugin {command} " in line for line in lines) >= 3  # with the usage line
        assert all(line.count("broker-plugin") <= 1 for line in lines)
