# SPDX-License-Identifier: BSD-3-Clause
"""The sets that a model is trained on, one a pass: imitated alerts, windows of observed epochs, and cuts.

Windows are drawn from pools, one for each number of epochs, and from each pool as many, so that rare classes,
of whose stars there are more runs than of others (`class_windows`), have them at every length. Alerts as a
survey would have sent them (`trainer.survey_cut`) are a pool of their own. In every pool, and among the
imitated alerts, the classes have the shares of `tempered` by their numbers of stars: the head's prior shift
counts on it. All of it is held in memory, 3 GB with the default settings.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from trainer.data.splits import Split
from trainer.outliers import Oddity
from trainer.plans import Plan, often_enough, planned_runs
from trainer.preparation import (
    Prepared,
    cut_set,
    imitated_set,
    made,
    n_cuts,
    n_windows,
    ordinary,
    window_kinds,
    window_set,
)
from trainer.sets import ExampleSet, join_sets
from trainer.tempering import draw_classes, tempered
from trainer.windows import FIRST_EPOCHS

__all__ = ["TrainingSets", "ordinary_sets", "run_set"]

Advance = Callable[[int], None]

Pool = Sequence[ExampleSet]
"""Windows to draw from, in parts, since to join them would double the memory."""


class TrainingSets:
    """The set of each pass, by its number; all that is dear is made once and held in memory."""

    def __init__(self, prepared: Prepared, *, advance: Advance = lambda n: None) -> None:
        data = prepared.run.settings.data
        self._data, self._label = data, prepared.stars.label
        labels = self._label[prepared.members(Split.TRAIN)]
        self._share = tempered(np.bincount(labels[labels >= 0]))
        self._seed = prepared.run.settings.training_seed
        self._pools, self._odd = _window_pools(prepared, advance) if prepared.has_windows else ([], None)
        self._cuts = [cut_set(prepared, advance=advance)] if prepared.has_cuts else []
        self._imitated = [imitated_set(prepared, k, advance=advance) for k in range(data.train_sets)]

    @staticmethod
    def size(prepared: Prepared) -> int:
        """Return how many alerts are made for it."""
        data = prepared.run.settings.data
        windows = 0
        if prepared.has_windows:
            windows = n_windows(prepared, Split.TRAIN) + sum(
                len(_run_stars(prepared, n)) for n in FIRST_EPOCHS
            )
        cuts = n_cuts(prepared) if prepared.has_cuts else 0
        return data.train_sets * data.alerts_per_set + windows + cuts

    def __call__(self, number: int) -> ExampleSet:
        """Return the set of a pass: imitated sets take turns, windows are drawn anew."""
        parts = [self._imitated[number % len(self._imitated)]]
        n = self._data.windows_per_set
        rng = np.random.default_rng((self._seed, 9, number))
        if self._odd is not None:
            n_odd = round(self._data.odd_share * n)
            parts += self._drawn([self._odd], n_odd, rng)
            n -= n_odd
        for number_left, pool in zip(range(len(self._pools), 0, -1), self._pools, strict=True):
            parts += self._drawn(pool, n // number_left, rng)
            n -= n // number_left
        if self._cuts:
            parts += self._drawn(self._cuts, self._data.cuts_per_set, rng)
        return join_sets(parts)

    def _drawn(self, pool: Pool, n: int, rng: np.random.Generator) -> list[ExampleSet]:
        """Return `n` windows of a pool, their classes tempered by the numbers of training stars."""
        label = np.concatenate([self._label[part.star] for part in pool])
        rows = draw_classes(label, self._share, n, rng)
        taken, start = [], 0
        for part in pool:
            own = rows[(rows >= start) & (rows < start + len(part))]
            taken.append(part.take(own - start))
            start += len(part)
        return taken


def ordinary_sets(prepared: Prepared, n: int) -> list[ExampleSet]:
    """Return the first `n` sets of training alerts, or as many as there are, without what was made odd."""
    sets = TrainingSets(prepared)
    return [ordinary(sets(number)) for number in range(min(n, prepared.run.settings.data.train_sets))]


def run_set(
    prepared: Prepared, n_epochs: int | None, *, advance: Advance = lambda n: None
) -> ExampleSet | None:
    """Return runs that stand for the first `n_epochs` of the training stars; None where none are wanted."""
    star = _run_stars(prepared, n_epochs)
    if len(star) == 0:
        return None
    settings = prepared.run.settings
    rng = np.random.default_rng((settings.seed, 19, FIRST_EPOCHS.index(n_epochs)))
    plan = Plan.of_windows(
        star,
        planned_runs(prepared.stars, star, n_epochs, rng),
        seed=settings.seed,
        peers=prepared.members(Split.TRAIN).astype(np.int64),
    )
    return made(prepared, plan, f"runs-{n_epochs or 'all'}", advance)


def _run_stars(prepared: Prepared, n_epochs: int | None) -> NDArray[np.int64]:
    """Return the star of each run that stands for the first `n_epochs`."""
    data, number = prepared.run.settings.data, FIRST_EPOCHS.index(n_epochs)
    if number >= len(data.runs_per_star):
        return np.zeros(0, np.int64)
    return often_enough(
        prepared.stars.label,
        prepared.members(Split.TRAIN).astype(np.int64),
        of_star=data.runs_per_star[number],
        of_class=data.class_windows,
    )


def _window_pools(prepared: Prepared, advance: Advance) -> tuple[list[Pool], ExampleSet | None]:
    """Return the pools of ordinary windows, and the odd ones if there are any."""
    windows, kind = window_set(prepared, Split.TRAIN, advance=advance), window_kinds(prepared, Split.TRAIN)
    odd = windows.oddity != Oddity.ORDINARY
    pools: list[Pool] = []
    for number, n_epochs in enumerate(FIRST_EPOCHS):
        runs = run_set(prepared, n_epochs, advance=advance)
        first = windows.take(np.flatnonzero((kind == number) & ~odd))
        pools.append([first] if runs is None else [first, runs])
    pools.append([windows.take(np.flatnonzero((kind == len(FIRST_EPOCHS)) & ~odd))])
    return pools, windows.take(np.flatnonzero(odd)) if odd.any() else None
