# SPDX-License-Identifier: BSD-3-Clause
"""Where the report finds what other commands have measured, and which command makes what is not there."""

from __future__ import annotations

import json
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
    "injected": ("injected.json", "trainer inject --data {data} --run {run} --out {run}/injected.json"),
    "limited_labels": ("limited_labels.json", "trainer limited-labels --run {run} --out {run}"),
    "cross_survey": ("cross_survey.json", "trainer cross-survey --bundle {bundle} --out {run}"),
}
"""By section, the file of a run that holds its results, and the command that writes it."""


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
        By section, the command that would make what is missing.
    """

    baselines: tuple[Contender, ...]
    trainings: Mapping[str, PredictionFile]
    results: Mapping[str, Mapping[str, Any]]
    missing: Mapping[str, str]


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
    names = {"run": run or "RUN", "bundle": bundle, "data": data}
    results, missing = {}, {}
    for section, (file, command) in FILES.items():
        path = given.get(section) or (run / file if run else None)
        if path is not None and (path.is_file() or given.get(section)):
            results[section] = _read(path)
        else:
            missing[section] = command.format(**names)
    baselines = _baselines(run)
    if not baselines:
        missing["baselines"] = "trainer baselines --out {run}".format(**names)
    elif not any(each.name == "astrom3" for each in baselines):
        missing["astrom3"] = "trainer baselines --astrom3 --out {run}".format(**names)
    trainings = {path.stem: read_predictions(path) for path in _parquet_files(run, SEEDS)}
    if not trainings:
        missing["seeds"] = "trainer seeds --run {run}".format(**names)
    return Inputs(baselines=baselines, trainings=trainings, results=results, missing=missing)


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
