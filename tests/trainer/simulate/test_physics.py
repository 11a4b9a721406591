# SPDX-License-Identifier: BSD-3-Clause
"""Laws of the simulated systems: geometry, pulsation, and light that is one star's in every instrument."""

from __future__ import annotations

import math

import numpy as np
import pytest

from broker_plugin.demo.light import G_NM, spots
from trainer.simulate.atmosphere import transmission
from trainer.simulate.binaries import (
    ELLIPSOIDAL,
    ROUNDING,
    _pair,
    contact_binary,
    detached_binary,
    eclipse_share,
    rotator,
)
from trainer.simulate.bodies import CIRCLE_KMS, Star, StarSystem, main_sequence, separation_rsun
from trainer.simulate.light import Photometer, extinction, spectral_flux
from trainer.simulate.observe import WAVE_AA, catalogue_values, take_spectrum
from trainer.simulate.pulsators import cepheid, delta_scuti, long_period, rr_lyrae_ab, rr_lyrae_c
from trainer.simulate.sky import place

KINDS = (cepheid, contact_binary, delta_scuti, detached_binary, long_period, rotator, rr_lyrae_ab, rr_lyrae_c)
SUN = Star(mass=1.0, radius=1.0, teff_k=5772.0)

SUN_KM, SUN_MU = 695_700.0, 1.3271244e11
"""Nominal radius and gravitational constant times mass in km^3/s^2 (IAU 2015 resolution B3)."""


def seen(system: StarSystem, wave_nm: float = 551.0) -> np.ndarray:
    """Return the change of magnitude at 400 phases of two periods."""
    mjd = 58_000.0 + np.linspace(0, 2 * system.period_day, 400, endpoint=False)
    return system.change(mjd, np.full(400, wave_nm))


@pytest.mark.parametrize("kind", KINDS)
def test_systems_are_physical(kind: object, rng: np.random.Generator) -> None:
    assert callable(kind)
    for _ in range(40):
        system = kind(rng)
        assert 0.02 < system.period_day < 600
        for star in system.stars:
            assert 0.05 < star.mass < 4
            assert 2300 < star.teff_k < 13_000
            assert -1.5 < star.logg < 5.3
        change = seen(system)
        assert np.isfinite(change).all()
        assert 0 < np.ptp(change) < 9
        total = sum(star.mass for star in system.stars)
        if len(system.stars) == 2:
            # Kepler: the speeds at quadrature are those of the orbit, seen at most edge-on.
            speed = system.orbit_kms[0] - system.orbit_kms[1]
            assert speed <= 50.7 * separation_rsun(total, system.period_day) / system.period_day


def test_orbits_have_the_size_and_speed_of_newton() -> None:
    # Both constants are rounded to three digits.
    for mass, period_day in ((1.0, 1.0), (2.6, 0.31), (1.3, 40.0)):
        period_s = 86_400.0 * period_day
        axis_km = (SUN_MU * mass * (period_s / (2 * math.pi)) ** 2) ** (1 / 3)
        assert separation_rsun(mass, period_day) == pytest.approx(axis_km / SUN_KM, rel=2e-3)
        speed = 2 * math.pi * axis_km / period_s
        assert CIRCLE_KMS * axis_km / SUN_KM / period_day == pytest.approx(speed, rel=2e-3)


def test_rotation_is_seen_at_inclinations_of_any_direction(rng: np.random.Generator) -> None:
    systems = [rotator(rng) for _ in range(400)]
    equator = [2 * math.pi * s.stars[0].radius * SUN_KM / (86_400.0 * s.period_day) for s in systems]
    sin_i = np.array([system.rotation_kms for system in systems]) / equator
    # The mean of sin i over the sphere is pi / 4, and its scatter 0.22.
    assert sin_i.mean() == pytest.approx(math.pi / 4, abs=4 * 0.22 / 20)


def test_rr_lyrae_stars_obey_the_pulsation_equation(rng: np.random.Generator) -> None:
    for kind, overtone in ((rr_lyrae_ab, 1.0), (rr_lyrae_c, 0.745)):
        for _ in range(20):
            system = kind(rng)
            star = system.stars[0]
            luminosity = star.radius**2 * (star.teff_k / 5772.0) ** 4
            log_period = (
                11.497
                + 0.84 * math.log10(luminosity)
                - 0.68 * math.log10(star.mass)
                - 3.48 * math.log10(star.teff_k)
            )
            assert 10**log_period * overtone == pytest.approx(system.period_day, rel=1e-9)  # rounding


