# SPDX-License-Identifier: BSD-3-Clause
"""Non-uniform fast Fourier transforms of many light curves: the sums that periodograms follow from.

Every epoch is a source that is spread over the nearest cells of an even grid, by a window that is damped to
nothing at its edges; the fast Fourier transform of the grid, divided by that of the window, is then the sum
of the sources at every frequency (Dutt & Rokhlin 1993, SIAM J. Sci. Comput. 14, 1368; with the window of
Kaiser and Bessel as in Fessler & Sutton 2003, IEEE Trans. Signal Process. 51, 560). General libraries take as
long to be called as to compute, at a thousand epochs and frequencies; and they cannot know what is shared:

- Two of the three sums are of the weights, which a second search of the same epochs has in common with the
  first: they are kept (`Waves`).
- With three frequencies or more to a resolution element sources lie in the first third of the grid, or at
  twice the phase in the first two, so that none reaches over its edges.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from broker_plugin.features.spreading_window import OVERSAMPLING, SHAPE, SUPPORT

__all__ = [
    "KEPT_FREQUENCIES",
    "MIN_SIZE",
    "Waves",
    "fourier",
    "grids_for",
    "groups",
    "transform_size",
    "undamped",
]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
ComplexArray = NDArray[np.complex128]

STEPS_PER_OCTAVE = 8
"""Sizes of transforms: more of them would waste less, 6 % of the frequencies as it is, but fewer light curves
would share one."""

MIN_SIZE = 64
"""Smallest transform: the sources, two thirds of the grid, and a window and a half must fit into it."""

GROUP_CELLS = 1 << 14
"""Cells of a kind of grid that are held at a time, unless one light curve alone has more: 256 kB, which the
cache holds."""

KEPT_FREQUENCIES = 1 << 19
"""Most frequencies whose sums over the weights are kept: 16 MB, a few hundred histories of a month."""


class Waves:
    """The sums over the weights of light curves, by group of them, for another search of the same epochs."""

    def __init__(self) -> None:
        self._kept: dict[tuple[int, int, bytes, bytes], FloatArray] = {}
        self._free = KEPT_FREQUENCIES

    def of(
        self, starts: IntArray, stops: IntArray, *, samples: int, size: int, make: Callable[[], FloatArray]
    ) -> FloatArray:
        """Return the sums (P, 4, size) of the light curves with those epochs, made once if there is room.

        Parameters
        ----------
        samples
            Frequencies of a resolution element.
        """
        key = size, samples, starts.tobytes(), stops.tobytes()
        if key in self._kept:
            return self._kept[key]
        sums = make()
        n_frequencies = sums.shape[0] * sums.shape[2]
        if n_frequencies <= self._free:
            self._free -= n_frequencies
            self._kept[key] = sums
        return sums


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


def groups(n_frequencies: IntArray) -> Iterator[tuple[int, IntArray]]:
    """Yield sizes of transforms, and which light curves are transformed together at each.

    Parameters
    ----------
    n_frequencies
        Of each light curve.
    """
    sizes = np.array([transform_size(n) for n in n_frequencies.tolist()], np.int64)
    for size in np.unique(sizes).tolist():
        rows = np.flatnonzero(sizes == size)
        n_together = max(1, GROUP_CELLS // _n_cells(size))
        for begin in range(0, len(rows), n_together):
            yield size, rows[begin : begin + n_together]


def grids_for(n: int, size: int) -> ComplexArray:
    """Return room for n grids of a size."""
    return np.empty((n, _n_cells(size)), np.complex128)


def _n_cells(size: int) -> int:
    return int(OVERSAMPLING * size)


def fourier(grids: ComplexArray) -> ComplexArray:
    """Put the Fourier transform of each row in its place, and return them."""
    # A row's numbers do not depend on how many there are: numpy transforms one after the other.
    return np.fft.fft(grids, axis=1, out=grids)


@lru_cache(maxsize=128)
def undamped(size: int) -> FloatArray:
    """Return what undoes the window's damping, by the distance of a frequency from the middle one."""
    cycles = np.arange(size // 2 + 1) / _n_cells(size)
    root = np.sqrt(SHAPE**2 - (np.pi * SUPPORT * cycles) ** 2)
    return np.asarray(np.i0(SHAPE) * root / (SUPPORT * np.sinh(root)))
