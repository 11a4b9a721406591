# SPDX-License-Identifier: BSD-3-Clause
"""From the data folder to a run: stars, splits, scalers, and the sets of imitated alerts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from broker_plugin.errors import ConfigurationError
from broker_plugin.records import AlertBatch
from trainer.checkpoint import NOTHING_KEPT, Kept, Run, load_run, save_run
from trainer.config import Settings
from trainer.data.cached import keep_labelled, labelled_stars
from trainer.data.catalina import FILE, file_digest
from trainer.data.splits import Split, split_stars
from trainer.data.stars import StarTable, read_stars
from trainer.data.used import UsedStars, used_stars
from trainer.encoders import fitted_specs
from trainer.outliers import UNASKED, Oddity
from trainer.plans import Plan, cut_plan, natural_plan, planned_windows, tempered_plan
from trainer.seen import SEEN, read_seen
from trainer.sets import ExampleSet, make_set
from trainer.windows import FIRST_EPOCHS, Windows, growing_windows, random_windows, window_alerts

__all__ = [
    "Prepared",
    "bin_limits",
    "calibration_set",
    "cut_set",
    "first_set",
    "imitated_set",
    "made",
    "n_cuts",
    "n_windows",
    "natural_sets",
    "ordinary",
    "prepare",
    "scaler_sample",
    "seen_stars",
    "set_of_bin",
    "validation_set",
    "window_kinds",
    "window_set",
    "windows_of_bin",
]

SCALER_STARS = 2000
"""Stars that the scalers are fitted on: a mean to 2 % of the spread."""


FOOTPRINT_QUANTILES = 0.001, 0.999
"""Of the stars' magnitudes: a single slip is not the depth of a survey."""


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

    @property
    def has_windows(self) -> bool:
        """Whether windows of observed epochs are trained on beside imitated alerts."""
        return self.run.settings.data.windows_per_set > 0 and self.make is None

    @property
    def has_cuts(self) -> bool:
        """Whether alerts cut from observed epochs are trained on beside imitated alerts."""
        return self.run.settings.data.cuts_per_set > 0 and self.make is None

    def members(self, split: Split) -> NDArray[np.intp]:
        """Return the stars of a split."""
        return np.flatnonzero(self.split == split)


def prepare(
    settings: Settings,
    data: Path,
    out: Path,
    *,
    say: Callable[[str], None],
    kept: Kept = NOTHING_KEPT,
    saved: bool = True,
) -> Prepared:
    """Read the stars, split them, fit the scalers and write what is fixed for the run.

    Parameters
    ----------
    saved
        Whether the run is written; the folder may hold another one, which began with its encoders.

    Raises
    ------
    ConfigurationError
        If the stars cannot be read, or none is left to train on.
    """
    cache = out / "cache"
    digest = file_digest(data / FILE) if (data / FILE).is_file() else ""
    held_out = settings.data.held_out_classes
    stars, classes = labelled_stars(data, cache, digest=digest, held_out=held_out, say=say)
    split = split_stars(stars, settings.data.split_fractions, seed=settings.seed)
    train = split == Split.TRAIN
    if not train.any():
        raise ConfigurationError(
            f"{len(stars)} stars leave none for training",
            remedy="give more of them, or raise the first of data.split_fractions",
        )
    counts = np.bincount(stars.label[train], minlength=len(classes))
    sample = scaler_sample(stars, np.flatnonzero(train), seed=settings.seed)
    run = Run(
        settings=settings,
        specs=fitted_specs(settings, sample, kept=kept.specs),
        classes=classes,
        class_prior=settings.data.sample,
        frequencies=tuple(float(share) for share in counts / counts.sum()),
        data={
            "file": FILE,
            "sha256": digest,
            "source": settings.data.source,
            "footprint": _footprint(stars),
            "stars": len(stars),
            "stars_by_split": {each.name.lower(): int((split == each).sum()) for each in Split},
            "train_stars_by_class": {name: int(count) for name, count in zip(classes, counts, strict=True)},
            "held_out_classes": list(held_out),
            **kept.data,
        },
    )
    if saved:
        save_run(run, out)
    keep_labelled(stars, classes, cache, digest=digest, held_out=held_out)
    return Prepared(run=run, stars=stars, split=split, cache=cache)