def test_longer_rr_lyrae_periods_have_smaller_amplitudes_and_poorer_metals(rng: np.random.Generator) -> None:
    systems = [rr_lyrae_ab(rng) for _ in range(300)]
    period = [system.period_day for system in systems]
    assert np.corrcoef(period, [np.ptp(seen(system)) for system in systems])[0, 1] < -0.3
    assert np.corrcoef(period, [system.feh for system in systems])[0, 1] < -0.15


def test_amplitudes_of_rr_lyrae_stars_are_the_published_ones_from_peak_to_peak(
    rng: np.random.Generator,
) -> None:
    off = []
    for _ in range(300):
        system = rr_lyrae_ab(rng)
        bailey = math.log10(system.period_day) + 0.03 * (system.feh + 1.5)
        # Cacciari et al. (2005) in B; 0.9 of it in g.
        published = 0.9 * (-3.123 - 26.331 * bailey - 35.853 * bailey**2)
        if 0.3 < published < 1.4:
            off.append(float(np.ptp(seen(system, G_NM))) - published)
    # They scatter by 0.1 mag; the shortest and the longest were cut.
    assert np.mean(off) == pytest.approx(0.0, abs=0.03)
    assert np.std(off) == pytest.approx(0.1, abs=0.03)


def test_spots_have_their_amplitude_from_peak_to_peak() -> None:
    phase = np.linspace(0, 1, 1000)
    change = spots(period_day=1.0, epoch_mjd=0.0, amplitude=0.3, second=0.0)
    assert np.ptp(change(phase, np.full(1000, G_NM))) == pytest.approx(0.3, rel=1e-4)  # of the grid


@pytest.mark.parametrize(
    ("kind", "slope", "zero", "scatter"), [(delta_scuti, -2.94, -1.34, 0.15), (cepheid, -1.64, 0.05, 0.1)]
)
def test_luminosities_are_the_published_ones_at_their_period(
    kind: object, slope: float, zero: float, scatter: float, rng: np.random.Generator
) -> None:
    assert callable(kind)
    off = []
    for _ in range(200):
        system = kind(rng)
        star = system.stars[0]
        bolometric = 4.74 - 2.5 * math.log10(star.radius**2 * (star.teff_k / 5772.0) ** 4)
        off.append(bolometric - slope * math.log10(system.period_day) - zero)
    # Bolometric corrections of these stars are a tenth of a magnitude or less.
    assert np.mean(off) == pytest.approx(0.0, abs=0.13)
    assert np.std(off) == pytest.approx(scatter, rel=0.2)


def test_long_periods_are_as_luminous_as_miras(rng: np.random.Generator) -> None:
    off = []
    for _ in range(300):
        system = long_period(rng)
        if system.period_day > 250:  # Miras alone
            star = system.stars[0]
            bolometric = 4.74 - 2.5 * math.log10(star.radius**2 * (star.teff_k / 5772.0) ** 4)
            off.append(bolometric - 3.1 - (-3.51 * (math.log10(system.period_day) - 2.38) - 7.25))
    assert np.mean(off) == pytest.approx(0.0, abs=0.06)  # a scatter of 0.15 over some 90 stars
    assert np.std(off) == pytest.approx(0.15, rel=0.3)


@pytest.mark.parametrize(("kind", "slope"), [(delta_scuti, -2.94), (cepheid, -1.64)])
def test_period_and_luminosity_hang_together(kind: object, slope: float, rng: np.random.Generator) -> None:
    assert callable(kind)
    systems = [kind(rng) for _ in range(200)]
    log_period = np.log10([system.period_day for system in systems])
    magnitude = [Photometer(system).magnitude(551.0, distance_pc=10.0, av=0.0) for system in systems]
    # Bolometric corrections change along the strip; with the scatter that bends the slope a little.
    assert np.polyfit(log_period, magnitude, 1)[0] == pytest.approx(slope, abs=0.5)


def test_equal_stars_seen_edge_on_lose_half_their_light_twice(rng: np.random.Generator) -> None:
    system = _pair(
        rng, "EA", (SUN, SUN), 3.0, separation=separation_rsun(2.0, 3.0), cos_i=0.0, width=0.1, feh=0.0
    )
    change = seen(system)
    depth = 1 - 10 ** (-0.4 * change.max())
    assert depth == pytest.approx(0.5 * ROUNDING, abs=0.005)  # 200 phases a period miss the very middle
    in_eclipse = np.flatnonzero(change > 0.9 * change.max())
    assert set(np.round((in_eclipse - in_eclipse[0]) / 100).astype(int) % 4) == {0, 1, 2, 3}


