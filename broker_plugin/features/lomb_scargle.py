# SPDX-License-Identifier: BSD-3-Clause
"""Lomb-Scargle periodograms of many light curves: which way each is computed, and what comes out.

Adding up costs the product of epochs and frequencies, non-uniform fast Fourier transforms their sum, but more
for each. A ZTF alert has 15 epochs in 30 days and 1,800 frequencies: adding up takes 18 microseconds, the
transforms 45. From some 65 epochs on it is the other way round. The way depends on the light curve alone, and
so do its numbers.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from broker_plugin.features.transforms import Waves, fourier, grids_for, groups, undamped

__all__ = [
    "Curves",
    "Grid",
    "Peaks",
    "Trials",
    "added_up",
    "adds_up",
    "strongest_peaks",
    "transformed",
    "trials_of",
]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

PAIR_NS = 0.5
EPOCH_NS = 100.0
"""Cost of adding up, for each pair of epoch and frequency, and for the table of each epoch. Measured on an
AMD Zen 4 core; where the ratio to the transforms is another, the search is slower than it could be."""

TRANSFORMS_NS = 3_000.0
MODE_NS = 30.0
SPREAD_NS = 58.0
"""Cost of the transforms: of calling them, for each frequency, and for each epoch. It is the mean of a first
search and of a second, which light curves that are long enough for transforms all have, at half the cost."""

LEAST_SAMPLES = 3
"""Fewest frequencies of a resolution element: with fewer, sources at twice the phase would reach over the
edges of the transforms' grids."""

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
    waves
        What is known already of these times and errors.
    """

    starts: IntArray
    stops: IntArray
    age_day: FloatArray
    deviation: FloatArray
    error: FloatArray
    waves: Waves = field(default_factory=Waves)

    def epochs(self) -> tuple[IntArray, IntArray, FloatArray, FloatArray, FloatArray]:
        """Return the columns, as kernels take them."""
        return self.starts, self.stops, self.age_day, self.deviation, self.error


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """Trial frequencies, and the bins in which the highest power is noted.

    Parameters
    ----------
    max_frequency_per_day
        The highest frequency, nearly: the grid goes from half a cycle over the span in even steps.
    samples_per_peak
        Frequencies in one resolution element (1 / span), `LEAST_SAMPLES` or more.
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

    def __post_init__(self) -> None:
        """Make sure that the transforms can take it."""
        if self.samples_per_peak < LEAST_SAMPLES:
            raise ValueError(f"samples_per_peak is {self.samples_per_peak}; take {LEAST_SAMPLES} or more")


