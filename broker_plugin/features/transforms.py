# SPDX-License-Identifier: BSD-3-Clause
"""Periodograms by non-uniform fast Fourier transforms of many light curves at a time.

Every epoch is a source that is spread over the nearest cells of an even grid, by a window that is damped to
nothing at its edges; the fast Fourier transform of the grid, divided by that of the window, is then the sum
of the sources at every frequency (Dutt & Rokhlin 1993, SIAM J. Sci. Comput. 14, 1368; with the window of
Kaiser and Bessel as in Fessler & Sutton 2003, IEEE Trans. Signal Process. 51, 560). General libraries take as
long to be called as to compute, at a thousand epochs and frequencies; and they cannot know what is shared:

- Values and weights are real, so that both are in one complex transform, from the lowest frequency to its
  negative.
- Weights at twice the phase belong to a grid of half as many cells, in which they lie in the same ones.
- With three frequencies or more to a resolution element all sources lie in the first third of the grid, so
  that none reaches over its edges.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "DEGREE",
    "GRID_CELLS",
    "MIN_SIZE",
    "SUPPORT",
    "WINDOW",
    "chunks_of_a_size",
    "fourier",
    "transform_size",
    "undamped",
]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
ComplexArray = NDArray[np.complex128]

SUPPORT = 14
"""Cells that a source is spread over: with the oversampling of the grid by half it makes the sums right to
some 1e-9, and powers to some 1e-8, far below what noise does to them."""

GRID_CELLS = 3
"""Cells of the grid of single phases for each frequency: two for the frequencies and their negatives, and
half as many again."""

SHAPE = np.pi * SUPPORT * (1.0 - 1.0 / GRID_CELLS)
"""Of the window: its transform is damped to nothing where the first alias of a wanted mode lies."""

DEGREE = 16
"""Of the polynomials that stand for the window in each cell: to 1e-11."""

STEPS_PER_OCTAVE = 8
"""Sizes of transforms: more of them would waste less, 6 % of the frequencies as it is, but fewer light curves
would share one."""

MIN_SIZE = 64
"""Smallest transform: the sources, a third of the grid, and a window must fit into half of it."""

CHUNK_CELLS = 1 << 15
"""Cells of the grids that are held at a time, unless one light curve alone has more: 1 MB in all, which the
cache holds."""


def transform_size(n_frequencies: int) -> int:
    """Return the least of the sizes of transforms that has so many frequencies.

    Examples
    --------
    >>> transform_size(1000), transform_size(1024), transform_size(1025)
    (1024, 1024, 1152)
    """
    octave = 1 << max(0, (n_frequencies - 1).bit_length() - 1)
    step = max(1, octave // STEPS_PER_OCTAVE)
    return max(MIN_SIZE, -(-n_frequencies // step) * step)


def chunks_of_a_size(n_frequencies: IntArray) -> Iterator[tuple[int, IntArray]]:
    """Yield sizes of transforms, and which light curves are transformed together at each.

    Parameters
    ----------
    n_frequencies
        Of each light curve.
    """
    sizes = np.array([transform_size(n) for n in n_frequencies.tolist()], np.int64)
    for size in np.unique(sizes).tolist():
        rows = np.flatnonzero(sizes == size)
        n_together = max(1, CHUNK_CELLS // (GRID_CELLS * size))
        for begin in range(0, len(rows), n_together):
            yield size, rows[begin : begin + n_together]


def fourier(grids: ComplexArray) -> ComplexArray:
    """Put the Fourier transform of each row in its place, and return them."""
    # A row's numbers do not depend on how many there are: numpy transforms one after the other.
    return np.fft.fft(grids, axis=1, out=grids)


@lru_cache(maxsize=128)
def undamped(size: int) -> FloatArray:
    """Return what undoes the window's damping, by mode of the grid of single phases; shape (size + 2,)."""
    cycles = np.arange(size + 2) / (GRID_CELLS * size)
    root = np.sqrt(SHAPE**2 - (np.pi * SUPPORT * cycles) ** 2)
    return np.asarray(np.i0(SHAPE) * root / (SUPPORT * np.sinh(root)))


def _window(distance: FloatArray) -> FloatArray:
    """Return the window's height so many cells from its middle."""
    inside = np.sqrt(np.maximum(1.0 - (2.0 * distance / SUPPORT) ** 2, 0.0))
    return np.asarray(np.i0(SHAPE * inside) / np.i0(SHAPE))


def _polynomials() -> FloatArray:
    """Return the window as polynomials, one a cell, of how far its source lies before the next cell.

    Interpolated at Chebyshev's nodes; shape (DEGREE + 1, SUPPORT), the constants first.
    """
    nodes = 0.5 - 0.5 * np.cos(np.pi * (np.arange(DEGREE + 1) + 0.5) / (DEGREE + 1))
    heights = _window(nodes[:, None] + np.arange(SUPPORT) - SUPPORT / 2)
    return np.asarray(np.polynomial.polynomial.polyfit(nodes, heights, DEGREE))


WINDOW = _polynomials()
"""Coefficients of the window's polynomials."""