def _footprint(stars: StarTable) -> str:
    """Return where on the sky the stars lie and how bright nearly all of them are, for a reader."""
    south, north = np.floor(stars.dec_deg.min()), np.ceil(stars.dec_deg.max())
    bright, faint = np.quantile(stars.mean_mag, FOOTPRINT_QUANTILES)
    return f"declination {south:.0f} to {north:.0f}, {bright:.1f} to {faint:.1f} mag"


def seen_stars(out: Path) -> UsedStars:
    """Return all stars that a run used in any way but for its test.

    Those from which the encoders had learned that it began with are among them.

    Raises
    ------
    ConfigurationError
        If the folder holds no run.
    """
    run = load_run(out)
    if "stars_by_split" not in run.data:
        raise ConfigurationError(
            f"{out} was made from {run.data['file']}, whose splits stand in the file",
            remedy="give --unseen, with that file as --data, in place of --run",
        )
    path = out / "cache" / "stars.npz"
    if not path.is_file():
        raise ConfigurationError(
            f"{path} is not there any more",
            remedy="give --unseen, with the training file as --data, in place of --run",
        )
    used = used_stars(read_stars(path), run.settings.data.split_fractions, seed=run.settings.seed)
    if not (out / SEEN).is_file():  # nothing was trained yet
        return used
    return used | UsedStars.of_table(read_seen(out), ra="ra", dec="dec")


def imitated_set(
    prepared: Prepared, number: int, *, advance: Callable[[int], None] = lambda n: None
) -> ExampleSet:
    """Return a set of imitated training alerts."""
    settings = prepared.run.settings
    plan = tempered_plan(
        prepared.stars.label,
        prepared.members(Split.TRAIN),
        n=settings.data.alerts_per_set,
        seed=settings.seed + number,
        odd_share=settings.data.odd_share,
    )
    return made(prepared, plan, f"train-{number}", advance)


def window_set(
    prepared: Prepared, split: Split, *, advance: Callable[[int], None] = lambda n: None
) -> ExampleSet:
    """Return windows of every star of a split: its first epochs, and runs of any length from any epoch."""
    star, windows = _window_plan(prepared, split)
    plan = Plan.of_windows(
        star, windows, seed=prepared.run.settings.seed, peers=prepared.members(split).astype(np.int64)
    )
    return made(prepared, plan, f"windows-{split.name.lower()}", advance)


def first_set(prepared: Prepared, split: Split, n_epochs: int | None) -> ExampleSet:
    """Return those windows of `window_set` that hold the first epochs without the catalogue's period."""
    _, windows = _window_plan(prepared, split)
    part = window_kinds(prepared, split) == FIRST_EPOCHS.index(n_epochs)
    return window_set(prepared, split).take(np.flatnonzero(part & ~windows.given))


