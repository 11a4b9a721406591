# SPDX-License-Identifier: BSD-3-Clause
"""A graph run in batches of a few sizes, the results of which do not depend on the sizes.

ONNX Runtime's kernels may round otherwise at another shape. So a graph runs only at sizes that were found, in
this process, to give a row the same bits as the largest one does, wherever the row stands: on numbers without
any pattern, two orders of a sum differ somewhere. Where no smaller size does, every batch is padded to the
largest. Either way an alert's numbers depend neither on its neighbours nor on how many there are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from broker_plugin.engine.opening import begin_step
from broker_plugin.engine.session import FixedShapeSession

__all__ = ["Arrays", "BatchedGraph", "cheapest_sizes"]

Arrays = Mapping[str, NDArray[Any]]
"""Inputs or outputs of a graph by name, each with a row an alert."""

ROWS_MAX = 64
"""Most rows of a run on the CPU: an encoder of light curves is no faster at more."""

TREE_ROWS_MAX = 32
"""And of trees: from about 50 rows on ONNX Runtime takes the rows tree by tree, and twice as long."""

OVERHEAD_TOKENS = 4
"""What a run costs beside its rows, in tokens: 30 to 70 us; one takes the default encoder 8 to 12."""

KEPT_PLANS = 4096
"""Ways to divide what is left of a batch that are remembered: one for each number of rows and length."""


class BatchedGraph:
    """A graph at one length, for any number of rows.

    Parameters
    ----------
    session
        The opened graph.
    rows_max
        The bundle's own batch; on the CPU fewer of it are used.
    example
        Returns inputs without any pattern, for a number of rows.
    length
        Tokens of a row.
    trees
        Whether it is a forest.
    """

    def __init__(
        self,
        session: FixedShapeSession,
        *,
        rows_max: int,
        example: Callable[[np.random.Generator, int], Arrays],
        length: int = 1,
        trees: bool = False,
    ) -> None:
        self._session = session
        self._largest = min(rows_max, TREE_ROWS_MAX if trees else ROWS_MAX) if session.on_cpu else rows_max
        self._example = example
        self._overhead = max(OVERHEAD_TOKENS // length, 1)

    @cached_property
    def sizes(self) -> tuple[int, ...]:
        """The sizes to run at, the largest first. Found at the first use, in some tens of milliseconds."""
        rng = np.random.default_rng(0)
        inputs = self._example(rng, self._largest)
        expected = self._session.run(inputs)
        order = rng.permutation(self._largest)
        if not _alike(self._session.run(_rows(inputs, order)), _rows(expected, order)):
            return (self._largest,)
        halves = (self._largest >> power for power in range(1, self._largest.bit_length()))
        return (self._largest, *(size for size in halves if self._gives_the_same(size, inputs, expected)))

    def warm_up(self) -> None:
        """Run every size once, so that no alert waits for it."""
        begin_step()
        _ = self.sizes

    def run(self, inputs: Arrays, n: int) -> dict[str, NDArray[Any]]:
        """Return the outputs of `n` rows; the inputs may have more, which are ignored."""
        parts, begin = [], 0
        for size in cheapest_sizes(n, self.sizes, self._overhead):
            padded = {
                name: _padded(values[begin : min(begin + size, n)], size) for name, values in inputs.items()
            }
            parts.append(self._session.run(padded))
            begin += size
        return {name: np.concatenate([part[name] for part in parts])[:n] for name in parts[0]}

    def _gives_the_same(self, size: int, inputs: Arrays, expected: Arrays) -> bool:
        first = slice(0, size)
        return _alike(self._session.run(_rows(inputs, first)), _rows(expected, first))


def cheapest_sizes(n: int, sizes: tuple[int, ...], overhead: int) -> tuple[int, ...]:
    """Return the sizes of the runs that take `n` rows at the least cost.

    Parameters
    ----------
    sizes
        What there is, the largest first.
    overhead
        What a run costs beside its rows, in rows.

    Examples
    --------
    >>> cheapest_sizes(22, (64, 32, 16, 8), 2), cheapest_sizes(22, (64, 32, 16, 8), 20)
    ((16, 8), (32,))
    >>> cheapest_sizes(130, (64,), 1)
    (64, 64, 64)
    """
    whole, left = divmod(n, sizes[0])
    return (sizes[0],) * whole + _cheapest_for_few(left, sizes, overhead)


@lru_cache(KEPT_PLANS)
def _cheapest_for_few(n: int, sizes: tuple[int, ...], overhead: int) -> tuple[int, ...]:
    costs: list[tuple[int, tuple[int, ...]]] = [(0, ())]
    for rows in range(1, n + 1):
        choices = ((size, costs[max(rows - size, 0)]) for size in sizes)
        costs.append(min((overhead + size + cost, (size, *rest)) for size, (cost, rest) in choices))
    return tuple(sorted(costs[n][1], reverse=True))


def _rows(arrays: Arrays, rows: slice | NDArray[np.intp]) -> dict[str, NDArray[Any]]:
    return {name: values[rows] for name, values in arrays.items()}


def _alike(some: Arrays, others: Arrays) -> bool:
    return all(np.array_equal(values, others[name]) for name, values in some.items())


def _padded(values: NDArray[Any], size: int) -> NDArray[Any]:
    if len(values) == size:
        return values
    padded = np.zeros((size, *values.shape[1:]), values.dtype)
    padded[: len(values)] = values
    return padded
