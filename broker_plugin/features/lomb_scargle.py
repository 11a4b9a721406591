# SPDX-License-Identifier: BSD-3-Clause
"""Lomb-Scargle periodograms of many light curves: which way each is computed, and what comes out.

Adding up costs the product of epochs and frequencies, non-uniform fast Fourier transforms their sum, but more
for each. A ZTF alert has 15 epochs in 30 days and 1,800 frequencies: adding up takes 18 microseconds, the
transforms 60. From some 90 epochs on it is the other way round. The way depends on the light curve alone, and
so do its numbers.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from broker_plugin.features.transforms import GRID_CELLS, chunks_of_a_size, fourier, undamped

__all__ = ["Curves", "Grid", "Peaks", "adds_up", "periodograms", "strongest_peaks"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

PAIR_NS = 0.5
EPOCH_NS = 100.0
"""Cost of adding up, for each pair of epoch and frequency, and for the table of each epoch. Measured on an
AMD Zen 4 core; where the ratio to the transforms is another, the search is slower than it could be."""

TRANSFORMS_NS = 3_000.0
MODE_NS = 45.0
SPREAD_NS = 55.0
"""Cost of the transforms: of calling them, for each frequency, and for each epoch."""

CHUNK_FREQUENCIES = 1 << 18
"""Frequencies whose powers are held at a time, unless one light curve alone has more: 2 MB, which the cache
holds between the kernel that makes them and the one that looks for peaks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Curves:
    """Light curves to be searched: curve i has the epochs `starts[i]:stops[i]` of the other columns.

    Parameters
    ----------
    age_day
        Days before the alert, of each epoch.
    deviation, error
        What varies, in any unit, and its error.
    """

    starts: IntArray
    stops: IntArray
    age_day: FloatArray
    deviation: FloatArray
    error: FloatArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """Trial frequencies, and the bins in which the highest power is noted.

    Parameters
    ----------
    max_frequency_per_day
        The highest frequency, nearly: the grid goes from half a cycle over the span in even steps.
    samples_per_peak
        Frequencies in one resolution element (1 / span).
    min_frequencies
        Fewest frequencies.
    n_peaks
        Most peaks that are wanted.
    edges_per_day
        Edges of the bins, rising.
    """

    max_frequency_per_day: float
    samples_per_peak: int
    min_frequencies: int
    n_peaks: int
    edges_per_day: FloatArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Peaks:
    """The strongest separate peaks of light curves, in falling order, 0 where there are fewer.

    Parameters
    ----------
    frequency_per_day, power
        Shape (P, n_peaks). Power is the share of the variance that a sinusoid takes away.
    spectrum
        Highest power in each bin of the grid; shape (P, number of bins).
    false_alarm_probability
        Of the strongest peak; shape (P,).
    """

    frequency_per_day: FloatArray
    power: FloatArray
    spectrum: FloatArray
    false_alarm_probability: FloatArray


def strongest_peaks(curves: Curves, grid: Grid) -> Peaks:
    """Return the strongest peaks in the periodogram of each light curve.

    It has none where it has no span or does not vary. Its peaks depend on nothing but itself.
    """
    from broker_plugin.features.peaks import find_peaks  # compiles, and takes a second
    from broker_plugin.features.periodogram import BLOCK, grids

    n = len(curves.starts)
    found = Peaks(
        frequency_per_day=np.zeros((n, grid.n_peaks)),
        power=np.zeros((n, grid.n_peaks)),
        spectrum=np.zeros((n, len(grid.edges_per_day) - 1)),
        false_alarm_probability=np.zeros(n),
    )
    scale = grid.samples_per_peak, grid.max_frequency_per_day
    where = curves.starts, curves.stops, curves.age_day
    span, size = grids(*where, curves.deviation, *scale, grid.min_frequencies)
    for chosen in _chunks(np.flatnonzero(size), size):
        places = np.concatenate([[0], np.cumsum(-(-size[chosen] // BLOCK) * BLOCK)])
        is_added = adds_up((curves.stops - curves.starts)[chosen], size[chosen])
        power = periodograms(curves, chosen, is_added, span, size, places, grid.samples_per_peak)
        find_peaks(
            chosen,
            *where,
            span,
            size,
            places,
            power,
            *scale,
            grid.edges_per_day,
            found.frequency_per_day,
            found.power,
            found.spectrum,
            found.false_alarm_probability,
        )
    return found


def periodograms(
    curves: Curves,
    chosen: IntArray,
    is_added: NDArray[np.bool_],
    span: FloatArray,
    size: IntArray,
    places: IntArray,
    samples_per_peak: int,
) -> FloatArray:
    """Return the periodograms of chosen light curves, each from its place on.

    Parameters
    ----------
    is_added
        Which of the chosen are added up, and which are transformed.
    span, size
        Days and number of frequencies, of all light curves.
    places
        Where each of the chosen begins and the last ends; room is made for whole blocks.
    """
    from broker_plugin.features.periodogram import power_directly

    power = np.empty(int(places[-1]))
    epochs = curves.starts, curves.stops, curves.age_day, curves.deviation, curves.error, span
    power_directly(chosen, is_added, *epochs, places, samples_per_peak, power)
    transformed = np.flatnonzero(~is_added)
    for transform, part in chunks_of_a_size(size[chosen[transformed]]):
        rows = transformed[part]
        _transform(chosen[rows], epochs, samples_per_peak, transform, places[rows], size, power)
    return power


def _transform(
    chosen: IntArray,
    epochs: tuple[IntArray, IntArray, FloatArray, FloatArray, FloatArray, FloatArray],
    samples_per_peak: int,
    transform: int,
    places: IntArray,
    size: IntArray,
    power: FloatArray,
) -> None:
    """Put the periodograms of light curves at their places, all by transforms of one size."""
    from broker_plugin.features.transform_kernels import power_of_grids, spread

    n_cells = GRID_CELLS * transform
    single, double = (np.empty((len(chosen), n), np.complex128) for n in (n_cells, n_cells // 2))
    variance = np.empty(len(chosen))
    spread(chosen, *epochs, samples_per_peak, transform, single, double, variance)
    power_of_grids(
        fourier(single), fourier(double), undamped(transform), variance, places, size[chosen], power
    )


def adds_up(n_epochs: IntArray, n_frequencies: IntArray) -> NDArray[np.bool_]:
    """Return where adding up is cheaper than transforms.

    Examples
    --------
    >>> adds_up(np.array([15, 1000]), np.array([1800, 5000]))
    array([ True, False])
    """
    added = PAIR_NS * n_epochs * n_frequencies + EPOCH_NS * n_epochs
    transformed = TRANSFORMS_NS + MODE_NS * n_frequencies + SPREAD_NS * n_epochs
    return np.asarray(added <= transformed)


def _chunks(searchable: IntArray, n_frequencies: IntArray) -> Iterator[IntArray]:
    """Yield the light curves in parts whose periodograms are held at a time."""
    end = np.cumsum(n_frequencies[searchable])
    begun, start = 0, 0
    while start < len(searchable):
        stop = max(start + 1, int(np.searchsorted(end, begun + CHUNK_FREQUENCIES, side="right")))
        yield searchable[start:stop]
        begun, start = int(end[stop - 1]), stop
