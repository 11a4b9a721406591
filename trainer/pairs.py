# SPDX-License-Identifier: BSD-3-Clause
"""Two windows of the same star, drawn from a set in which every star has several."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trainer.sets import ExampleSet

__all__ = ["Pairs", "draw_pairs"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pairs:
    """Rows of a set: one window of each star, and a second one of those stars that come first.

    Parameters
    ----------
    first, second
        Shapes (S,) and (P,), P at most S; `second[i]` is of the star of `first[i]`.
    """

    first: NDArray[np.intp]
    second: NDArray[np.intp]

    def take(self, stars: NDArray[np.intp]) -> Pairs:
        """Return some of the stars, those with two windows first."""
        paired = stars < len(self.second)
        return Pairs(
            first=self.first[np.concatenate([stars[paired], stars[~paired]])],
            second=self.second[stars[paired]],
        )

    @property
    def rows(self) -> NDArray[np.intp]:
        """All rows, first windows first."""
        return np.concatenate([self.first, self.second])


def draw_pairs(examples: ExampleSet, rng: np.random.Generator) -> Pairs:
    """Draw for each star a window, and a second of another number of epochs if it has one.

    Windows of one length can be the same epochs twice, from which nothing is learned: all of a star's eight
    epochs are also its first thirty.

    Examples
    --------
    >>> tokens = {}
    >>> examples = ExampleSet(
    ...     star=np.array([7, 7, 8, 8]),
    ...     label=np.full(4, -1),
    ...     n_epochs=np.array([30, 10, 4, 4]),
    ...     oddity=np.zeros(4, np.int8),
    ...     tokens=tokens,
    ... )
    >>> pairs = draw_pairs(examples, np.random.default_rng(1))
    >>> examples.star[pairs.first].tolist(), examples.star[pairs.second].tolist()
    ([7, 8], [7])
    """
    order = np.lexsort((rng.random(len(examples)), examples.star))
    _, start, group = np.unique(examples.star[order], return_index=True, return_inverse=True)
    n_epochs = examples.n_epochs[order]
    other = np.flatnonzero(n_epochs != n_epochs[start][group])
    paired, position = np.unique(group[other], return_index=True)
    alone = np.setdiff1d(np.arange(len(start)), paired)
    return Pairs(
        first=order[start[np.concatenate([paired, alone])]],
        second=order[other[position]],
    )
