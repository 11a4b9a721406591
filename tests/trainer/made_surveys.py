# SPDX-License-Identifier: BSD-3-Clause
"""A made-up sky in the layouts that `trainer build` reads, with known answers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from astropy.io import fits
from astropy.table import Table

N_STARS = 12
RUNNER = 3
"""The star that moves 1.25 arcsec a year: 20 arcsec from 2000 to 2016."""

TWINS = (5, 6)
"""Listed 4 arcsec apart with one period: the same star twice."""

NEIGHBOURS = (7, 8)
"""4 arcsec apart too, with two periods: two stars, which must share a split."""

RADIUS_ARCSEC = 2.0

CONFIG = """
name = "made up"
seed = 4
split_fractions = [0.4, 0.2, 0.2, 0.2]
{extra}

[[sources]]
name = "curves"
layout = "nested"
path = "curves.parquet"
columns = {{ id = "id", ra = "ra", dec = "dec", label = "sss_class", period_day = "period" }}
band = "johnson_v"
epoch_jyear = 2000.0
cuts = {{ min_epochs = 5 }}
citation = "made up"

[[sources]]
name = "motions"
layout = "catalogue"
path = "motions.fits"
namespace = "curves"
columns = {{ id = "source", {motion} metadata = {{ ps1_g_mag = "gmag" }}, missing = [-999.0] }}
match = "id"
keep_unmatched = false
citation = "made up"

[[sources]]
name = "spectra"
layout = "lamost_fits"
path = "spectra/*.fits"
match = "position"
radius_arcsec = {radius}
positions_at = "observation"
citation = "made up"
"""

WITH_MOTION = 'pm_ra_cosdec_mas_yr = "pmra", pm_dec_mas_yr = "pmdec",'


@contextmanager
def no_bar(what: str, total: int) -> Iterator[Callable[[int], None]]:
    """Check that progress adds up instead of showing it."""
    done = [0]

    def advance(n: int) -> None:
        done[0] += n

    yield advance
    assert done[0] == total, what


def config(*, motion: bool = True, radius: float = RADIUS_ARCSEC, extra: str = "") -> str:
    """Return a configuration for the made-up sky."""
    return CONFIG.format(motion=WITH_MOTION if motion else "", radius=radius, extra=extra)


def positions() -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Return where the stars are in 2000, in degrees; one lies on the seam of right ascension."""
    ra = np.linspace(0, 330, N_STARS)
    dec = np.linspace(-60, 60, N_STARS)
    for one, other in (TWINS, NEIGHBOURS):
        ra[other], dec[other] = ra[one], dec[one] + 4 / 3600
    return ra, dec


def write_surveys(data: Path, rng: np.random.Generator) -> None:
    """Write light curves of all stars, motions of all but two, and spectra of four."""
    data.mkdir(parents=True, exist_ok=True)
    ra, dec = positions()
    period = np.linspace(0.3, 0.9, N_STARS)
    period[TWINS[1]] = period[TWINS[0]] * (1 + 1e-5)
    mjd = [np.sort(rng.uniform(53_000, 56_000, 40)) for _ in range(N_STARS)]
    mag = [15 + 0.3 * np.sin(2 * np.pi * t / p) for t, p in zip(mjd, period, strict=True)]
    # Star 0 holds one epoch at an impossible time, star 1 four epochs, star 2 a few without a magnitude.
    mjd[0], mag[0] = np.array([-2_409_998.5]), np.array([15.0])
    mjd[1], mag[1] = mjd[1][:4], mag[1][:4]
    mag[2][:3] = np.nan
    blind = {name: rng.normal(size=N_STARS) for name in ("amp", "vmag", "lc_p95_p5")}
    labels = ["RRab"] * (N_STARS - 2) + ["AGN", "LPV"]
    labels[TWINS[1]] = "RRc"
    pq.write_table(
        pa.table(
            {
                "id": pa.array(range(100, 100 + N_STARS)),
                "ra": ra,
                "dec": dec,
                "period": period,
                "sss_class": labels,
                "gcvs_type": [str(value) for value in rng.normal(size=N_STARS)],
                **blind,
                "mjd": [list(t) for t in mjd],
                "mag": [list(m) for m in mag],
                "mag_err": [[0.02] * len(m) for m in mag],
            }
        ),
        data / "curves.parquet",
    )
    known = np.arange(2, N_STARS)
    motion = np.where(known == RUNNER, 1250.0, 0.0)
    magnitude = np.where(known == 2, -999.0, 14.5)
    Table({"source": 100 + known, "pmra": np.zeros(len(known)), "pmdec": motion, "gmag": magnitude}).write(
        data / "motions.fits"
    )
    write_spectrum(data / "spectra/a.fits", ra[0] - 0.5 / 3600, dec[0], rng=rng)
    write_spectrum(data / "spectra/b.fits", ra[RUNNER], dec[RUNNER] + 20 / 3600, rng=rng)
    write_spectrum(data / "spectra/c.fits", ra[4], dec[4] + 1 / 3600, rng=rng)
    write_spectrum(data / "spectra/d.fits", ra[4], dec[4] + 0.5 / 3600, rng=rng, noise=0.5)
    write_spectrum(data / "spectra/e.fits", 200.0, 80.0, rng=rng)


def write_spectrum(
    path: Path, ra: float, dec: float, *, rng: np.random.Generator, noise: float = 0.05, n: int = 50
) -> None:
    """Write a spectrum laid out like LAMOST's, taken in the middle of 2016; its first pixel is unusable."""
    path.parent.mkdir(exist_ok=True)
    image = np.zeros((5, n), np.float32)
    image[0] = 1 + noise * rng.normal(size=n)
    image[1, 1:] = noise**-2
    hdu = fits.PrimaryHDU(image)
    cards = {
        "EXTEN0": "Flux Inverse Subcontinuum Andmask Ormask",
        "COEFF0": 3.5682,
        "COEFF1": 1e-4,
        "RA": ra % 360.0,
        "DEC": dec,
        "DATE-OBS": "2016-01-01T12:00:00",
        "VACUUM": True,
        "FILENAME": path.name,
    }
    hdu.header.update(cards)
    hdu.writeto(path)
