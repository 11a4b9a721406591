# SPDX-License-Identifier: BSD-3-Clause
"""Pulsating stars: period, luminosity, temperature and amplitude hang together as in the literature.

Numbers are rounded from the works named beside them; scatter is added where a relation has it.
"""

from __future__ import annotations

import math

import numpy as np

from broker_plugin.demo.light import SHAPES, Change, pulsation
from trainer.simulate.bodies import Star, StarSystem, luminosity_of, radius_of

__all__ = ["cepheid", "delta_scuti", "long_period", "rr_lyrae_ab", "rr_lyrae_c"]

TEMPERATURE_SWING = 0.8
"""Share of the optical change of a radial pulsator that is temperature; radius does the rest."""


def rr_lyrae_ab(rng: np.random.Generator) -> StarSystem:
    """Draw an RR Lyrae star in the fundamental mode.

    Metallicity of the halo (mean -1.5, 0.45 dex; Crestani et al. 2021); periods longer where metals are poor
    (Oosterhoff); amplitude by Cacciari et al. (2005), their curve shifted by the metallicity.
    """
    feh = _halo_metallicity(rng)
    shift = -0.03 * (feh + 1.5)
    log_period = float(np.clip(rng.normal(math.log10(0.56) + shift, 0.045), math.log10(0.4), math.log10(0.9)))
    bailey = log_period - shift
    blue = -3.123 - 26.331 * bailey - 35.853 * bailey**2
    amplitude = float(np.clip(0.9 * blue + rng.normal(0, 0.1), 0.2, 1.5))
    return _horizontal_branch(rng, "RRAB", feh, 10**log_period, log_period, amplitude)


def rr_lyrae_c(rng: np.random.Generator) -> StarSystem:
    """Draw an RR Lyrae star in the first overtone, whose period is 0.745 of the fundamental."""
    feh = _halo_metallicity(rng)
    period = float(np.clip(rng.normal(0.32 - 0.015 * (feh + 1.5), 0.035), 0.2, 0.45))
    amplitude = float(np.clip(rng.normal(0.48, 0.1), 0.15, 0.7))
    return _horizontal_branch(rng, "RRC", feh, period, math.log10(period / 0.745), amplitude)


def cepheid(rng: np.random.Generator) -> StarSystem:
    """Draw a type II Cepheid, BL Herculis or W Virginis (M_V by Pritzl et al. 2003)."""
    period = float(np.exp(rng.uniform(np.log(1.0), np.log(25.0))))
    feh = float(np.clip(rng.normal(-1.2, 0.5), -2.4, 0.0))
    magnitude = 0.05 - 1.64 * math.log10(period) + rng.normal(0, 0.1)
    luminosity = luminosity_of(magnitude - 0.1)
    mass = float(rng.normal(0.56, 0.03))
    return _pulsator(
        rng,
        label="CEP",
        star=_by_pulsation(math.log10(period), luminosity, mass),
        feh=feh,
        period=period,
        amplitude=float(np.clip(rng.normal(0.85, 0.25), 0.25, 1.5)),
        halo=rng.random() < 0.6,
    )


def delta_scuti(rng: np.random.Generator) -> StarSystem:
    """Draw a delta Scuti star of high amplitude, one in four of them metal-poor (SX Phoenicis).

    M_V = -2.94 log P - 1.34 (Ziaali et al. 2019); temperatures within the instability strip.
    """
    old = rng.random() < 0.25
    period = float(np.exp(rng.uniform(np.log(0.04), np.log(0.08 if old else 0.2))))
    feh = float(rng.normal(-1.4, 0.4) if old else rng.normal(-0.2, 0.25))
    luminosity = luminosity_of(-1.34 - 2.94 * math.log10(period) + rng.normal(0, 0.15))
    teff = float(np.clip(rng.normal(7500 - 1500 * (period - 0.1), 250), 6700, 8300))
    radius = radius_of(luminosity, teff)
    return _pulsator(
        rng,
        label="DSCT",
        star=Star(mass=float(np.clip(luminosity**0.25, 1.0, 2.3)), radius=radius, teff_k=teff),
        feh=feh,
        period=period,
        amplitude=float(np.exp(rng.uniform(np.log(0.08), np.log(0.8)))),
        halo=old,
        rotation_kms=float(rng.uniform(10, 60)),
    )


