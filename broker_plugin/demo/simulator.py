# SPDX-License-Identifier: BSD-3-Clause
"""A simulated night of two surveys: ordinary sources, a few planted oddities, and the alerts they cause.

Everything follows from the seed. An alert is raised where tonight's measured difference to the reference
image exceeds five standard deviations, so what is in the night is what a survey would have seen.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from broker_plugin.demo.light import ab_flux_njy, ab_magnitude, black_body
from broker_plugin.demo.observing import LSST, ZTF, Observations, Survey, observe, plan_visits
from broker_plugin.demo.oddities import PLANTED_LSST, PLANTED_ZTF
from broker_plugin.demo.population import ORDINARY
from broker_plugin.demo.sources import Draw, Sky, Source

__all__ = ["Night", "SimulatedAlert", "SimulatedObject", "exposure_id", "simulate_night"]

NIGHT_MJD = 61303.3
"""Midnight of the simulated night, 2026-09-20: the southern survey's visits centre on it."""

TONIGHT_DAY = 0.2
"""An epoch this close to the field's visit tonight is tonight's and may raise an alert."""

ZTF_SHARE = 0.62
"""Share of ZTF in the alerts; the rest are LSST's."""

MAX_DRAWS = 400
"""How often a kind is drawn again until it raises an alert tonight; one that needs more is misdesigned."""

CATALOGUE_NM = {"g": 481.0, "r": 617.0, "i": 752.0, "z": 866.0}
"""Bands of the Pan-STARRS catalogue."""

CATALOGUE_AGE_DAY = (500.0, 990.0)
CATALOGUE_EXPOSURES = 40

ZTF_FIRST_NIGHT_MJD = 57754.0
"""ZTF counts nights from 2017-01-01."""