def test_a_cooler_companion_gives_a_shallower_secondary_eclipse_above_all_in_the_blue(
    rng: np.random.Generator,
) -> None:
    cool = Star(mass=0.7, radius=1.0, teff_k=4200.0)
    system = _pair(
        rng, "EA", (SUN, cool), 3.0, separation=separation_rsun(1.7, 3.0), cos_i=0.0, width=0.1, feh=0.0
    )

    def ratio(wave_nm: float) -> float:
        change = seen(system, wave_nm)
        deepest = int(change.argmax())
        return float(np.roll(change, 100 - deepest)[150:250].max() / change.max())

    assert ratio(480.0) < ratio(860.0) < 1


def test_eclipses_last_as_long_as_the_discs_overlap(rng: np.random.Generator) -> None:
    """Discs on a circular orbit, their projected distance followed step by step."""
    phase = np.linspace(-0.25, 0.25, 20_001)
    for _ in range(60):
        system = detached_binary(rng)
        one, other = system.stars
        separation = separation_rsun(one.mass + other.mass, system.period_day)
        sin_i = (system.orbit_kms[0] - system.orbit_kms[1]) * system.period_day / (CIRCLE_KMS * separation)
        cos_i = math.sqrt(max(0.0, 1 - sin_i**2))
        distance = separation * np.hypot(np.sin(2 * np.pi * phase), cos_i * np.cos(2 * np.pi * phase))
        overlap = float((distance < one.radius + other.radius).mean()) / 2
        reach = (one.radius + other.radius) / separation
        total = math.asin(math.sqrt((reach**2 - cos_i**2) / (1 - cos_i**2))) / math.pi
        assert total == pytest.approx(overlap, abs=1e-4)  # two steps of the grid
        assert eclipse_share(reach, cos_i) == pytest.approx(total, rel=1e-12)  # rounding
        # Light has no step at the first contact: the last thousandths of an eclipse take nothing.
        share = eclipsed_share(system)
        assert share == pytest.approx((total, total), rel=0.01, abs=1e-4)


def eclipsed_share(system: StarSystem) -> tuple[float, float]:
    """Return the shares of a pair's orbit that its two eclipses last."""
    mjd = 58_000.0 + np.linspace(0, system.period_day, 40_001)[:-1]
    change = system.change(mjd, np.full(40_000, 551.0))
    # Begin a quarter of an orbit before the deeper eclipse, so that each half of the orbit holds one.
    halves = np.roll(change, 10_000 - int(change.argmax())).reshape(2, -1) > 0
    return float(halves[0].sum() / 40_000), float(halves[1].sum() / 40_000)


def test_deformed_stars_are_faint_twice_an_orbit_by_the_whole_amplitude(rng: np.random.Generator) -> None:
    # Too far apart to cover each other at this inclination: all that is left is their shape.
    system = _pair(rng, "EW", (SUN, SUN), 0.4, separation=4.0, cos_i=0.6, width=1.0, feh=0.0)
    light = 10 ** (-0.4 * seen(system))
    assert np.ptp(light) == pytest.approx(ELLIPSOIDAL * (1 - 0.6**2), rel=1e-3)  # of the grid
    # Two orbits: the second harmonic of the orbit, which is the fourth of this stretch.
    power = np.abs(np.fft.rfft(light - light.mean()))
    assert power.argmax() == 4
    assert light[:100] == pytest.approx(light[100:200], abs=1e-9)


def test_wider_pairs_eclipse_for_a_smaller_part_of_their_orbit(rng: np.random.Generator) -> None:
    systems = [detached_binary(rng) for _ in range(150)]
    share = [float((seen(system) > 0.002).mean()) for system in systems]
    assert np.corrcoef(np.log([system.period_day for system in systems]), share)[0, 1] < -0.4