def long_period(rng: np.random.Generator) -> StarSystem:
    """Draw a Mira or semi-regular variable.

    M_K = -3.51 (log P - 2.38) - 7.25 (Whitelock et al. 2008) with a bolometric correction of 3.1 (half a
    magnitude of scatter for semi-regular stars); cooler at longer periods; amplitudes in g from 0.3 to 6 mag.
    """
    mira = rng.random() < 0.5
    period = float(np.exp(rng.uniform(np.log(150 if mira else 40), np.log(500 if mira else 250))))
    log_period = math.log10(period)
    luminosity = luminosity_of(-3.51 * (log_period - 2.38) - 4.15 + rng.normal(0, 0.15 if mira else 0.5))
    teff = float(np.clip(rng.normal(3500 - 1000 * (log_period - 2), 120), 2500, 3900))
    amplitude = float(np.exp(rng.uniform(np.log(2.5), np.log(6.0)) if mira else rng.uniform(-1.2, 0.9)))
    star = Star(mass=float(rng.uniform(0.8, 2.0)), radius=radius_of(luminosity, teff), teff_k=teff)
    modes = [
        _mode(rng, "LPV", period, amplitude, colour=-1.6),
        _mode(rng, "LPV", period * float(rng.uniform(2, 9)), 0.2 * amplitude, colour=-1.2),
    ]
    return StarSystem(
        label="LPV",
        stars=(star,),
        feh=float(rng.normal(-0.3, 0.3)),
        period_day=period,
        change=_sum(modes),
        temperature_swing=0.3,
    )


def _halo_metallicity(rng: np.random.Generator) -> float:
    return float(np.clip(rng.normal(-1.5, 0.45), -2.6, -0.1))


def _horizontal_branch(
    rng: np.random.Generator, label: str, feh: float, period: float, log_fundamental: float, amplitude: float
) -> StarSystem:
    """Return an RR Lyrae star; M_V = 0.214 ([Fe/H] + 1.5) + 0.57 (Clementini et al. 2003)."""
    luminosity = luminosity_of(0.57 + 0.214 * (feh + 1.5) - 0.05 + rng.normal(0, 0.08))
    return _pulsator(
        rng,
        label=label,
        star=_by_pulsation(log_fundamental, luminosity, float(rng.normal(0.65, 0.03))),
        feh=feh,
        period=period,
        amplitude=amplitude,
        halo=True,
    )


def _by_pulsation(log_period: float, luminosity: float, mass: float) -> Star:
    """Return the star of this fundamental period (van Albada & Baker 1971), which fixes its temperature."""
    log_teff = (11.497 + 0.84 * math.log10(luminosity) - 0.68 * math.log10(mass) - log_period) / 3.48
    return Star(mass=mass, radius=radius_of(luminosity, 10**log_teff), teff_k=10**log_teff)


def _pulsator(
    rng: np.random.Generator,
    *,
    label: str,
    star: Star,
    feh: float,
    period: float,
    amplitude: float,
    halo: bool,
    rotation_kms: float = 5.0,
) -> StarSystem:
    return StarSystem(
        label=label,
        stars=(star,),
        feh=feh,
        period_day=period,
        change=_mode(rng, label, period, amplitude),
        halo=halo,
        rotation_kms=rotation_kms,
        temperature_swing=TEMPERATURE_SWING,
    )


def _mode(
    rng: np.random.Generator, shape: str, period: float, amplitude: float, *, colour: float = -1.2
) -> Change:
    """Return a mode at a random phase; the colour term is that of the demonstration's pulsators."""
    return pulsation(
        shape=SHAPES[shape],
        period_day=period,
        epoch_mjd=58_000.0 + float(rng.uniform(0, period)),
        amplitude_mag=amplitude,
        colour=colour,
    )


def _sum(modes: list[Change]) -> Change:
    return lambda mjd_tai, wave_nm: np.sum([mode(mjd_tai, wave_nm) for mode in modes], axis=0)
