# SPDX-License-Identifier: BSD-3-Clause
"""The command line says what it needs."""

import io
import math
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from rich.console import Console

from broker_plugin.errors import ConfigurationError
from tests.support.artefacts import REPOSITORY
from tests.support.process import wait_until
from tests.trainer.synthetic import tiny_settings, write_toml
from trainer.cli import COMMANDS, make_app
from trainer.config import read_settings

BEGUN_S = 0.5
"""Processor time after which a new process has read what it was started for; its imports take longer."""


def run_trainer(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "trainer", *arguments],
        capture_output=True,
        text=True,
        cwd=REPOSITORY,
        env=os.environ | environment,
        check=False,
    )


def test_the_help_names_every_command() -> None:
    shown = run_trainer("--help").stdout
    for command, (_, summary) in COMMANDS.items():
        assert command in shown
        assert summary.partition(" ")[0] in shown


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_is_there_and_explains_itself(command: str) -> None:
    shown = io.StringIO()
    make_app(command).help_print([command], console=Console(file=shown, width=200))
    assert f"trainer {command}" in shown.getvalue()
    assert "Parameters" in shown.getvalue()


def test_absent_data_stops_with_what_to_do(tmp_path: Path) -> None:
    done = run_trainer("train", "--data", str(tmp_path), "--out", str(tmp_path / "run"))
    assert done.returncode == 2
    assert "--data" in done.stderr
    assert "ASTROM3_DATA" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_signal_ends_a_training_and_its_processes(
    catalogue: Path, tmp_path: Path, number: signal.Signals
) -> None:
    config = REPOSITORY / "trainer/configs/quick.toml"
    # `train` would want more stars, to calibrate on.
    command = ["finetune", "--config", str(config), "--data", str(catalogue), "--out", str(tmp_path)]
    with (tmp_path / "told").open("w") as told:
        running = subprocess.Popen(
            [sys.executable, "-m", "trainer", *command], cwd=REPOSITORY, stderr=told, stdout=told
        )
    process, workers = psutil.Process(running.pid), read_settings(config).data.workers

    def at_work() -> bool:
        """Tell whether the workers know what they are to do: they import it."""
        return sum(each.cpu_times().user > BEGUN_S for each in process.children()) >= workers

    wait_until(at_work, what="the processes that imitate alerts")
    helpers = process.children()
    running.send_signal(number)
    assert running.wait(60) == -number
    assert not psutil.wait_procs(helpers, timeout=30)[1]
    lines = (tmp_path / "told").read_text().splitlines()
    assert (lines[-1] == "trainer: stopped by SIGTERM") == (number == signal.SIGTERM)
    assert not any("Traceback" in line for line in lines)


@pytest.mark.parametrize("name", ["default", "quick"])
def test_the_settings_that_come_with_the_trainer_are_valid(name: str) -> None:
    assert read_settings(REPOSITORY / f"trainer/configs/{name}.toml").name == name


def test_an_unknown_setting_is_refused(tmp_path: Path) -> None:
    text = (REPOSITORY / "trainer/configs/quick.toml").read_text()
    path = tmp_path / "wrong.toml"
    path.write_text(text.replace("passes =", "passses ="))
    with pytest.raises(ConfigurationError, match=r"training\.passses: .* not permitted") as refusal:
        read_settings(path)
    assert "https://" not in str(refusal.value)
    path.write_text("passes 3")
    with pytest.raises(ConfigurationError, match="is not TOML"):
        read_settings(path)
    with pytest.raises(ConfigurationError, match="--config"):
        read_settings(tmp_path / "absent.toml")


NOTHING: dict[str, object] = {}


def columns(**column: object) -> dict[str, object]:
    """Return catalogue values with one column."""
    spec = {"columns": [{"name": "gal_lat_deg"} | column]}
    return {"metadata": {"spec": spec, "encoder": {"hidden_dim": 16}}}


def light(**sizes: object) -> dict[str, object]:
    """Return light curves whose encoder has some other sizes."""
    usual = {"model_dim": 16, "heads": 2, "layers": 1, "feedforward_dim": 32}
    return {"photometry": {"spec": {"max_epochs": 64}, "encoder": usual | sizes}}


@pytest.mark.parametrize(
    ("section", "wrong", "said"),
    [
        ("calibration", {"alerts_per_stratum": 399}, r"calibration\.alerts_per_stratum: .* 400"),
        ("calibration", {"epoch_edges": []}, r"calibration\.epoch_edges: .* begin with 0 and rise"),
        ("calibration", {"epoch_edges": [0]}, r"calibration\.epoch_edges: give two"),
        ("calibration", {"epoch_edges": [1, 8]}, r"calibration\.epoch_edges: .* begin with 0"),
        ("calibration", {"epoch_edges": [0, 8, 8]}, r"calibration\.epoch_edges: .* rise"),
        ("data", {"split_fractions": [0.5, 0.1, 0.2, 0.1]}, r"data\.split_fractions: .* not to 0\.9"),
        ("data", {"split_fractions": [0.9, 0.1, 0.2, -0.2]}, r"data\.split_fractions\.3: .* greater than 0"),
        ("data", {"split_fractions": [0.8, 0.0, 0.1, 0.1]}, r"data\.split_fractions\.1: .* greater than 0"),
        ("training", {"learning_rate": math.inf}, r"training\.learning_rate: .* finite"),
        ("training", {"weight_decay": math.nan}, r"training\.weight_decay: .* finite"),
        ("training", {"seed": -1}, r"training\.seed: "),
        ("evaluation", {"seeds": [-1]}, r"evaluation\.seeds\.0: "),
        ("modalities", {"nope": NOTHING}, r"modalities: no modality 'nope'; there are .*photometry"),
        ("modalities", columns(transform="zz"), r"metadata\.spec\.columns\.0\.transform: no transform 'zz'"),
        ("modalities", columns(name="zz"), r"metadata\.spec\.columns\.0\.name: no column 'zz'"),
        ("modalities", columns(std=math.inf), r"metadata\.spec\.columns\.0\.std: .* finite"),
        ("modalities", {"photometry": NOTHING}, r"photometry\.spec\.max_epochs: Field required"),
        ("modalities", light(heads=3), r"\[modalities\.photometry\.encoder\]: heads must divide model_dim"),
        ("modalities", light(layers=0), r"\[modalities\.photometry\.encoder\]: layers: .* greater than 0"),
    ],
)
def test_an_impossible_setting_is_refused_by_its_name(
    tmp_path: Path, section: str, wrong: dict[str, object], said: str
) -> None:
    settings = tiny_settings().model_dump(mode="json", exclude_none=True)
    settings[section] |= wrong
    with pytest.raises(ConfigurationError, match=said) as refusal:
        read_settings(write_toml(settings, tmp_path / "wrong.toml"))
    assert "Value error" not in str(refusal.value)


@pytest.mark.parametrize("seed", [-5, 0, 2**31])
def test_an_impossible_seed_is_refused(tmp_path: Path, seed: int) -> None:
    settings = tiny_settings().model_dump(mode="json", exclude_none=True) | {"seed": seed}
    with pytest.raises(ConfigurationError, match="seed: Input should be"):
        read_settings(write_toml(settings, tmp_path / "wrong.toml"))
