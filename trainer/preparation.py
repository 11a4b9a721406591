# SPDX-License-Identifier: BSD-3-Clause
"""From the data folder to a run: stars, splits, scalers, and the sets of imitated alerts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from broker_plugin.features.modalities.metadata import TRANSFORMS
from broker_plugin.taxonomy import CLASSES
from trainer.checkpoint import Run, save_run
from trainer.config import Settings
from trainer.data.catalina import FILE, file_digest, read_catalina
from trainer.data.splits import Split, split_stars
from trainer.data.stars import StarTable, read_stars, write_stars
from trainer.sets import ExampleSet, Plan, balanced_plan, make_set, natural_plan

__all__ = [
    "CLASS_PRIOR",
    "Prepared",
    "bin_limits",
    "prepare",
    "progress_bar",
    "set_of_bin",
    "train_set",
    "validation_set",
]

CLASS_PRIOR = "catalina-sss"
"""Name of the class frequencies: those of the periodic variables of the Catalina Southern Survey."""

MAG_SCATTER = 2.0
"""Assumed spread of the reference magnitude. Wider than the catalogue's own, since surveys go deeper."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A run with its stars and their splits; `cache` keeps what is dear to compute.

    Parameters
    ----------
    make
        Makes the alerts of a part of a plan; without it they are imitated from the stars.
    """

    run: Run
    stars: StarTable
    split: NDArray[np.int8]
    cache: Path
    make: Callable[[Plan, int], ExampleSet] | None = None

    @property
    def stars_path(self) -> Path:
        """File of the stars, which worker processes read."""
        return self.cache / "stars.npz"

    def members(self, split: Split) -> NDArray[np.intp]:
        """Return the stars of a split."""
        return np.flatnonzero(self.split == split)


def prepare(settings: Settings, data: Path, out: Path, *, say: Callable[[str], None]) -> Prepared:
    """Read the stars, split them, fit the scalers and write what is fixed for the run."""
    cache = out / "cache"
    digest = file_digest(data / FILE) if (data / FILE).is_file() else ""
    marker = cache / "stars.sha256"
    if marker.is_file() and marker.read_text() == digest:
        stars = read_stars(cache / "stars.npz")
        say(f"{len(stars):,} stars from {cache / 'stars.npz'}")
    else:
        stars, funnel = read_catalina(data)
        write_stars(stars, cache / "stars.npz")
        marker.write_text(digest)
        for line in funnel.lines():
            say(line)
    split = split_stars(stars, settings.data.split_fractions, seed=settings.seed)
    train = split == Split.TRAIN
    counts = np.bincount(stars.label[train], minlength=len(CLASSES))
    run = Run(
        settings=settings,
        specs={
            name: {**_scalers(name, stars, train), **modality.spec}
            for name, modality in settings.modalities.items()
        },
        classes=tuple(entry.name for entry in CLASSES),
        class_prior=CLASS_PRIOR,
        frequencies=tuple(float(share) for share in counts / counts.sum()),
        data={
            "file": FILE,
            "sha256": digest,
            "stars": len(stars),
            "stars_by_split": {each.name.lower(): int((split == each).sum()) for each in Split},
            "train_stars_by_class": {
                entry.name: int(count) for entry, count in zip(CLASSES, counts, strict=True)
            },
        },
    )
    save_run(run, out)
    return Prepared(run=run, stars=stars, split=split, cache=cache)


def train_set(
    prepared: Prepared, number: int, *, advance: Callable[[int], None] = lambda n: None
) -> ExampleSet:
    """Return a set of training alerts with equal shares of the classes."""
    settings = prepared.run.settings
    plan = balanced_plan(
        prepared.stars.label,
        prepared.members(Split.TRAIN),
        n=settings.data.alerts_per_set,
        seed=settings.seed + number,
    )
    return _made(prepared, plan, f"train-{number}", advance)


def validation_set(prepared: Prepared, *, advance: Callable[[int], None] = lambda n: None) -> ExampleSet:
    """Return the alerts that training is watched with."""
    settings = prepared.run.settings
    plan = balanced_plan(
        prepared.stars.label,
        prepared.members(Split.VALIDATION),
        n=settings.data.validation_alerts,
        seed=settings.seed - 1,
    )
    return _made(prepared, plan, "validation", advance)


def set_of_bin(
    prepared: Prepared,
    split: Split,
    bin_: int,
    *,
    n: int,
    seed: int,
    observed_share: float | None = None,
    advance: Callable[[int], None] = lambda n: None,
) -> ExampleSet:
    """Return alerts with natural class frequencies whose number of epochs lies in a bin of the calibration.

    An alert that came out with fewer epochs is left out, so that a bin holds what its name says.
    """
    low, high = bin_limits(prepared.run.settings, bin_)
    share = {} if observed_share is None else {"observed_share": observed_share}
    plan = natural_plan(prepared.members(split), low=low, high=high, n=n, seed=seed, **share)
    name = f"{split.name.lower()}-{low}-{seed}" + ("" if observed_share is None else f"-{observed_share:g}")
    examples = _made(prepared, plan, name, advance)
    return examples.take(np.flatnonzero(examples.n_epochs >= low))


def bin_limits(settings: Settings, bin_: int) -> tuple[int, int]:
    """Return the least and the largest number of epochs of a bin of the calibration."""
    edges = (*settings.calibration.epoch_edges, settings.max_epochs + 1)
    return edges[bin_], edges[bin_ + 1] - 1


@contextmanager
def progress_bar(what: str, total: int) -> Iterator[Callable[[int], None]]:
    """Show a bar while the block runs; it yields the function that advances it."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task(what, total=total)
        yield lambda n: progress.advance(task, n)


def _made(prepared: Prepared, plan: Plan, name: str, advance: Callable[[int], None]) -> ExampleSet:
    return make_set(
        plan,
        prepared.run.specs,
        prepared.stars_path,
        cache=prepared.cache / f"{name}.npz",
        workers=prepared.run.settings.data.workers,
        advance=advance,
        make=prepared.make,
    )


def _scalers(name: str, stars: StarTable, train: NDArray[np.bool_]) -> dict[str, object]:
    """Return what the spec of a modality takes from the training stars."""
    return {"columns": _scaled_columns(stars, train)} if name == "metadata" else {}


def _scaled_columns(stars: StarTable, train: NDArray[np.bool_]) -> list[dict[str, object]]:
    """Return the spec of the metadata columns: all that the training catalogue has."""
    latitude = TRANSFORMS["abs_sin_deg"](stars.gal_lat_deg[train])
    return [
        {
            "name": "gal_lat_deg",
            "transform": "abs_sin_deg",
            "mean": round(float(latitude.mean()), 6),
            "std": round(float(latitude.std()), 6),
        },
        {
            "name": "reference_mag",
            "transform": "identity",
            "mean": round(float(stars.mean_mag[train].mean()), 6),
            "std": MAG_SCATTER,
        },
    ]
