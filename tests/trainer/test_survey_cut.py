# SPDX-License-Identifier: BSD-3-Clause
"""Stars cut into alerts: what a survey knows when it sends one, as its cadence and bands have it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from broker_plugin.records import Alert, Origin
from broker_plugin.surveys.photometry import AB_ZERO_NJY
from trainer.cadence import LSST, ZTF
from trainer.data.stars import StarTable
from trainer.preparation import Prepared
from trainer.survey_cut import HISTORY_DAY, REFERENCE_EPOCHS_MIN, SCATTER_SHARE, cut_alert

SURVEYS = {survey.name: survey for survey in (ZTF, LSST)}


@pytest.fixture(scope="module")
def stars(prepared: Prepared) -> StarTable:
    """Stars with four exposures a night, twelve minutes apart, every ten nights."""
    table = prepared.stars
    place = np.concatenate([np.arange(n) for n in np.diff(table.offsets)])
    return replace(table, mjd=53_600.5 + 10.0 * (place // 4) + place % 4 * 12 / 1440)


@pytest.fixture(scope="module")
def alerts(stars: StarTable) -> list[Alert]:
    return [cut_alert(stars, star, seed=1000 + star) for star in range(len(stars))]


def test_an_alert_holds_a_month_of_the_stars_own_epochs(stars: StarTable, alerts: list[Alert]) -> None:
    for star, alert in enumerate(alerts):
        curve, own = alert.light_curve, stars.epochs(star)
        assert curve.mjd_tai[-1] == alert.mjd_tai
        assert curve.mjd_tai[0] >= alert.mjd_tai - HISTORY_DAY
        assert np.isin(curve.mjd_tai, stars.mjd[own]).all()
        at = np.searchsorted(stars.mjd[own], curve.mjd_tai)
        assert np.array_equal(curve.flux_err_njy, stars.flux_err_njy[own][at])
        assert np.array_equal(curve.flux_njy[curve.apparent], stars.flux_njy[own][at][curve.apparent])
    assert max(len(alert.light_curve) for alert in alerts) > 4


def test_a_night_is_two_exposures_in_a_pair_of_bands_of_the_survey(alerts: list[Alert]) -> None:
    pairs = 0
    for alert in alerts:
        curve = alert.light_curve
        night = np.floor(curve.mjd_tai)
        for each in np.unique(night):
            bands = tuple(curve.band[night == each].tolist())
            survey = SURVEYS[alert.survey]
            assert bands in survey.pairs or (len(bands) == 1 and bands[0] in np.array(survey.pairs))
            pairs += len(bands) == 2
    assert pairs > len(alerts) // 4
    assert {alert.survey for alert in alerts} == set(SURVEYS)


def test_the_reference_is_from_before_the_history(stars: StarTable, alerts: list[Alert]) -> None:
    with_reference = 0
    for star, alert in enumerate(alerts):
        own = stars.epochs(star)
        before = stars.mjd[own] < alert.mjd_tai - HISTORY_DAY
        night = np.floor(stars.mjd[own])
        first = np.flatnonzero(np.diff(night, prepend=0.0))
        taken = np.zeros(len(night), np.bool_)
        taken[first] = taken[np.append(first[1:], len(night)) - 1] = True
        exposures = stars.flux_njy[own][taken & before].astype(np.float64)
        curve = alert.light_curve
        at = np.searchsorted(stars.mjd[own], curve.mjd_tai)
        reference = np.median(exposures) if len(exposures) >= REFERENCE_EPOCHS_MIN else 0.0
        expected = stars.flux_njy[own][at] - np.where(curve.apparent, 0.0, reference)
        assert curve.flux_njy == pytest.approx(expected, rel=1e-4)  # single precision
        if "reference_mag" in alert.metadata:
            assert alert.metadata["reference_mag"] == pytest.approx(-2.5 * np.log10(reference / AB_ZERO_NJY))
        with_reference += "reference_mag" in alert.metadata
    assert 0.3 * len(alerts) < with_reference < len(alerts)


def test_an_alert_is_sent_where_a_star_differs_from_its_reference(stars: StarTable) -> None:
    """Stars that fade by half after two hundred days are detected then; before, none but the last is."""
    fading = 53_600.5 + 200.0
    faded = replace(
        stars,
        flux_njy=np.where(stars.mjd < fading, 1e6, 5e5).astype(np.float32),
        flux_err_njy=np.full_like(stars.flux_err_njy, 1e4),
    )
    sent = 0
    for star in range(len(stars)):
        alert = cut_alert(faded, star, seed=star)
        curve, last = alert.light_curve, stars.mjd[stars.epochs(star)][-1]
        reference_is_bright = alert.mjd_tai < fading + HISTORY_DAY
        assert alert.mjd_tai >= fading or alert.mjd_tai == last
        if reference_is_bright and alert.mjd_tai >= fading:
            assert np.array_equal(curve.origin == Origin.DETECTION, curve.mjd_tai >= fading)
            sent += alert.mjd_tai < last
    assert sent > 5


def test_noise_sends_no_alert(stars: StarTable) -> None:
    """Constant stars, measured with the scatter that Catalina's have, wait for their last exposure."""
    scatter = SCATTER_SHARE * 0.05 * np.random.default_rng(3).normal(size=len(stars.mjd))
    constant = replace(
        stars,
        flux_njy=(1e6 * (1.0 + scatter)).astype(np.float32),
        flux_err_njy=np.full_like(stars.flux_err_njy, 5e4),
    )
    for number in range(10):
        for star in range(len(stars)):
            alert = cut_alert(constant, star, seed=1000 * number + star)
            assert alert.mjd_tai == stars.mjd[stars.epochs(star)][-1]


def test_a_star_that_lsst_cannot_measure_is_one_of_ztf(stars: StarTable) -> None:
    for mag, surveys in ((15.0, {"ztf"}), (17.0, {"ztf", "lsst"})):
        flux = np.full_like(stars.flux_njy, AB_ZERO_NJY * 10 ** (-0.4 * mag))
        steady = replace(stars, flux_njy=flux)
        assert {cut_alert(steady, star, seed=star).survey for star in range(len(stars))} == surveys


def test_a_star_without_a_reference_has_all_its_flux_in_the_difference(stars: StarTable) -> None:
    short = replace(
        stars, mjd=53_600.5 + np.concatenate([np.arange(n) / 1440 for n in np.diff(stars.offsets)])
    )
    for star in range(len(stars)):
        alert = cut_alert(short, star, seed=star)
        own = stars.epochs(star)
        assert alert.mjd_tai == short.mjd[own][-1]
        assert "reference_mag" not in alert.metadata
        assert np.array_equal(alert.light_curve.flux_njy, stars.flux_njy[own][[0, -1]])
