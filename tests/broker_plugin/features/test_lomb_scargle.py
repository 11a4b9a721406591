# SPDX-License-Identifier: BSD-3-Clause
"""Periodograms against fits and against nifty-ls, and their peaks against plain ones."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.polynomial.polynomial import polyval
from numpy.typing import NDArray

from broker_plugin.features.lomb_scargle import (
    Curves,
    Peaks,
    added_up,
    adds_up,
    strongest_peaks,
    transformed,
    trials_of,
)
from broker_plugin.features.peaks import find_peaks
from broker_plugin.features.period import GRID, SAMPLES_PER_PEAK
from broker_plugin.features.searched import searched_epochs
from broker_plugin.features.spreading_window import SHAPE, SUPPORT, WINDOW
from broker_plugin.features.transform_kernels import VANISHING
from broker_plugin.features.transforms import (
    KEPT_FREQUENCIES,
    MIN_SIZE,
    Waves,
    grids_for,
    transform_size,
)
from broker_plugin.records import Alert, AlertBatch
from tests.broker_plugin.features.light_curves import alert
from tests.broker_plugin.features.reference_period import (
    fitted,
    least_norm,
    nifty,
    plain_peaks,
    trials,
)
from tests.support.alerts import real_alerts

FloatArray = NDArray[np.float64]


def curves_of(*parts: tuple[FloatArray, FloatArray, FloatArray]) -> Curves:
    stops = np.cumsum([len(age) for age, _, _ in parts])
    age_day, deviation, error = (np.concatenate(columns) for columns in zip(*parts, strict=True))
    return Curves(
        starts=stops - [len(age) for age, _, _ in parts],
        stops=stops,
        age_day=age_day,
        deviation=deviation,
        error=error,
    )


def periodogram(curves: Curves, part: int, *, added: bool | None = None) -> FloatArray:
    trials, chosen = trials_of(curves, GRID), np.array([part])
    size, places = int(trials.size[part]), trials.places(chosen)
    if adds_up(curves.stops - curves.starts, trials.size)[part] if added is None else added:
        return added_up(curves, trials, chosen, places)[:size]
    return transformed(curves, trials, chosen, places, transform_size(size))[:size]


def searched_curves(alerts: list[Alert]) -> tuple[Curves, list[tuple[FloatArray, FloatArray, FloatArray]]]:
    """The light curves that are searched, as they are and one by one."""
    epochs = searched_epochs(AlertBatch.from_alerts(alerts))
    _, starts, stops = epochs.parts()
    every = [slice(*ends) for ends in zip(starts.tolist(), stops.tolist(), strict=True)]
    return epochs.curves(starts, stops), [
        (epochs.age_day[part], epochs.deviation[part], epochs.error[part]) for part in every
    ]


def catalina(data_dir: Path, n: int) -> list[Alert]:
    columns = ["mjd", "mag", "mag_err"]
    table = pq.read_table(data_dir / "lightcurves/catalina_sss.parquet", columns=columns)
    alerts = []
    for star in table.slice(0, n).to_pylist():
        mjd, mag, error = (np.array(star[name]) for name in columns)
        order = np.argsort(mjd)
        flux = 10 ** (-0.4 * (mag[order] - 22.0))
        alerts.append(alert(mjd[order], flux, flux * error[order]))
    return alerts


LIGHT_CURVES = st.integers(3, 40).flatmap(
    lambda n: st.tuples(
        # Any times, or those of a clock that strikes regularly: then waves coincide at some frequencies.
        st.one_of(
            hnp.arrays(np.float64, n, elements=st.floats(0, 30)),
            hnp.arrays(np.float64, n, elements=st.integers(0, 240)).map(lambda hours: hours / 8),
        ),
        hnp.arrays(np.float64, n, elements=st.floats(-20, 20, width=32)),
        hnp.arrays(np.float64, n, elements=st.floats(0.125, 20, width=32)),
    ).filter(lambda curve: np.ptp(curve[0]) > 0.01 and np.ptp(curve[1]) > 0.01)
)


@given(LIGHT_CURVES, st.booleans())
@settings(max_examples=40, deadline=None)
def test_power_is_the_share_of_the_variance_that_the_best_sinusoid_takes_away(
    curve: tuple[FloatArray, FloatArray, FloatArray], added: bool
) -> None:
    age_day, _, error = curve
    at = trials(age_day).frequency_per_day
    power = np.clip(periodogram(curves_of(curve), 0, added=added), 0, 1)
    # The weaker of two waves that can hardly be told apart is known to the precision of the sums over its
    # variance. That of six sums is below 1e-8 for transforms, and rounding of 40 terms for adding up.
    precision = 1e-13 if added else 1e-7
    norm = least_norm(age_day, error, at)
    bound = 1e-9 + 10 * precision + precision / np.maximum(norm, 1e-13)
    known = norm > (1e-13 if added else 2 * VANISHING)
    assert (np.abs(power - fitted(*curve, at)) <= bound)[known].all()
    # Where the sums do not tell, there is no power that is not there.
    assert (power - fitted(*curve, at)).max() <= 1e-3


@pytest.mark.parametrize(
    ("n", "minutes", "before"), [(100, 14.0, 1000.0), (100, 4.0, 2900.0), (300, 60.0, 2900.0)]
)
def test_transforms_make_up_no_power_of_a_night_and_an_epoch_of_years_before(
    rng: np.random.Generator, n: int, minutes: float, before: float
) -> None:
    for _ in range(5):
        age_day = np.append(np.sort(rng.uniform(0, minutes / 1440, n)), before)
        curve = age_day, rng.normal(0, 1, n + 1), rng.uniform(0.5, 2, n + 1)
        added, transformed_ = (periodogram(curves_of(curve), 0, added=way) for way in (True, False))
        assert (transformed_ - added).max() < 1e-2


@pytest.mark.parametrize(("n", "span"), [(12, 2000.0), (300, 300.0), (1000, 20.0)])
def test_both_ways_give_the_same_power_over_long_spans(rng: np.random.Generator, n: int, span: float) -> None:
    curve = np.sort(rng.uniform(0, span, n)), rng.normal(0, 1, n), rng.uniform(0.1, 2, n)
    curves = curves_of(curve)
    added, transformed = (periodogram(curves, 0, added=way) for way in (True, False))
    assert np.abs(added - transformed).max() < 1e-7  # the transforms' precision is 1e-9, of sums up to one
    some = rng.choice(len(added), 50)
    at = trials(curve[0]).frequency_per_day[some]
    assert added[some] == pytest.approx(fitted(*curve, at), abs=1e-10)  # rounding of 40,000 turns


def test_real_light_curves_have_the_power_and_the_peaks_that_nifty_ls_gives(data_dir: Path) -> None:
    alerts = [*real_alerts(data_dir)[::5], *catalina(data_dir, 10)]
    curves, every = searched_curves(alerts)
    found = strongest_peaks(curves, GRID)
    ways = set()
    for part, (age_day, deviation, error) in enumerate(every):
        if np.ptp(age_day) == 0 or np.ptp(deviation) == 0:
            assert not found.power[part].any()
            continue
        trial, theirs = trials(age_day), nifty(age_day, deviation, error)
        ways.add(bool(adds_up(np.array(len(age_day)), np.array(trial.n))))
        expected = plain_peaks(theirs, age_day)
        n = len(expected.place)
        # Nifty-ls transforms to a precision of 1e-9 too; see above.
        norm = least_norm(age_day, error, trial.lowest + trial.step * np.array(expected.place))
        bound = 1e-7 + 1e-8 / norm
        heights = found.power[part, :n]
        assert (np.abs(heights - expected.power) <= np.maximum.accumulate(bound)).all()
        if norm.min() < 1e-3:
            continue
        assert np.abs(found.spectrum[part] - expected.spectrum).max() < 1e-3
        assert found.false_alarm_probability[part] == pytest.approx(
            expected.false_alarm_probability, rel=1e-3, abs=1e-6
        )
        # Two peaks of one height may change places.
        distinct = np.abs(np.diff(expected.power, append=0.0)) > 1e-5
        distinct[1:] &= distinct[:-1]
        offset = (found.frequency_per_day[part, :n] - expected.frequency_per_day) / trial.step
        assert np.abs(offset[distinct]).max(initial=0.0) < 1e-3
    assert ways == {True, False}


@given(
    hnp.arrays(np.float64, st.integers(8, 200), elements=st.integers(0, 6).map(lambda height: height / 6)),
    st.floats(0.01, 50),
)
@settings(max_examples=200, deadline=None)
def test_peaks_are_the_separate_ones_among_all_maxima(power: FloatArray, span: float) -> None:
    age_day = np.linspace(0, span, 12)
    step = trials(age_day).step
    found = [np.zeros((1, 6)), np.zeros((1, 6)), np.zeros((1, 40)), np.zeros(1)]
    n = np.array([len(power)])
    begin, end = np.array([0]), np.array([12])
    find_peaks(
        begin,
        begin,
        end,
        age_day,
        np.array([span]),
        n,
        np.array([0, len(power)]),
        power.copy(),
        SAMPLES_PER_PEAK,
        GRID.max_frequency_per_day,
        GRID.edges_per_day,
        *found,
    )
    frequency, height, spectrum, chance = (column[0] for column in found)
    expected = plain_peaks(power, age_day)
    assert height[height > 0].tolist() == expected.power.tolist()
    # The same parabola, in another order of its terms.
    assert frequency[height > 0] == pytest.approx(expected.frequency_per_day, abs=1e-12 * step, rel=1e-12)
    assert spectrum.tolist() == expected.spectrum.tolist()
    assert chance == pytest.approx(
        expected.false_alarm_probability, abs=1e-12, rel=1e-9
    )  # of powers of powers


def test_a_light_curve_that_cannot_be_searched_has_no_peaks(rng: np.random.Generator) -> None:
    flat = rng.uniform(0, 30, 9), np.ones(9), np.ones(9)
    at_once = np.full(9, 3.0), rng.normal(0, 1, 9), np.ones(9)
    found = strongest_peaks(curves_of(flat, at_once), GRID)
    assert not found.power.any()
    assert not found.spectrum.any()


def test_a_transformed_light_curve_has_the_same_bits_in_any_company(rng: np.random.Generator) -> None:
    spans = [3.0, 19.0, 20.0, 19.5, 80.0, 19.2, 2000.0]
    every = [(np.sort(rng.uniform(0, span, 300)), rng.normal(0, 1, 300), np.ones(300)) for span in spans]
    every += [(age + 1.0, deviation, error) for age, deviation, error in every[:2]] * 9  # more than one chunk
    alone = [strongest_peaks(curves_of(curve), GRID) for curve in every]
    order = rng.permutation(len(every))
    together = strongest_peaks(curves_of(*(every[part] for part in order)), GRID)
    for place, part in enumerate(order):
        assert np.array_equal(together.power[place], alone[part].power[0])
        assert np.array_equal(together.frequency_per_day[place], alone[part].frequency_per_day[0])
        assert np.array_equal(together.spectrum[place], alone[part].spectrum[0])


def test_the_polynomials_are_the_window() -> None:
    before_next = np.linspace(0, 1, 1001)
    distance = before_next[:, None] + np.arange(SUPPORT) - SUPPORT / 2
    height = np.i0(SHAPE * np.sqrt(1 - (2 * distance / SUPPORT) ** 2)) / np.i0(SHAPE)
    # Rounding of 17 terms; the window's height is 1 at most.
    assert np.abs(polyval(before_next, WINDOW).T - height).max() < 2e-14


@given(st.integers(1, 200_000))
def test_a_transform_wastes_little_of_its_size(n: int) -> None:
    assert n <= transform_size(n) <= max(n * 1.13, MIN_SIZE)


def test_sources_and_windows_fit_into_the_smallest_grid() -> None:
    n_cells = grids_for(1, MIN_SIZE).shape[1]
    assert 2 * n_cells / SAMPLES_PER_PEAK + 1.5 * SUPPORT + 1 <= n_cells


@given(st.data())
@settings(max_examples=25, deadline=None)
def test_another_search_has_the_bits_of_a_first_one_whatever_is_searched_of_the_same_epochs(
    data: st.DataObject,
) -> None:
    lengths = data.draw(st.lists(st.integers(60, 200), min_size=2, max_size=6))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    curves = curves_of(
        *((np.sort(rng.uniform(0, 20, n)), rng.normal(0, 1, n), rng.uniform(0.1, 1, n)) for n in lengths)
    )
    strongest_peaks(curves, GRID)
    # Fewer light curves make other groups; fewer epochs of them have other sums, as another grid has.
    every = list(range(len(lengths)))
    some = st.lists(st.sampled_from(every), min_size=1, unique=True)
    chosen = np.array(data.draw(st.one_of(st.just(every), some)))
    other = replace(
        curves,
        starts=curves.starts[chosen],
        stops=curves.stops[chosen] - data.draw(st.sampled_from([0, 1])),
        deviation=rng.normal(0, 1, sum(lengths)),
    )
    samples = data.draw(st.sampled_from([SAMPLES_PER_PEAK, SAMPLES_PER_PEAK + 1]))
    highest = GRID.max_frequency_per_day * SAMPLES_PER_PEAK / samples  # as many frequencies
    grid = replace(GRID, samples_per_peak=samples, max_frequency_per_day=highest)
    again, afresh = strongest_peaks(other, grid), strongest_peaks(replace(other, waves=Waves()), grid)
    for name in Peaks.__slots__:
        assert np.array_equal(getattr(again, name), getattr(afresh, name)), name


def test_sums_are_kept_up_to_a_limit() -> None:
    waves, made = Waves(), []

    def make() -> FloatArray:
        made.append(1)
        return np.zeros((1, 4, KEPT_FREQUENCIES // 2))

    for starts in (0, 1, 2, 0, 1, 2):
        place = np.array([starts])
        waves.of(place, place + 1, samples=3, size=KEPT_FREQUENCIES // 2, make=make)
    assert len(made) == 4  # the third does not fit, and is made twice
