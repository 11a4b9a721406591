# SPDX-License-Identifier: BSD-3-Clause
"""Laws of the simulated night: what raises an alert, what is in it, and that its truth can be recovered."""

import numpy as np
import pytest

from broker_plugin.demo.light import ab_flux_njy
from broker_plugin.demo.observing import DETECTION_SNR, LSST, ZTF, Survey, observe, plan_visits
from broker_plugin.demo.oddities import PLANTED_LSST, PLANTED_ZTF
from broker_plugin.demo.population import ORDINARY
from broker_plugin.demo.simulator import TONIGHT_DAY, Night, SimulatedAlert, simulate_night
from broker_plugin.demo.sources import Draw, Sky
from broker_plugin.demo.stars import draw_dsct, draw_ea, draw_ew, draw_rrab, draw_rrc
from broker_plugin.features.period import find_periods
from broker_plugin.records import Alert, AlertBatch, LightCurve
from broker_plugin.taxonomy import CLASSES, passband_code


@pytest.fixture(scope="module")
def night() -> Night:
    return simulate_night(7, n_alerts=300)


def test_equal_seeds_give_equal_nights_and_others_do_not(night: Night) -> None:
    again, other = simulate_night(7, n_alerts=300), simulate_night(8, n_alerts=300)
    assert [alert.alert_id for alert in again.alerts] == [alert.alert_id for alert in night.alerts]
    for one, two in zip(night.alerts, again.alerts, strict=True):
        np.testing.assert_array_equal(one.observations.difference_njy, two.observations.difference_njy)
    assert [alert.alert_id for alert in other.alerts] != [alert.alert_id for alert in night.alerts]


def test_a_night_has_the_size_that_was_asked_for(night: Night) -> None:
    # The last object of each survey may raise several alerts.
    assert 300 <= len(night.alerts) <= 310
    assert {alert.object.survey.name for alert in night.alerts} == {"ztf", "lsst"}
    assert [alert.mjd_tai for alert in night.alerts] == sorted(alert.mjd_tai for alert in night.alerts)


def test_every_alert_is_a_detection_of_that_night(night: Night) -> None:
    for alert in night.alerts:
        seen = alert.observations
        assert abs(seen.difference_njy[-1]) > DETECTION_SNR * seen.error_njy[-1]
        assert abs(alert.mjd_tai - night.alerts[0].mjd_tai) < 2 * TONIGHT_DAY
        assert (np.diff(seen.mjd_tai) > 0).all()


def test_undetected_epochs_are_within_five_sigma(night: Night) -> None:
    quiet = detected = 0
    for alert in night.alerts:
        seen = alert.observations
        ratio = np.abs(seen.difference_njy) / seen.error_njy
        np.testing.assert_array_equal(seen.detected, ratio > DETECTION_SNR)
        quiet, detected = quiet + int((~seen.detected).sum()), detected + int(seen.detected.sum())
    assert quiet > 1000
    assert detected > 1000


def test_every_object_and_alert_has_an_identity_of_its_own(night: Night) -> None:
    keys = {(alert.object.survey.name, alert.alert_id) for alert in night.alerts}
    assert len(keys) == len(night.alerts)
    assert len({thing.number for thing in night.objects.values() if thing.survey is ZTF}) == sum(
        thing.survey is ZTF for thing in night.objects.values()
    )
    assert all(0 < alert.alert_id < 2**63 for alert in night.alerts)


def test_every_planted_oddity_is_there_and_says_what_it_is(night: Night) -> None:
    planted = night.planted.values()
    assert len(planted) == len(PLANTED_ZTF) + len(PLANTED_LSST)
    assert all(thing.source.planted and thing.source.context == "stellar" for thing in planted)
    assert 4 <= sum(thing.source.hard for thing in planted) < len(planted) / 2


def test_labels_are_of_the_taxonomy_and_only_stars_have_them(night: Night) -> None:
    names = {entry.name for entry in CLASSES}
    for thing in night.objects.values():
        assert thing.source.label is None or thing.source.label in names
        assert thing.source.context == "stellar" or thing.source.label is None


def test_the_shares_of_the_kinds_add_up() -> None:
    assert sum(ORDINARY.values()) == pytest.approx(1.0, abs=1e-9)


