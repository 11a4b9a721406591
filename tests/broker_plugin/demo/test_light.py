# SPDX-License-Identifier: BSD-3-Clause
"""Laws of the simulated light: shapes, colours, eclipses, lensing, supernovae."""

import numpy as np
import pytest

from broker_plugin.demo.light import (
    SHAPES,
    ab_flux_njy,
    ab_magnitude,
    black_body,
    damped_random_walk,
    eclipses,
    magnified,
    pulsation,
    pulsator,
    steady,
)
from broker_plugin.demo.transients import (
    dust_fading,
    dwarf_nova_outburst,
    flares,
    microlensing,
    nova,
    type_ia_supernova,
)

PHASE = np.linspace(0.0, 1.0, 2000, endpoint=False)
G_NM, R_NM, Z_NM = 472.3, 622.3, 869.1

ROUNDING = 1e-12
"""Relative error of a few float64 operations, with room."""


def at(wave_nm: float, times: np.ndarray) -> np.ndarray:
    return np.full_like(times, wave_nm)


@pytest.mark.parametrize("kind", SHAPES)
def test_a_pulsation_has_its_amplitude_and_its_maximum_light_at_phase_zero(kind: str) -> None:
    values = SHAPES[kind](PHASE)
    # The extremes are found on a grid of 512 phases, so a peak can be missed by (pi k / 512)^2 / 2, k <= 6.
    assert np.ptp(values) == pytest.approx(1.0, abs=1e-3)
    assert min(PHASE[values.argmin()], 1 - PHASE[values.argmin()]) < 1 / 512
    assert values.mean() == pytest.approx(0.0, abs=1e-9)


def test_a_fundamental_mode_rises_faster_than_it_falls() -> None:
    values = SHAPES["RRAB"](PHASE)
    brightest, faintest = PHASE[values.argmin()], PHASE[values.argmax()]
    rise = (brightest - faintest) % 1.0
    assert rise < 0.25  # RRab rise in 0.1 to 0.2 of the period


def test_a_pulsation_repeats_and_is_larger_in_the_blue() -> None:
    mode = pulsation(shape=SHAPES["RRAB"], period_day=0.57, epoch_mjd=61000.0, amplitude_mag=1.0)
    star = pulsator(steady(mag_r=16.0, temperature_k=6500.0), [mode])
    times = 61300.0 + 0.57 * PHASE
    blue, red = (ab_magnitude(star(times, at(wave, times))) for wave in (G_NM, Z_NM))
    assert np.ptp(blue) == pytest.approx(1.0, abs=1e-3)
    assert 0.4 < np.ptp(red) / np.ptp(blue) < 0.6  # Sesar et al. (2010): 0.48 in z
    later = star(times + 7 * 0.57, at(G_NM, times))
    # 1e-8: rounding of times near 61,300 d, over half a day, at the steepest part of the rise.
    np.testing.assert_allclose(later, star(times, at(G_NM, times)), rtol=1e-8)


def test_a_hotter_body_is_bluer() -> None:
    waves = np.array([G_NM, R_NM, Z_NM])
    hot, cool = black_body(waves, 15_000.0), black_body(waves, 4000.0)
    assert hot[0] > 1 > cool[0]
    assert hot[2] < 1 < cool[2]
    assert black_body(np.array([R_NM]), 5000.0)[0] == pytest.approx(1.0, rel=ROUNDING)


@pytest.mark.parametrize("contact", [True, False])
def test_eclipses_are_as_deep_as_they_should_be(contact: bool) -> None:
    share = eclipses(period_day=2.0, epoch_mjd=61000.0, depths=(0.6, 0.3), width=0.1, contact=contact)
    assert share(np.array([61000.0, 61004.0])) == pytest.approx(0.4, abs=1e-9)
    assert share(np.array([61001.0])) == pytest.approx(0.7, abs=1e-9)
    assert share(np.array([61000.5])) == pytest.approx(1.0, abs=1e-9)


def test_a_detached_binary_is_constant_outside_its_eclipses() -> None:
    share = eclipses(period_day=1.0, epoch_mjd=0.0, depths=(0.5, 0.2), width=0.1, contact=False)
    outside = PHASE[(np.abs(PHASE - 0.5) > 0.051) & (np.abs(PHASE - 0.5) < 0.449)]
    assert (share(outside) == 1.0).all()


