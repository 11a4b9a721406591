# SPDX-License-Identifier: BSD-3-Clause
"""The sets that a model is trained on, one a pass: imitated alerts, and windows of observed epochs.

Windows are drawn from pools, one for each number of epochs, and from each pool as many. So every class has
the same share among light curves of any length, and a class that has more windows of one length than of
another is not learned to be rare where it has few.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from trainer.data.splits import Split
from trainer.outliers import Oddity
from trainer.preparation import Prepared, imitated_set, n_runs, n_windows, ordinary, run_set, window_set
from trainer.sets import ExampleSet, join_sets
from trainer.tempering import draw_tempered
from trainer.windows import FIRST_EPOCHS

__all__ = ["TrainingSets", "ordinary_sets"]

Advance = Callable[[int], None]

Pool = Sequence[ExampleSet]
"""Windows to draw from, in parts, since to join them would double the memory."""


class TrainingSets:
    """The set of each pass, by its number; all that is dear is made once and held in memory."""

    def __init__(self, prepared: Prepared, *, advance: Advance = lambda n: None) -> None:
        data = prepared.run.settings.data
        self._data, self._label = data, prepared.stars.label
        self._seed = prepared.run.settings.training_seed
        self._pools, self._odd = _window_pools(prepared, advance) if _has_windows(prepared) else ([], None)
        self._imitated = [imitated_set(prepared, k, advance=advance) for k in range(data.train_sets)]

    @staticmethod
    def size(prepared: Prepared) -> int:
        """Return how many alerts are made for it."""
        data = prepared.run.settings.data
        windows = n_windows(prepared, Split.TRAIN) + n_runs(prepared) if _has_windows(prepared) else 0
        return data.train_sets * data.alerts_per_set + windows

    def __call__(self, number: int) -> ExampleSet:
        """Return the set of a pass: imitated sets take turns, windows are drawn anew."""
        parts = [self._imitated[number % len(self._imitated)]]
        n = self._data.windows_per_set
        rng = np.random.default_rng((self._seed, 9, number))
        if self._odd is not None:
            n_odd = round(self._data.odd_share * n)
            parts += self._drawn([self._odd], n_odd, rng)
            n -= n_odd
        for pool in self._pools:
            parts += self._drawn(pool, n // len(self._pools), rng)
        return join_sets(parts)

    def _drawn(self, pool: Pool, n: int, rng: np.random.Generator) -> list[ExampleSet]:
        """Return `n` windows of a pool, the classes of their stars in the shares of `tempered`."""
        rows = draw_tempered(np.concatenate([self._label[part.star] for part in pool]), n, rng)
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


def _has_windows(prepared: Prepared) -> bool:
    return prepared.run.settings.data.windows_per_set > 0 and prepared.make is None


def _window_pools(prepared: Prepared, advance: Advance) -> tuple[list[Pool], ExampleSet | None]:
    """Return the pools of ordinary windows, and the odd ones if there are any."""
    windows = window_set(prepared, Split.TRAIN, advance=advance)
    odd = windows.oddity != Oddity.ORDINARY
    # Windows come kind by kind: the first epochs of all stars for each number, then runs of any length.
    kind = np.minimum(np.arange(len(windows)) // len(prepared.members(Split.TRAIN)), len(FIRST_EPOCHS))
    pools: list[Pool] = []
    for number, n_epochs in enumerate(FIRST_EPOCHS):
        runs = run_set(prepared, n_epochs, advance=advance)
        first = windows.take(np.flatnonzero((kind == number) & ~odd))
        pools.append([first] if runs is None else [first, runs])
    pools.append([windows.take(np.flatnonzero((kind == len(FIRST_EPOCHS)) & ~odd))])
    return pools, windows.take(np.flatnonzero(odd)) if odd.any() else None