FIRST_LSST_OBJECT = 9_100_000_000_000_000_000
"""Simulated diaObjectIds count from here: far above the real ones, and still a 64-bit integer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedObject:
    """A source on the sky, with the identity a survey gives it.

    Parameters
    ----------
    object_id
        In the verdicts' spelling.
    catalogue_mag
        Mean magnitudes before the night, in g, r, i and z.
    """

    number: int
    survey: Survey
    source: Source
    object_id: str
    ra_deg: float
    dec_deg: float
    catalogue_mag: Mapping[str, float]

    def epoch_id(self, mjd_tai: float, row: int) -> int:
        """Return the id of a detection: a candid as ZTF forms it, or a diaSourceId."""
        if self.survey is ZTF:
            return exposure_id(mjd_tai, self.number) * 1_000_000 + 15_000 + self.number % 1000
        return FIRST_LSST_OBJECT + 1_000_000 + self.number * 1000 + row


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedAlert:
    """One alert: its object, and everything the survey measured of it; the last epoch is the trigger."""

    object: SimulatedObject
    alert_id: int
    observations: Observations

    @property
    def mjd_tai(self) -> float:
        """Time of the trigger."""
        return float(self.observations.mjd_tai[-1])


@dataclass(frozen=True, slots=True, kw_only=True)
class Night:
    """All alerts of a simulated night, in order of time."""

    seed: int
    alerts: tuple[SimulatedAlert, ...]

    @property
    def objects(self) -> dict[str, SimulatedObject]:
        """Objects by their id, in order of their first alert."""
        return {alert.object.object_id: alert.object for alert in self.alerts}

    @property
    def planted(self) -> dict[str, SimulatedObject]:
        """The planted oddities among the objects."""
        return {name: thing for name, thing in self.objects.items() if thing.source.planted is not None}


def simulate_night(seed: int, *, n_alerts: int = 400) -> Night:
    """Simulate a night of about `n_alerts` alerts.

    Parameters
    ----------
    seed
        Equal seeds give equal nights.
    n_alerts
        At least as many alerts as asked for, and as the planted oddities cause.

    Examples
    --------
    >>> night = simulate_night(1, n_alerts=40)
    >>> len(night.alerts) >= 40, len(night.planted)
    (True, 16)
    """
    n_ztf = round(n_alerts * ZTF_SHARE)
    alerts = [
        *_survey_alerts(ZTF, PLANTED_ZTF, np.random.default_rng([seed, 1]), n_alerts=n_ztf),
        *_survey_alerts(LSST, PLANTED_LSST, np.random.default_rng([seed, 2]), n_alerts=n_alerts - n_ztf),
    ]
    alerts.sort(key=lambda alert: (alert.mjd_tai, alert.alert_id))
    return Night(seed=seed, alerts=tuple(alerts))


def _survey_alerts(
    survey: Survey, planted: Sequence[Draw], rng: np.random.Generator, *, n_alerts: int
) -> Iterator[SimulatedAlert]:
    kinds, shares = list(ORDINARY), np.array(list(ORDINARY.values()))
    number = done = 0
    while done < n_alerts or number < len(planted):
        draw = planted[number] if number < len(planted) else kinds[rng.choice(len(kinds), p=shares)]
        number += 1
        for alert in _observe_until_seen(survey, draw, rng, number=number):
            done += 1
            yield alert


def _observe_until_seen(
    survey: Survey, draw: Draw, rng: np.random.Generator, *, number: int
) -> list[SimulatedAlert]:
    for _ in range(MAX_DRAWS):
        tonight_mjd = NIGHT_MJD + float(rng.uniform(-0.15, 0.15))
        sky = Sky(
            rng=rng,
            night_mjd=tonight_mjd,
            bright_mag=survey.range_mag[0],
            faint_mag=survey.range_mag[1],
        )
        source = draw(sky)
        mjd_tai, band = plan_visits(survey, rng, tonight_mjd=tonight_mjd)
        seen = observe(source.law, survey, rng, mjd_tai=mjd_tai, band=band)
        triggers = np.flatnonzero(seen.detected & (seen.mjd_tai > tonight_mjd - TONIGHT_DAY))
        if len(triggers):
            thing = _place(survey, source, rng, number=number, night_mjd=tonight_mjd)
            return [
                SimulatedAlert(
                    object=thing,
                    alert_id=thing.epoch_id(float(seen.mjd_tai[row]), int(row)),
                    observations=seen.before(int(row)),
                )
                for row in (triggers[:1] if source.context == "solar_system" else triggers)
            ]
    raise AssertionError(f"no alert from {draw.__name__} in {MAX_DRAWS} draws")


def _place(
    survey: Survey, source: Source, rng: np.random.Generator, *, number: int, night_mjd: float
) -> SimulatedObject:
    """Put a source on the sky that culminates that night, and name it as the survey would."""
    ra_deg = float(rng.uniform(-50.0, 50.0)) % 360.0
    south, north = (-25.0, 70.0) if survey is ZTF else (-70.0, 5.0)
    low, high = np.sin(np.radians([south, north]))
    dec_deg = float(np.degrees(np.arcsin(rng.uniform(low, high))))
    if source.context == "solar_system":
        # The opposition point of late September is near the equinox: asteroids sit around it.
        dec_deg = 0.4 * ((ra_deg + 180.0) % 360.0 - 180.0) + float(rng.normal(0, 2.0))
    if survey is ZTF:
        object_id = f"ztf:ZTF00sim{_letters(number)}"
    elif source.context == "solar_system":
        object_id = f"lsst:sso:{FIRST_LSST_OBJECT + number}"
    else:
        object_id = f"lsst:{FIRST_LSST_OBJECT + number}"
    return SimulatedObject(
        number=number,
        survey=survey,
        source=source,
        object_id=object_id,
        ra_deg=ra_deg,
        dec_deg=dec_deg,
        catalogue_mag=_catalogue(source, night_mjd),
    )


def _catalogue(source: Source, night_mjd: float) -> dict[str, float]:
    """Return the mean magnitudes that a catalogue of years ago would hold."""
    times = night_mjd - np.linspace(*CATALOGUE_AGE_DAY, CATALOGUE_EXPOSURES)
    magnitudes = {}
    for band, wave_nm in CATALOGUE_NM.items():
        flux = float(source.law(times, np.full(CATALOGUE_EXPOSURES, wave_nm)).mean())
        if source.host is not None:
            nucleus = black_body(np.array([wave_nm]), source.host.temperature_k)[0]
            flux += float(ab_flux_njy(source.host.mag_r) * nucleus)
        if flux > 0:
            magnitudes[band] = float(ab_magnitude(flux))
    return magnitudes


def exposure_id(mjd_tai: float, number: int) -> int:
    """Return ZTF's number of an exposure of one channel: night, millionth of the day, channel."""
    return round((mjd_tai - ZTF_FIRST_NIGHT_MJD) * 1e6) * 1000 + 100 + number % 64


def _letters(number: int) -> str:
    """Return a number as four letters, `aaab` for 1."""
    return "".join(chr(ord("a") + number // 26**place % 26) for place in (3, 2, 1, 0))