def test_microlensing_has_no_colour_and_its_textbook_peak() -> None:
    factor = microlensing(peak_mjd=61300.0, impact=0.1, crossing_day=20.0)
    star = steady(mag_r=17.0, temperature_k=5000.0)
    lensed = magnified(star, factor)
    times = np.linspace(61200.0, 61400.0, 401)
    ratios = [lensed(times, at(wave, times)) / star(times, at(wave, times)) for wave in (G_NM, Z_NM)]
    np.testing.assert_allclose(ratios[0], ratios[1], rtol=ROUNDING)
    assert ratios[0].max() == pytest.approx((0.01 + 2) / (0.1 * np.sqrt(4.01)), rel=ROUNDING)
    np.testing.assert_allclose(ratios[0], ratios[0][::-1], rtol=1e-9)  # symmetric in time


def test_a_type_ia_supernova_is_as_bright_as_its_distance_says_and_reddens() -> None:
    law, peak_mag = type_ia_supernova(redshift=0.05, peak_mjd=61300.0, stretch=1.0)
    times = np.linspace(61280.0, 61350.0, 701)
    red = ab_magnitude(law(times, at(R_NM, times)))
    # -19.3 at 217 Mpc (z = 0.05, 70 km/s/Mpc, first order in z); a few tenths for the band's rest wavelength.
    assert peak_mag == pytest.approx(17.4, abs=0.1)
    assert red.min() == pytest.approx(peak_mag, abs=0.4)
    assert abs(times[red.argmin()] - 61300.0) < 5
    colour = ab_magnitude(law(times, at(G_NM, times))) - red
    at_peak, month_later = np.interp([61300.0, 61330.0], times, colour)
    assert month_later - at_peak > 0.5
    years_before = law(np.array([60500.0]), np.array([R_NM]))
    assert years_before[0] < 1e-4 * law(np.array([61300.0]), np.array([R_NM]))[0]


def test_outbursts_begin_when_they_should_and_fade() -> None:
    quiet = float(ab_flux_njy(21.0))
    outbursts = (
        dwarf_nova_outburst(quiet_mag=21.0, rise_mjd=61300.0, amplitude_mag=4.0, plateau_day=5.0),
        nova(quiet_mag=21.0, peak_mjd=61301.5, amplitude_mag=4.0, decline_day=12.0),
    )
    for law in outbursts:
        before, peak, later = law(np.array([61295.0, 61302.0, 61330.0]), np.full(3, R_NM))
        assert before == pytest.approx(quiet, rel=1e-6)  # the rise is a logistic, e^-22 five days before
        assert 3.0 < 2.5 * np.log10(peak / quiet) < 4.3
        assert later < 0.2 * peak


def test_a_flare_is_blue_and_short() -> None:
    star = steady(mag_r=17.0, temperature_k=3200.0)
    law = flares(star, peaks_mjd=[61300.0], amplitude=2.0, half_life_day=0.02)
    peak = np.array([61300.0])
    rise = {
        wave: float(law(peak, at(wave, peak))[0] / star(peak, at(wave, peak))[0]) for wave in (G_NM, R_NM)
    }
    # The decay is 0.69 + 0.30 of the peak at its start (Davenport et al. 2014).
    assert rise[R_NM] == pytest.approx(1 + 2.0 * 0.99, rel=1e-9)
    assert rise[G_NM] > 2 * rise[R_NM]
    day_later = np.array([61301.0])
    assert law(day_later, at(R_NM, day_later)) == pytest.approx(
        star(day_later, at(R_NM, day_later)), rel=1e-5
    )


def test_dust_dims_the_blue_most_and_only_from_its_start() -> None:
    star = steady(mag_r=14.0, temperature_k=6000.0)
    law = dust_fading(star, start_mjd=61300.0, depth_mag=4.0, fall_day=5.0)
    times = np.array([61299.0, 61360.0])
    lost = {
        wave: ab_magnitude(law(times, at(wave, times))) - ab_magnitude(star(times, at(wave, times)))
        for wave in (G_NM, R_NM)
    }
    assert lost[R_NM][0] == pytest.approx(0.0, abs=1e-9)
    assert lost[R_NM][1] == pytest.approx(4.0, abs=1e-3)  # e^-12 of the depth is missing after 60 d
    assert lost[G_NM][1] > lost[R_NM][1]


def test_a_damped_random_walk_has_its_scatter_and_forgets(rng: np.random.Generator) -> None:
    change = damped_random_walk(rng, start_mjd=0.0, stop_mjd=200_000.0, tau_day=100.0, scatter_mag=0.3)
    times = np.arange(0.0, 200_000.0, 20.0)
    values = change(times, at(G_NM, times))
    # 2,000 memory times: the scatter is known to about 1 / sqrt(2 * 1000), correlations to about 0.03.
    assert values.std() == pytest.approx(0.3, rel=0.1)
    correlation = {lag: np.corrcoef(values[:-lag], values[lag:])[0, 1] for lag in (5, 50)}
    assert correlation[5] == pytest.approx(np.exp(-1), abs=0.1)
    assert abs(correlation[50]) < 0.1
