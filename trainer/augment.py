# SPDX-License-Identifier: BSD-3-Clause
"""Alerts imitated from the light curve of a labelled star.

Two ways, drawn at random:

* *observed*: the star's own epochs, in a random window, thinned out; nothing is invented but the names of the
  bands and which kind of flux is known.
* *survey*: the star's folded light curve, seen through the cadence, bands, depth and noise of ZTF or LSST,
  at times from farther away. An epoch is a detection where it differs from the reference by five sigma, as
  in an alert stream; the last epoch always is one; the others may come along as forced photometry.

The folded light curve uses the catalogue's period. Real cadence and noise come from *observed* alone, so
results are also reported for that alone.

Training knows each star's whole light curve, and takes the reference flux and magnitude from all of it, as if
the reference image were as deep and as old as the catalogue. What a survey knows before an alert is less: to
measure, `trainer.survey_cut` takes them from earlier epochs alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from broker_plugin.records import Access, Alert, LightCurve, Origin, SourceContext
from broker_plugin.surveys.photometry import AB_ZERO_NJY
from trainer.cadence import DETECTION_SIGMA, LSST, ZTF, Survey, band_amplitude, noise_njy, visits
from trainer.data.stars import N_PHASES, StarTable
from trainer.outliers import Host, Oddity, odd_factor, odd_flux

__all__ = ["Measured", "alert_at", "alert_of", "imitate", "light_curve_of", "survey_alert"]

FloatArray = NDArray[np.float64]

OBSERVED_SHARE = 0.3
"""Share of alerts made from observed epochs. Fewer, and real cadence and noise are hardly seen; more, and so
are several bands, forced photometry and densely sampled histories."""

APPARENT_SHARE = 0.75
"""Share of alerts whose reference flux is known, as it is for most variable stars in ZTF and LSST."""

MIXED_SHARE = 0.1
"""Share of alerts in which it is known in some bands only."""

FORCED_SHARE = 0.5
"""Share of alerts with forced photometry between the detections."""

BRIGHTEST_MAG = 12.5
"""Brighter stars saturate, so nothing is brought nearer than this."""

COLOUR_MAG = 0.5
"""Scatter of a star's magnitude from band to band."""