@dataclass(frozen=True, slots=True, kw_only=True)
class Trials:
    """The trial frequencies of light curves, `(j + 1.5) / (samples_per_peak * span)`.

    Parameters
    ----------
    span
        Days from first to last epoch.
    size
        Number of frequencies, 0 where nothing can be searched.
    """

    span: FloatArray
    size: IntArray
    samples_per_peak: int

    def places(self, chosen: IntArray) -> IntArray:
        """Return where the periodograms of the chosen begin and the last ends, each with room for blocks."""
        from broker_plugin.features.periodogram import BLOCK

        return np.concatenate([[0], np.cumsum(-(-self.size[chosen] // BLOCK) * BLOCK)])


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

    n = len(curves.starts)
    found = Peaks(
        frequency_per_day=np.zeros((n, grid.n_peaks)),
        power=np.zeros((n, grid.n_peaks)),
        spectrum=np.zeros((n, len(grid.edges_per_day) - 1)),
        false_alarm_probability=np.zeros(n),
    )
    trials = trials_of(curves, grid)
    for chosen, places, power in _periodograms(curves, trials):
        find_peaks(
            chosen,
            curves.starts,
            curves.stops,
            curves.age_day,
            trials.span,
            trials.size,
            places,
            power,
            grid.samples_per_peak,
            grid.max_frequency_per_day,
            grid.edges_per_day,
            found.frequency_per_day,
            found.power,
            found.spectrum,
            found.false_alarm_probability,
        )
    return found


def trials_of(curves: Curves, grid: Grid) -> Trials:
    """Return the trial frequencies of light curves: none without a span, or where nothing varies."""
    from broker_plugin.features.periodogram import grids

    span, size = grids(
        curves.starts,
        curves.stops,
        curves.age_day,
        curves.deviation,
        grid.samples_per_peak,
        grid.max_frequency_per_day,
        grid.min_frequencies,
    )
    return Trials(span=span, size=size, samples_per_peak=grid.samples_per_peak)


def _periodograms(curves: Curves, trials: Trials) -> Iterator[tuple[IntArray, IntArray, FloatArray]]:
    """Yield light curves, where their periodograms begin, and these; each light curve once."""
    searchable = np.flatnonzero(trials.size)
    is_added = adds_up((curves.stops - curves.starts)[searchable], trials.size[searchable])
    for chosen in _chunks(searchable[is_added], trials.size):
        places = trials.places(chosen)
        yield chosen, places, added_up(curves, trials, chosen, places)
    others = searchable[~is_added]
    for size, rows in groups(trials.size[others]):
        chosen = others[rows]
        places = trials.places(chosen)
        yield chosen, places, transformed(curves, trials, chosen, places, size)


def added_up(curves: Curves, trials: Trials, chosen: IntArray, places: IntArray) -> FloatArray:
    """Return the periodograms of some light curves, each from its place on, by adding up."""
    from broker_plugin.features.periodogram import power_directly

    power = np.empty(int(places[-1]))
    power_directly(chosen, *curves.epochs(), trials.span, places, trials.samples_per_peak, power)
    return power


def transformed(curves: Curves, trials: Trials, chosen: IntArray, places: IntArray, size: int) -> FloatArray:
    """Return the periodograms of some light curves, each from its place on, by transforms of a size."""
    from broker_plugin.features.transform_kernels import (
        power_of_values,
        spread_values,
        spread_weights,
        sums_of_weights,
    )

    epochs = chosen, *curves.epochs(), trials.span, trials.samples_per_peak, size
    n, undamping = len(chosen), undamped(size)

    def weigh() -> FloatArray:
        single, double, sums = grids_for(n, size), grids_for(n, size), np.empty((n, 4, size))
        spread_weights(*epochs, single, double)
        sums_of_weights(fourier(single), fourier(double), undamping, sums)
        return sums

    of_weights = curves.waves.of(
        curves.starts[chosen],
        curves.stops[chosen],
        samples=trials.samples_per_peak,
        size=size,
        make=weigh,
    )
    grid, variance = grids_for(n, size), np.empty(n)
    spread_values(*epochs, grid, variance)
    power = np.empty(int(places[-1]))
    power_of_values(fourier(grid), of_weights, undamping, variance, places, trials.size[chosen], power)
    return power


def adds_up(n_epochs: IntArray, n_frequencies: IntArray) -> NDArray[np.bool_]:
    """Return where adding up is cheaper than transforms.

    Examples
    --------
    >>> adds_up(np.array([15, 1000]), np.array([1800, 5000]))
    array([ True, False])
    """
    adding_ns = PAIR_NS * n_epochs * n_frequencies + EPOCH_NS * n_epochs
    transforms_ns = TRANSFORMS_NS + MODE_NS * n_frequencies + SPREAD_NS * n_epochs
    return np.asarray(adding_ns <= transforms_ns)


def _chunks(searchable: IntArray, n_frequencies: IntArray) -> Iterator[IntArray]:
    """Yield the light curves in parts whose periodograms are held at a time."""
    end = np.cumsum(n_frequencies[searchable])
    begun, start = 0, 0
    while start < len(searchable):
        stop = max(start + 1, int(np.searchsorted(end, begun + CHUNK_FREQUENCIES, side="right")))
        yield searchable[start:stop]
        begun, start = int(end[stop - 1]), stop