def window_kinds(prepared: Prepared, split: Split) -> NDArray[np.int64]:
    """Return the position in `FIRST_EPOCHS` of each window of `window_set`, its length for all others."""
    n_windows, n_stars = len(_window_plan(prepared, split)[0]), len(prepared.members(split))
    # The windows of first epochs come first, as many as there are stars for each number of epochs.
    return np.minimum(np.arange(n_windows) // n_stars, len(FIRST_EPOCHS))


def cut_set(prepared: Prepared, *, advance: Callable[[int], None] = lambda n: None) -> ExampleSet:
    """Return alerts cut from the training stars as surveys would have sent them.

    None is odd: next to imitated alerts, of which a fifth is, they would teach that sparse alerts never are.
    """
    cuts = made(prepared, _cut_plan(prepared), "cuts-train", advance)
    return replace(cuts, oddity=np.full(len(cuts), UNASKED, np.int8))


def n_cuts(prepared: Prepared) -> int:
    """Return how many alerts `cut_set` makes."""
    return len(_cut_plan(prepared).star)


def ordinary(examples: ExampleSet) -> ExampleSet:
    """Return the alerts that were left as they are."""
    return examples.take(np.flatnonzero(examples.oddity == Oddity.ORDINARY))


def natural_sets(prepared: Prepared) -> list[ExampleSet]:
    """Return the first epochs of every training star by their number; none for a run without windows."""
    if not prepared.has_windows:
        return []
    windows, kinds = window_set(prepared, Split.TRAIN), window_kinds(prepared, Split.TRAIN)
    return [windows.take(np.flatnonzero(kinds == kind)) for kind in range(len(FIRST_EPOCHS))]


def n_windows(prepared: Prepared, split: Split) -> int:
    """Return how many windows `window_set` makes."""
    return len(_window_plan(prepared, split)[0])


def validation_set(prepared: Prepared, *, advance: Callable[[int], None] = lambda n: None) -> ExampleSet:
    """Return the alerts that training is watched with."""
    settings = prepared.run.settings
    plan = tempered_plan(
        prepared.stars.label,
        prepared.members(Split.VALIDATION),
        n=settings.data.validation_alerts,
        seed=settings.seed - 1,
        odd_share=settings.data.odd_share,
    )
    return made(prepared, plan, "validation", advance)


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
    examples = made(prepared, plan, name, advance)
    return examples.take(np.flatnonzero(examples.n_epochs >= low))


def calibration_set(prepared: Prepared, bin_: int) -> ExampleSet:
    """Return the held-out alerts of a bin of the calibration.

    Where there are windows of observed epochs it rests on them alone: nothing of it is imitated.
    """
    settings = prepared.run.settings
    of_bin = windows_of_bin if prepared.has_windows else set_of_bin
    return of_bin(
        prepared,
        Split.CALIBRATION,
        bin_,
        n=settings.calibration.alerts_per_stratum,
        seed=settings.seed + 40,
    )


def bin_limits(settings: Settings, bin_: int) -> tuple[int, int]:
    """Return the least and the largest number of epochs of a bin of the calibration."""
    edges = (*settings.calibration.epoch_edges, settings.max_epochs + 1)
    return edges[bin_], edges[bin_ + 1] - 1


def windows_of_bin(prepared: Prepared, split: Split, bin_: int, *, n: int, seed: int) -> ExampleSet:
    """Return the first epochs of each of at most `n` stars, their number in a bin of the calibration.

    The first ones, as in a stream that began with the survey: runs from the middle of a light curve are
    as strange a little less often.
    """
    low, high = bin_limits(prepared.run.settings, bin_)
    is_last = bin_ + 1 == len(prepared.run.settings.calibration.epoch_edges)
    rng = np.random.default_rng((seed, 12, bin_))
    members = prepared.members(split).astype(np.int64)
    star = rng.permutation(members[np.diff(prepared.stars.offsets)[members] >= low])[:n]
    windows = growing_windows(prepared.stars, star, rng, low=low, high=None if is_last else high)
    plan = Plan.of_windows(star, windows, seed=seed, peers=members)
    return made(prepared, plan, f"windows-{split.name.lower()}-{low}-{seed}", lambda n: None)


def made(prepared: Prepared, plan: Plan, name: str, advance: Callable[[int], None]) -> ExampleSet:
    """Return the alerts of a plan, those of the run's cache if they are the same."""
    return make_set(
        plan,
        prepared.run.specs,
        prepared.stars_path,
        cache=prepared.cache / f"{name}.npz",
        workers=prepared.run.settings.data.workers,
        advance=advance,
        make=prepared.make,
    )


def _window_plan(prepared: Prepared, split: Split) -> tuple[NDArray[np.int64], Windows]:
    """Return the star of each window of a split, and the windows, the first epochs first."""
    settings = prepared.run.settings
    return planned_windows(
        prepared.stars,
        prepared.members(split).astype(np.int64),
        of_class=settings.data.class_windows,
        odd=settings.data.odd_share > 0 and prepared.make is None,
        rng=np.random.default_rng((settings.seed, 10, int(split))),
    )


def _cut_plan(prepared: Prepared) -> Plan:
    settings = prepared.run.settings
    return cut_plan(
        prepared.stars.label,
        prepared.members(Split.TRAIN).astype(np.int64),
        of_class=settings.data.class_windows,
        seed=settings.seed,
    )


def scaler_sample(stars: StarTable, members: NDArray[np.intp], *, seed: int) -> AlertBatch:
    """Return alerts of some training stars, for the scalers."""
    rng = np.random.default_rng((seed, 11))
    star = np.sort(rng.choice(members, min(SCALER_STARS, len(members)), replace=False)).astype(np.int64)
    return AlertBatch.from_alerts(window_alerts(stars, star, random_windows(stars, star, rng)))