@pytest.mark.parametrize("survey", [ZTF, LSST], ids=lambda survey: survey.name)
def test_noise_is_what_the_errors_say(survey: Survey, rng: np.random.Generator) -> None:
    flux = float(ab_flux_njy(survey.range_mag[1]))
    mjd_tai = np.sort(rng.uniform(61000.0, 61300.0, 4000))
    band = np.array(survey.bands)[rng.integers(len(survey.bands), size=len(mjd_tai))]
    seen = observe(lambda t, _: np.full_like(t, flux), survey, rng, mjd_tai=mjd_tai, band=band)
    pulls = seen.difference_njy / seen.error_njy
    # 4,000 normal deviates: mean to 4 / sqrt(4000), standard deviation to 4 / sqrt(8000).
    assert pulls.mean() == pytest.approx(0.0, abs=0.064)
    assert pulls.std() == pytest.approx(1.0, abs=0.045)


@pytest.mark.parametrize(
    ("draw", "factor"), [(draw_rrab, 1), (draw_rrc, 1), (draw_dsct, 1), (draw_ew, 2), (draw_ea, 2)]
)
def test_periods_come_back_from_bright_stars(draw: Draw, factor: int, rng: np.random.Generator) -> None:
    """With two hundred clear epochs the search finds the period, or half of a binary's, or an alias."""
    found = []
    for _ in range(12):
        sky = Sky(rng=rng, night_mjd=61300.0, bright_mag=15.0, faint_mag=15.5)
        source = draw(sky)
        mjd_tai = np.sort(rng.integers(61150, 61300, 200) + rng.uniform(-0.15, 0.15, 200))
        band = np.full(200, "r")
        seen = observe(source.law, ZTF, rng, mjd_tai=mjd_tai, band=band)
        flux = seen.difference_njy + seen.reference_njy["r"]
        curve = LightCurve.from_columns(
            mjd_tai=mjd_tai,
            flux_njy=flux,
            flux_err_njy=seen.error_njy,
            band=np.full(200, passband_code("ztf_r")),
            origin=np.zeros(200),
            apparent=np.ones(200),
            detector=np.zeros(200),
            access=np.ones(200),
        )
        alert = Alert(
            survey="ztf",
            alert_id=1,
            object_id="ztf:x",
            ra_deg=0.0,
            dec_deg=0.0,
            mjd_tai=61300.2,
            light_curve=curve,
        )
        periods = find_periods(AlertBatch.from_alerts([alert]))
        candidates = [periods.period_day[0], *periods.aliases_day[0]]
        truth = (source.period_day, source.period_day / factor)
        # 0.2 %: a tenth of the resolution of 150 days at two days, and less at shorter periods.
        found.append(any(abs(p / t - 1) < 2e-3 for p in candidates if p > 0 for t in truth))
    # Narrow eclipses are one hump of many harmonics: the strongest peak is then any of them.
    assert np.mean(found) >= (0.5 if draw is draw_ea else 0.9)


@pytest.mark.parametrize("survey", [ZTF, LSST], ids=lambda survey: survey.name)
def test_visits_are_at_night_and_end_tonight(survey: Survey, rng: np.random.Generator) -> None:
    for _ in range(20):
        mjd_tai, band = plan_visits(survey, rng, tonight_mjd=61300.0)
        assert (np.diff(mjd_tai) > 0).all()
        assert 0.0 <= mjd_tai[-1] - 61300.0 < 0.1
        assert set(band) <= set(survey.bands)
        hours = np.abs(mjd_tai - np.round(mjd_tai))
        assert hours.max() < 0.45  # a field is up for half of the day at most


def test_a_reference_image_holds_no_outburst_of_the_night(night: Night) -> None:
    novae = [alert for alert in night.alerts if alert.object.source.kind == "nova"]
    assert novae
    for alert in novae:
        assert peak_over_reference(alert) > 30


def peak_over_reference(alert: SimulatedAlert) -> float:
    seen = alert.observations
    reference = np.array([seen.reference_njy[band] for band in seen.band])
    return float(((seen.difference_njy + reference) / reference).max())
