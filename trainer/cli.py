# SPDX-License-Identifier: BSD-3-Clause
"""The command `trainer`: from labelled light curves to a bundle."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Parameter
from rich.console import Console

from broker_plugin.errors import ConfigurationError
from trainer.astrom3.command import reproduce
from trainer.checkpoint import load_run
from trainer.config import Settings, read_settings
from trainer.fitting import fit, measure
from trainer.preparation import Prepared, prepare, progress_bar, train_set, validation_set
from trainer.training import train

__all__ = ["app", "main"]

DATA_VARIABLE = "ASTROM3_DATA"

app = App(
    name="trainer",
    help="""Train the encoders, the forests and the calibration of a bundle.

A scientist's loop is: edit a copy of trainer/configs/default.toml, `trainer train --config COPY --out
runs/mine --bundle my-bundle`, compare the two MODEL_CARD.md, and point `broker-plugin run --bundle` at the
better one. Stopped runs go on where they were.
""",
)

Data = Annotated[
    Path | None,
    Parameter(help=f"Folder that holds lightcurves/; default: ${DATA_VARIABLE} or ../shared/data."),
]
Out = Annotated[Path, Parameter(help="Folder of the run: checkpoints, log, cache and results.")]
BundleFolder = Annotated[
    Path | None, Parameter(help="Where to put the finished bundle; default: OUT/bundle.")
]

_console = Console(stderr=True)


@app.command(name="train")
def train_command(
    *,
    config: Annotated[Path, Parameter(help="Settings, a TOML file.")] = Path("trainer/configs/default.toml"),
    data: Data = None,
    out: Out = Path("runs/default"),
    bundle: BundleFolder = None,
) -> None:
    """Do everything: imitate alerts, train, fit forests, calibrate, evaluate, export and verify the bundle.

    About an hour on one core with the default settings; most of it can be stopped and resumed.
    """
    prepared = _prepare(read_settings(config), data, out)
    _pretrain(prepared, out)
    _finish(prepared, out, bundle, evaluation=True)


@app.command
def pretrain(
    *,
    config: Annotated[Path, Parameter(help="Settings, a TOML file.")] = Path("trainer/configs/default.toml"),
    data: Data = None,
    out: Out = Path("runs/default"),
) -> None:
    """Train the encoders and the classifier only, contrastively and on the classes at once."""
    _pretrain(_prepare(read_settings(config), data, out), out)


@app.command
def fit_anomaly(
    *,
    config: Annotated[
        Path | None, Parameter(help="Settings, a TOML file; default: those of the run.")
    ] = None,
    data: Data = None,
    out: Out = Path("runs/default"),
    bundle: BundleFolder = None,
    evaluation: Annotated[bool, Parameter(help="Measure on the test split too.")] = True,
) -> None:
    """Fit the forests and the calibration of a trained run, and export its bundle."""
    settings = read_settings(config) if config else load_run(out).settings
    _finish(_prepare(settings, data, out), out, bundle, evaluation=evaluation)


@app.command
def evaluate(*, data: Data = None, out: Out = Path("runs/default")) -> None:
    """Measure a trained run on the test split; results go to OUT/evaluation.json."""
    prepared = _prepare(load_run(out).settings, data, out)
    measure(prepared, fit(prepared, out, say=_say), out, say=_say)
    _say(f"wrote {out / 'evaluation.json'}")


app.command(reproduce)


def main() -> None:
    """Run the command line; errors that the user can mend are printed without a traceback."""
    try:
        app()
    except ConfigurationError as error:
        _console.print(f"[bold red]trainer:[/] {error}", highlight=False, soft_wrap=True)
        sys.exit(2)


def _prepare(settings: Settings, data: Path | None, out: Path) -> Prepared:
    folder = data or Path(os.environ.get(DATA_VARIABLE) or "../shared/data")
    return prepare(settings, folder, out, say=_say)


def _pretrain(prepared: Prepared, out: Path) -> None:
    settings = prepared.run.settings.data
    with progress_bar("validation alerts", settings.validation_alerts) as advance:
        validation = validation_set(prepared, advance=advance)
    with progress_bar("training alerts", settings.train_sets * settings.alerts_per_set) as advance:
        for number in range(settings.train_sets):
            train_set(prepared, number, advance=advance)
    train(prepared.run, out, lambda number: train_set(prepared, number), validation, on_pass=_say_pass)


def _finish(prepared: Prepared, out: Path, bundle: Path | None, *, evaluation: bool) -> None:
    fitted = fit(prepared, out, say=_say)
    if evaluation:
        measure(prepared, fitted, out, say=_say)
    target = bundle or out / "bundle"
    command = [sys.executable, "-m", "export", "--checkpoint", str(out), "--out", str(target)]
    if subprocess.run(command, check=False).returncode != 0:  # noqa: S603 - our own module
        raise ConfigurationError(f"the export of {out} failed; the message above says why")


def _say(line: str) -> None:
    _console.print(line, highlight=False)


def _say_pass(record: Mapping[str, Any]) -> None:
    _say("  ".join(f"{name} {value}" for name, value in record.items()))
