# SPDX-License-Identifier: BSD-3-Clause
"""What instruments make of a simulated system: light curve, spectrum and catalogue values."""

from __future__ import annotations

import numpy as np

from broker_plugin.demo.light import ab_flux_njy
from broker_plugin.records import Access, LightCurve, Origin, Spectrum
from broker_plugin.taxonomy import PASSBANDS
from trainer.cadence import Survey, noise_njy, visits
from trainer.simulate.bodies import FloatArray, StarSystem
from trainer.simulate.light import Photometer, spectral_flux
from trainer.simulate.sky import Place

__all__ = ["WAVE_AA", "catalogue_values", "light_curve", "take_spectrum"]

WAVE_AA: FloatArray = 10.0 ** np.arange(np.log10(3700.0), np.log10(9000.0), 2e-4)
"""Pixels of the spectra: LAMOST's range and half its sampling, one pixel to a resolution element."""

RESOLUTION = 1800.0
"""Of LAMOST's low-resolution spectra."""

FLUX_UNIT_CGS = 1e-17
"""Fluxes of spectra come in 1e-17 erg/s/cm2/angstrom, as those of LAMOST and SDSS."""

SN_TEN_MAG = 17.5
"""r magnitude at which a pixel has a signal-to-noise ratio of ten."""

BLUE_AA, BLUE_WIDTH_AA = 3950.0, 180.0
"""Throughput has halved at this wavelength and falls over this width towards the blue."""

TILT = 0.06
"""Error of the relative flux calibration from end to end of the spectrum."""

BAD_PIXELS, DICHROIC_SHARE, DICHROIC_AA = 0.01, 0.15, (5700.0, 5920.0)
"""Share of lost pixels, and of spectra whose two arms do not meet."""

N_EPOCHS_MIN, N_EPOCHS_MAX = 30, 220

CATALOGUE_NM = {"ps1_g_mag": 481.0, "ps1_r_mag": 617.0, "ps1_i_mag": 752.0, "ps1_z_mag": 866.0}
CATALOGUE_ERROR_MAG = 0.02
CATALOGUE_SHARE = 0.9
"""Share of systems that the catalogue of colours holds."""


def light_curve(
    system: StarSystem,
    where: Place,
    photometer: Photometer,
    rng: np.random.Generator,
    *,
    survey: Survey,
) -> LightCurve:
    """Return the light curve of a system in a survey's cadence, bands, depth and noise; apparent flux."""
    n = int(np.exp(rng.uniform(np.log(N_EPOCHS_MIN), np.log(N_EPOCHS_MAX + 1))))
    age_day, band = visits(survey, n, rng)
    mjd = rng.uniform(58_500.0, 62_000.0) + age_day
    mean = {
        int(code): photometer.magnitude(PASSBANDS[code][1], distance_pc=where.distance_pc, av=where.av)
        for code in np.unique(band)
    }
    wave_nm = np.array([PASSBANDS[code][1] for code in band])
    mag = np.array([mean[int(code)] for code in band]) + system.change(mjd, wave_nm)
    flux = ab_flux_njy(mag)
    error = noise_njy(flux, survey, rng)
    return LightCurve.from_columns(
        mjd_tai=mjd,
        flux_njy=flux + error * rng.standard_normal(n),
        flux_err_njy=error,
        band=band,
        origin=np.full(n, Origin.DETECTION),
        apparent=np.ones(n, np.bool_),
        detector=np.zeros(n),
        access=np.full(n, Access.PUBLIC),
    )


def take_spectrum(
    system: StarSystem, where: Place, photometer: Photometer, rng: np.random.Generator
) -> Spectrum:
    """Return a low-resolution spectrum at a random time, with noise, bad pixels and a tilted calibration."""
    mjd = np.array([rng.uniform(58_500.0, 62_000.0)])
    flux = spectral_flux(
        system,
        WAVE_AA,
        distance_pc=where.distance_pc,
        av=where.av,
        resolution=RESOLUTION,
        velocity_kms=where.velocity_kms,
        orbit_phase=float(rng.uniform()),
        dimming_mag=float(system.change(mjd, np.array([551.0]))[0]),
    )
    red = (WAVE_AA > 5800.0) & (WAVE_AA < 6600.0)
    level = float(np.median(flux[red]))
    mag_r = photometer.magnitude(622.3, distance_pc=where.distance_pc, av=where.av)
    ratio = 10.0 * 10 ** (0.2 * (SN_TEN_MAG - mag_r)) * np.exp(rng.normal(0, 0.3))
    throughput = 1 / (1 + np.exp((BLUE_AA - WAVE_AA) / BLUE_WIDTH_AA))
    # Photons of the star, and of a sky as bright as a star at the limit.
    sky = 10 ** (0.4 * (mag_r - SN_TEN_MAG))
    sigma = level / ratio * np.sqrt((flux / level + sky) / (1 + sky)) / np.sqrt(throughput)
    position = np.linspace(-1, 1, len(WAVE_AA))
    observed = flux * (1 + rng.normal(0, TILT) * position + rng.normal(0, TILT / 2) * (position**2 - 0.33))
    observed = observed + sigma * rng.standard_normal(len(WAVE_AA))
    bad = rng.random(len(WAVE_AA)) < BAD_PIXELS
    if rng.random() < DICHROIC_SHARE:
        bad |= (DICHROIC_AA[0] < WAVE_AA) & (DICHROIC_AA[1] > WAVE_AA)
    return Spectrum(
        wave_aa=WAVE_AA,
        flux=np.where(bad, 0.0, observed / FLUX_UNIT_CGS).astype(np.float32),
        inverse_variance=np.where(bad, 0.0, (FLUX_UNIT_CGS / sigma) ** 2).astype(np.float32),
        access=Access.PUBLIC,
    )


def catalogue_values(
    system: StarSystem, where: Place, photometer: Photometer, rng: np.random.Generator
) -> dict[str, float]:
    """Return position and magnitudes as a catalogue lists them."""
    values = {"gal_lon_deg": where.gal_lon_deg, "gal_lat_deg": where.gal_lat_deg}
    if rng.random() < CATALOGUE_SHARE:
        # Each band was seen a few times, so a variable star's colour is not quite its mean.
        mjd = rng.uniform(55_000.0, 57_000.0, 4)
        for name, wave_nm in CATALOGUE_NM.items():
            mean = photometer.magnitude(wave_nm, distance_pc=where.distance_pc, av=where.av)
            seen = float(np.mean(system.change(mjd, np.full(4, wave_nm))))
            values[name] = mean + seen + float(rng.normal(0, CATALOGUE_ERROR_MAG))
        values["reference_mag"] = values["ps1_r_mag"] + float(rng.normal(0, CATALOGUE_ERROR_MAG))
    return values
