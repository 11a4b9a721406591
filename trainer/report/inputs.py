# SPDX-License-Identifier: BSD-3-Clause
"""Where the report finds what other commands have measured, and which command makes what is not there."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from broker_plugin.errors import ConfigurationError
from trainer.catalogue_baselines.command import BASELINES
from trainer.predictions import PredictionFile, read_predictions
from trainer.report.comparison import Contender
from trainer.seeds import SEEDS

__all__ = ["FILES", "Inputs", "find_inputs"]

FILES: Mapping[str, tuple[str, str]] = {
    "retrieval": ("retrieval.json", "trainer retrieve --out {run}"),
    "injected": (
        "injected.json",
        "trainer inject --bundle {bundle} --data {data} --run {run} --out {run}/injected.json",
    ),
    "limited_labels": ("limited_labels.json", "trainer limited-labels --run {run} --out {run}"),
    "cross_survey": ("cross_survey.json", "trainer cross-survey --bundle {bundle} --out {run}"),
}
"""By section, the file of a run that holds its results, and the command that writes it."""

OF_RUN: Mapping[str, str] = {
    "baselines": "trainer baselines --out {run}",
    "astrom3": "trainer baselines --astrom3 --out {run}",
    "seeds": "trainer seeds --run {run}",
}
"""By section, the command that writes what is found in folders of a run."""

NO_RUN = "give --run, a training run"
"""What to do about a section that only a run can have."""

WITHOUT_RUN: Mapping[str, str] = {
    "injected": "trainer inject --bundle {bundle} --data {data} --out injected.json",
    "cross_survey": "trainer cross-survey --bundle {bundle} --out .",
}
"""By section, the command for a bundle without its run; the file is then given to the report."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """What was found.

    Parameters
    ----------
    baselines
        In the order of their names.
    results
        By the sections of `FILES`, those that were found.
    trainings
        Predictions of the same training with other seeds, by name.
    missing
        By section, the command that would make what is missing, or what else to do.
    again
        The command for the same training with other seeds.
    """

    baselines: tuple[Contender, ...]
    trainings: Mapping[str, PredictionFile]
    results: Mapping[str, Mapping[str, Any]]
    missing: Mapping[str, str]
    again: str = NO_RUN


def find_inputs(run: Path | None, given: Mapping[str, Path | None], *, bundle: str, data: Path) -> Inputs:
    """Return what lies in a run and what was given besides.

    Parameters
    ----------
    given
        By section, a file in place of the run's.

    Raises
    ------
    ConfigurationError
        If a file that was given is not there, or one holds no results.
    """
    how = _commands(run, bundle=bundle, data=data)
    results, missing = {}, {}
    for section, (file, _) in FILES.items():
        path = given.get(section) or (run / file if run else None)
        if path is not None and (path.is_file() or given.get(section)):
            results[section] = _read(path)
        else:
            missing[section] = how[section]
    baselines = _baselines(run)
    if not baselines:
        missing["baselines"] = how["baselines"]
    elif not any(each.name == "astrom3" for each in baselines):
        missing["astrom3"] = how["astrom3"]
    trainings = {path.stem: read_predictions(path) for path in _parquet_files(run, SEEDS)}
    if not trainings:
        missing["seeds"] = how["seeds"]
    return Inputs(
        baselines=baselines, trainings=trainings, results=results, missing=missing, again=how["seeds"]
    )


def _commands(run: Path | None, *, bundle: str, data: Path) -> dict[str, str]:
    """Return by section the command that makes it, or what to do where there is none."""
    templates = {section: command for section, (_, command) in FILES.items()} | dict(OF_RUN)
    if run is None:
        templates = {section: WITHOUT_RUN.get(section, NO_RUN) for section in templates}
    given = {"run": run, "bundle": bundle, "data": data}
    names = {name: shlex.quote(str(each)) for name, each in given.items()}
    return {section: template.format(**names) for section, template in templates.items()}


def _baselines(run: Path | None) -> tuple[Contender, ...]:
    contenders = []
    for path in _parquet_files(run, BASELINES):
        found = read_predictions(path)
        contenders.append(Contender(name=path.stem, budget=found.about.get("budget", ""), file=found))
    return tuple(contenders)


def _parquet_files(run: Path | None, folder: str) -> list[Path]:
    return sorted((run / folder).glob("*.parquet")) if run else []


def _read(path: Path) -> Mapping[str, Any]:
    try:
        content: Mapping[str, Any] = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise ConfigurationError(f"cannot read {path}: {error.strerror}") from error
    except ValueError as error:
        raise ConfigurationError(f"{path} is not JSON: {error}; write it again") from error
    return content