def test_lines_follow_temperature_gravity_and_metallicity() -> None:
    def lost(wave: tuple[float, float], star: Star, feh: float = 0.0) -> float:
        inside = (wave[0] < WAVE_AA) & (wave[1] > WAVE_AA)
        light = transmission(WAVE_AA, star, feh, resolution=1800.0)
        assert (light > 0).all()
        assert (light <= 1).all()
        return float((1 - light[inside]).sum())

    hot, cool = Star(mass=2.0, radius=2.0, teff_k=9000.0), main_sequence(0.5)
    giant = Star(mass=1.0, radius=60.0, teff_k=3200.0)
    hbeta, calcium, tio, magnesium = (4840, 4885), (3925, 3945), (7056, 7200), (5160, 5195)
    assert lost(hbeta, hot) > 2 * lost(hbeta, SUN) > 2 * lost(hbeta, cool)
    assert lost(calcium, SUN) > 2 * lost(calcium, SUN, feh=-2.0)
    assert lost(tio, giant) > 10 * max(lost(tio, SUN), 0.01)
    dwarf, red_giant = Star(mass=0.7, radius=0.7, teff_k=4500.0), Star(mass=1.0, radius=15.0, teff_k=4500.0)
    assert lost(magnesium, dwarf) > 1.2 * lost(magnesium, red_giant)


def test_light_falls_with_distance_and_dust_and_dust_reddens() -> None:
    system = rotator(np.random.default_rng(3))
    photometer = Photometer(system)
    near, far = (photometer.magnitude(622.0, distance_pc=d, av=0.0) for d in (100.0, 1000.0))
    assert far - near == pytest.approx(5.0, abs=1e-9)  # a law
    for wave_nm in (480.0, 622.0, 866.0):
        clear, dusty = (photometer.magnitude(wave_nm, distance_pc=100.0, av=av) for av in (0.0, 1.0))
        # A band is wide: the mean over it is not the value in its middle.
        assert dusty - clear == pytest.approx(float(extinction(wave_nm)), abs=0.03)
    assert extinction(480.0) > extinction(866.0)


def test_doppler_shifts_move_lines(rng: np.random.Generator) -> None:
    system = StarSystem(
        label="ROT", stars=(SUN,), feh=0.0, period_day=9.0, change=lambda mjd_tai, wave_nm: 0.0 * mjd_tai
    )
    wave = np.arange(6500.0, 6650.0, 0.05)
    shift = {"distance_pc": 10.0, "av": 0.0, "resolution": 1800.0}
    lines = [
        float(wave[spectral_flux(system, wave, velocity_kms=v, **shift).argmin()])
        for v in (-300.0, 0.0, 300.0)
    ]
    expected = [6564.61 * (1 + v / 299_792.458) for v in (-300.0, 0.0, 300.0)]
    assert lines == pytest.approx(expected, abs=0.5)  # the continuum's slope moves the minimum a little


def test_spectrum_and_catalogue_see_the_same_star(rng: np.random.Generator) -> None:
    from_spectrum, from_catalogue = [], []
    while len(from_catalogue) < 40:
        system = rotator(rng)
        photometer = Photometer(system)
        where = place(system, photometer, rng, bright_mag=13.0, faint_mag=16.0)
        values = catalogue_values(system, where, photometer, rng)
        if "ps1_g_mag" not in values:
            continue
        spectrum = take_spectrum(system, where, photometer, rng)

        def colour_term(low: float, high: float, spectrum=spectrum) -> float:  # type: ignore[no-untyped-def]
            inside = (spectrum.wave_aa > low) & (spectrum.wave_aa < high)
            return float(np.mean((spectrum.flux * spectrum.wave_aa**2)[inside]))

        from_spectrum.append(-2.5 * math.log10(colour_term(4330, 5290) / colour_term(6770, 8270)))
        from_catalogue.append(values["ps1_g_mag"] - values["ps1_i_mag"])
    difference = np.array(from_spectrum) - np.array(from_catalogue)
    # Relative calibration of a spectrum is off by some 6 % from end to end, and stars vary meanwhile.
    assert np.std(difference) < 0.12
    assert abs(np.median(difference)) < 0.06
    assert np.std(from_catalogue) > 0.3


def test_noise_is_what_it_says(rng: np.random.Generator) -> None:
    system = rotator(rng)
    photometer = Photometer(system)
    where = place(system, photometer, rng, bright_mag=15.0, faint_mag=16.0)
    spectrum = take_spectrum(system, where, photometer, rng)
    good = spectrum.inverse_variance > 0
    assert 0.85 < good.mean() < 1
    assert (spectrum.flux[~good] == 0).all()
    red = good & (spectrum.wave_aa > 8700)
    # Neighbours differ by noise, by the square root of two more, and by few lines in this stretch.
    scatter = np.diff(spectrum.flux[red]) * np.sqrt(spectrum.inverse_variance[red][1:] / 2)
    assert np.median(np.abs(scatter)) / 0.6745 == pytest.approx(1.0, abs=0.25)  # 70 pixels
