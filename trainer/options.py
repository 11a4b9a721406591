# SPDX-License-Identifier: BSD-3-Clause
"""What the trainer's commands share: options, the data folder, and lines on the console."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter, validators
from rich.console import Console

__all__ = [
    "COUNT",
    "DEFAULT_SETTINGS",
    "SEED",
    "Config",
    "Data",
    "Out",
    "TrainingRun",
    "Unseen",
    "Workers",
    "console",
    "data_folder",
    "given",
    "hush",
    "say",
    "warn",
]

DATA_VARIABLE = "ASTROM3_DATA"

COUNT = validators.Number(gte=1)

SEED = validators.Number(gte=0, lte=2**31 - 1)
"""Every library takes these, and the sums that are made of them."""

DEFAULT_SETTINGS = Path(__file__).parent / "configs/default.toml"
"""Settings of the default bundle, wherever the command is called."""

Config = Annotated[
    Path,
    Parameter(
        help="Settings, a TOML file; default: those of the default bundle, trainer/configs/default.toml.",
        show_default=False,
    ),
]
Data = Annotated[
    Path | None,
    Parameter(
        help=f"Folder that holds lightcurves/, or a file of `trainer build` or `trainer simulate`; default: "
        f"${DATA_VARIABLE} or ../shared/data."
    ),
]
TrainingRun = Annotated[
    Path | None,
    Parameter(
        help="The bundle's training run, whose stars are left out but for its test's; known by their "
        "names, or within 10 arcsec of their places."
    ),
]
Unseen = Annotated[
    bool,
    Parameter(
        negative="",
        help="DATA is the file that the bundle was made from: leave out all but its test stars, as the "
        "bundle's manifest splits them.",
    ),
]
Workers = Annotated[int, Parameter(help="Processes that score.", validator=COUNT)]
Out = Annotated[Path, Parameter(help="Folder of the run: checkpoints, log, cache and results.")]

console = Console(stderr=True)


def data_folder(data: Path | None) -> Path:
    """Return the data that a command was given, or where they are by default."""
    return data or Path(os.environ.get(DATA_VARIABLE) or "../shared/data")


def say(line: str) -> None:
    """Print a line beside the bars."""
    console.print(line, highlight=False, markup=False, soft_wrap=True)


def warn(line: str) -> None:
    """Print a line that should not be overlooked."""
    console.print(line, style="yellow", highlight=False, markup=False, soft_wrap=True)


def given(*, config: Path = DEFAULT_SETTINGS, data: Path | None = None) -> str:
    """Return the options that a further command needs to be of the same settings and data.

    Examples
    --------
    >>> given(config=Path("my settings.toml"), data=Path("stars"))
    " --config 'my settings.toml' --data stars"
    >>> given()
    ''
    """
    options = {
        "config": None if config == DEFAULT_SETTINGS else config,
        "data": data,
    }
    return "".join(
        f" --{name} {shlex.quote(str(path))}" for name, path in options.items() if path is not None
    )


def hush(line: str) -> None:
    """Print nothing: another process says it."""