REFERENCE_MAG_SHARE = 0.85
"""Share of alerts that come with the magnitude of the reference source."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """The sky as a survey measured it: columns over visits (T,), in order of time."""

    mjd: FloatArray
    band: NDArray[np.int8]
    flux_njy: FloatArray
    flux_err_njy: FloatArray
    reference_njy: FloatArray
    detected: NDArray[np.bool_]


def imitate(
    stars: StarTable,
    star: int,
    rng: np.random.Generator,
    *,
    n_epochs: int,
    alert_id: int,
    observed_share: float = OBSERVED_SHARE,
    oddity: Oddity = Oddity.ORDINARY,
    peers: NDArray[np.int64] | None = None,
) -> Alert:
    """Return an alert of a star with at most `n_epochs` epochs: fewer where star or cadence has no more.

    Parameters
    ----------
    oddity, peers
        What the star's light is made into, and the stars that may serve for it.
    """
    host = Host(stars, star, np.zeros(0, np.int64) if peers is None else peers)
    survey = ZTF if rng.random() < 0.5 else LSST
    if rng.random() < observed_share:
        measured, dimming_mag = _observed(host, survey, rng, n_epochs, oddity), 0.0
    else:
        dimming_mag = _dimming(float(stars.mean_mag[star]), survey, rng)
        measured = _surveyed(host, survey, rng, n_epochs=n_epochs, dimming_mag=dimming_mag, oddity=oddity)
    return alert_of(
        stars, star, measured, survey, rng, n_epochs=n_epochs, alert_id=alert_id, dimming_mag=dimming_mag
    )


def alert_of(
    stars: StarTable,
    star: int,
    measured: Measured,
    survey: Survey,
    rng: np.random.Generator,
    *,
    n_epochs: int,
    alert_id: int,
    dimming_mag: float,
) -> Alert:
    """Return the alert of what a survey measured, at the position of a star and with its magnitude."""
    curve = light_curve_of(measured, rng, n_epochs=n_epochs)
    metadata = stars.galactic(star)
    if rng.random() < REFERENCE_MAG_SHARE:
        metadata["reference_mag"] = float(
            stars.mean_mag[star] + dimming_mag + rng.normal(0.0, COLOUR_MAG / 2)
        )
    return alert_at(stars, star, curve, survey=survey.name, alert_id=alert_id, metadata=metadata)


def alert_at(
    stars: StarTable,
    star: int,
    curve: LightCurve,
    *,
    survey: str,
    alert_id: int,
    metadata: dict[str, float],
    source_context: SourceContext = SourceContext.UNKNOWN,
) -> Alert:
    """Return the alert of a light curve at the position of a star, sent with its last epoch."""
    return Alert(
        survey=survey,
        alert_id=alert_id,
        object_id=str(stars.star_id[star]),
        ra_deg=float(stars.ra_deg[star]),
        dec_deg=float(stars.dec_deg[star]),
        mjd_tai=float(curve.mjd_tai[-1]),
        light_curve=curve,
        metadata=metadata,
        source_context=source_context,
    )


def survey_alert(
    deviation: FloatArray,
    mjd: FloatArray,
    band: NDArray[np.int8],
    survey: Survey,
    rng: np.random.Generator,
    *,
    mag: float,
) -> Measured:
    """Measure a source whose flux deviates by known fractions from a reference of magnitude `mag`.

    Where no visit would be a detection the noise is lowered until one is: sources that never alert are not in
    an alert stream.
    """
    colour = {code: rng.normal(0.0, COLOUR_MAG) for code in survey.bands}
    level = AB_ZERO_NJY * 10 ** (-0.4 * (mag + np.array([colour[int(code)] for code in band])))
    flux = level * (1 + deviation)
    error = noise_njy(flux, survey, rng)
    best = float(np.max(np.abs(level * deviation) / error))
    if best < 1.2 * DETECTION_SIGMA:
        error = error * max(best, 1e-3) / (1.2 * DETECTION_SIGMA)
    reference = level * (1 + rng.normal(0.0, 0.01))
    noisy = flux + error * rng.standard_normal(len(mjd))
    return Measured(
        mjd=mjd,
        band=band,
        flux_njy=noisy,
        flux_err_njy=error * rng.uniform(0.85, 1.15),
        reference_njy=reference,
        detected=np.abs(noisy - reference) > DETECTION_SIGMA * error,
    )


def light_curve_of(measured: Measured, rng: np.random.Generator, *, n_epochs: int) -> LightCurve:
    """Return the light curve of the alert that the last detection sets off, of at most `n_epochs` epochs.

    By chance it holds forced photometry or detections alone, and apparent or difference flux.
    """
    detected = measured.detected.copy()
    if not detected.any():
        detected[np.argmax(np.abs(measured.flux_njy - measured.reference_njy))] = True
    forced = rng.random() < FORCED_SHARE
    last = int(np.flatnonzero(detected)[-1])
    kept = np.flatnonzero(detected | forced)
    kept = kept[kept <= last][-n_epochs:]
    bands = np.unique(measured.band)
    draw = rng.random()
    if draw < MIXED_SHARE:
        known = bands[rng.random(len(bands)) < 0.5]
    else:
        known = bands if draw < MIXED_SHARE + APPARENT_SHARE else bands[:0]
    apparent = np.isin(measured.band[kept], known)
    flux = measured.flux_njy[kept]
    return LightCurve.from_columns(
        mjd_tai=measured.mjd[kept],
        flux_njy=np.where(apparent, flux, flux - measured.reference_njy[kept]),
        flux_err_njy=measured.flux_err_njy[kept],
        band=measured.band[kept],
        origin=np.where(detected[kept], Origin.DETECTION, Origin.FORCED),
        apparent=apparent,
        detector=np.zeros(len(kept)),
        access=np.full(len(kept), Access.PUBLIC),
    )


def _dimming(mag: float, survey: Survey, rng: np.random.Generator) -> float:
    if rng.random() < 0.4:
        return 0.0
    faintest = survey.limit_mag - 1.0
    dimming = rng.uniform(max(0.0, BRIGHTEST_MAG - mag), survey.dimming_mag_max)
    return float(max(0.0, min(dimming, faintest - mag)))


def _surveyed(
    host: Host,
    survey: Survey,
    rng: np.random.Generator,
    *,
    n_epochs: int,
    dimming_mag: float,
    oddity: Oddity,
) -> Measured:
    stars, star = host.stars, host.star
    age_day, band = visits(survey, int(np.ceil(n_epochs * rng.uniform(1.0, 3.0))) + 2, rng)
    mjd = rng.uniform(58_000.0, 62_000.0) + age_day
    amplitude = band_amplitude(survey.bands, rng)
    phase = mjd / stars.period_day[star] + rng.random()
    phase = (phase - np.floor(phase)) * N_PHASES
    lower = np.floor(phase).astype(np.int64)
    profile = stars.profile[star].astype(np.float64)
    share = phase - lower
    deviation = (1 - share) * profile[lower % N_PHASES] + share * profile[(lower + 1) % N_PHASES]
    factor = np.array([amplitude[int(code)] for code in band])
    deviation = (1 + deviation * factor) * odd_factor(oddity, mjd, host, rng) - 1
    return survey_alert(
        np.maximum(deviation, -0.99),
        mjd,
        band,
        survey,
        rng,
        mag=float(stars.mean_mag[star]) + dimming_mag,
    )


def _observed(
    host: Host, survey: Survey, rng: np.random.Generator, n_epochs: int, oddity: Oddity
) -> Measured:
    stars, star = host.stars, host.star
    rows = stars.epochs(star)
    mjd = stars.mjd[rows]
    span = float(mjd[-1] - mjd[0])
    window = float(np.exp(rng.uniform(0.0, np.log(max(span, 2.0)))))
    # Enough epochs for the wish come before the last one, if the star has them.
    last = int(rng.integers(min(n_epochs, len(mjd)) - 1, len(mjd)))
    inside = np.flatnonzero((mjd <= mjd[last]) & (mjd > mjd[last] - window))
    if len(inside) < n_epochs:
        inside = np.arange(max(0, last + 1 - n_epochs * int(rng.integers(1, 4))), last + 1)
    if len(inside) > n_epochs and rng.random() < 0.5:
        inside = np.sort(np.append(rng.choice(inside[:-1], n_epochs - 1, replace=False), inside[-1]))
    flux = stars.flux_njy[rows].astype(np.float64)
    flux_err = stars.flux_err_njy[rows].astype(np.float64)
    if oddity is not Oddity.ORDINARY:
        flux[inside], flux_err[inside] = odd_flux(
            oddity, mjd[inside], flux[inside], flux_err[inside], host, rng
        )
    size = int(rng.integers(1, min(3, len(survey.bands)) + 1))
    bands = rng.choice(survey.bands, size, replace=False)
    # The exposures of one night in one band, as surveys take them.
    night = np.floor(mjd[inside]).astype(np.int64)
    band = bands[rng.integers(0, size, night[-1] - night[0] + 1)[night - night[0]]].astype(np.int8)
    reference = float(np.median(flux)) * (1 + rng.normal(0.0, 0.02))
    difference = np.abs(flux[inside] - reference)
    faintest = np.quantile(difference, rng.uniform(0.0, 0.6)) if rng.random() < 0.5 else 0.0
    detected = difference >= faintest
    detected[-1] = True
    return Measured(
        mjd=mjd[inside],
        band=band,
        flux_njy=flux[inside],
        flux_err_njy=flux_err[inside],
        reference_njy=np.full(len(inside), reference),
        detected=detected,
    )
