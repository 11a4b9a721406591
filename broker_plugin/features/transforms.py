# SPDX-License-Identifier: BSD-3-Clause
"""Non-uniform fast Fourier transforms (finufft) that are set up once and used again.

Setting one up for 5,000 frequencies costs more than running it three times, so sizes are rounded up to a few
steps an octave, and a transform of each is kept for the next light curve of about that size.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

import numpy as np
from numpy.typing import NDArray

__all__ = ["TRANSFORMS", "Transform", "TransformPool", "transform_size"]

EPSILON = 1e-9
"""Precision of the transforms; powers are then right to some 1e-8, far below what noise does to them."""

UPSAMPLING = 1.25
"""Of finufft's grid: the smaller of its two choices, half the memory, and faster from 3,000 frequencies."""

STEPS_PER_OCTAVE = 8
"""More sizes waste less, 6 % of the frequencies as it is, but each is set up and kept for itself."""

KEPT = 32
"""Most transforms that are kept between light curves, 4 octaves; one of 40,000 frequencies takes 3 MB."""


class Transform:
    """Sums of strengths times turns, at `size` frequencies in even steps. For one thread at a time."""

    def __init__(self, size: int) -> None:
        import finufft

        self.size = size
        self.lowest_mode = size // 2
        """Modes below that of frequency zero: finufft counts them from the middle."""
        # Two at the same angles take 1.4 times as long as one, where there are a thousand frequencies.
        self._pair, self._single = (
            finufft.Plan(1, (size,), n, eps=EPSILON, nthreads=1, upsampfac=UPSAMPLING) for n in (2, 1)
        )

    def run(self, angles: NDArray[np.float64], strengths: NDArray[np.complex128]) -> NDArray[np.complex128]:
        """Return the modes of three sources, shape (3, size): of the third at twice the angles."""
        modes = np.empty((3, self.size), np.complex128)
        self._pair.setpts(angles)
        self._pair.execute(strengths[:2], out=modes[:2])
        self._single.setpts(2.0 * angles)
        self._single.execute(strengths[2], out=modes[2])
        return modes


class TransformPool:
    """Transforms of all sizes, the least recently used given up first; for any number of threads."""

    def __init__(self, kept: int = KEPT) -> None:
        self._kept = kept
        self._idle: OrderedDict[int, Transform] = OrderedDict()
        self._lock = Lock()

    def __len__(self) -> int:
        return len(self._idle)

    @contextmanager
    def of(self, n_frequencies: int) -> Iterator[Transform]:
        """Lend a transform of at least so many frequencies; which size depends on that number alone."""
        size = transform_size(n_frequencies)
        with self._lock:
            transform = self._idle.pop(size, None)
        if transform is None:
            transform = Transform(size)
        yield transform
        with self._lock:
            self._idle[size] = transform
            self._idle.move_to_end(size)
            if len(self._idle) > self._kept:
                self._idle.popitem(last=False)


def transform_size(n_frequencies: int) -> int:
    """Return the least of the sizes of transforms that has so many frequencies.

    Examples
    --------
    >>> transform_size(1000), transform_size(1024), transform_size(1025)
    (1024, 1024, 1152)
    """
    octave = 1 << max(0, (n_frequencies - 1).bit_length() - 1)
    step = max(1, octave // STEPS_PER_OCTAVE)
    return -(-n_frequencies // step) * step


TRANSFORMS = TransformPool()
"""Those of this process."""
