# SPDX-License-Identifier: BSD-3-Clause
"""`trainer fit-anomaly --alerts`: from an archive of alerts to a new version of a bundle."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from broker_plugin.bundle import open_bundle
from trainer.exporting import run_export
from trainer.stream.archive import read_archive
from trainer.stream.refit import refit, training_positions

__all__ = ["Recalibration", "recalibrate"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Recalibration:
    """What the command was asked for.

    Parameters
    ----------
    bundle
        Name or directory of the finished bundle.
    trained_on
        Parquet file of positions whose alerts are left out, or None.
    out
        Folder of the new bundle.
    """

    bundle: str
    alerts: tuple[Path, ...]
    surveys: tuple[str, ...]
    schemas: tuple[Path, ...]
    trained_on: Path | None
    splits: int
    seed: int
    version: str | None
    out: Path


def recalibrate(asked: Recalibration, *, say: Callable[[str], None]) -> None:
    """Read the alerts, fit forests and calibration on them, and export the new bundle.

    Raises
    ------
    ConfigurationError
        If bundle or alerts cannot be read, the archive is too small, or the export fails.
    """
    bundle = open_bundle(asked.bundle)
    apart_from = None if asked.trained_on is None else training_positions(asked.trained_on)
    archive = read_archive(asked.alerts, surveys=asked.surveys, schemas=asked.schemas)
    for survey, counts in archive.funnel.items():
        say(f"{survey}: " + ", ".join(f"{name.replace('_', ' ')} {n:,}" for name, n in counts.items()))
    with tempfile.TemporaryDirectory() as folder:
        refit(
            bundle,
            archive,
            Path(folder),
            seed=asked.seed,
            splits=asked.splits,
            apart_from=apart_from,
            say=say,
        )
        version = () if asked.version is None else ("--version", asked.version)
        run_export("--bundle", asked.bundle, "--stream", folder, "--out", str(asked.out), *version)
