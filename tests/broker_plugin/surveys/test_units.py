# SPDX-License-Identifier: BSD-3-Clause
"""Times, fluxes and positions against values from elsewhere."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker_plugin.surveys.photometry import flux_of_counts, flux_of_mag, known_pair, mag_of_flux
from broker_plugin.surveys.sky import galactic_deg, separation_arcsec
from broker_plugin.times import MJD_MAX, MJD_MIN, tai_mjd_of_utc_jd

LEAP_SECONDS = [
    # MJD of a day and TAI - UTC on it, from the IERS table of leap seconds
    (47892.0, 25), (48804.0, 27), (51179.0, 32), (53736.0, 33), (56109.0, 35), (57754.0, 37), (61000.0, 37),
]  # fmt: skip

TO_GALACTIC = np.array(
    # Rotation from ICRS to galactic coordinates as published with the Hipparcos catalogue (volume 1, 1.5.11)
    [
        [-0.0548755604, -0.8734370902, -0.4838350155],
        [0.4941094279, -0.4448296300, 0.7469822445],
        [-0.8676661490, -0.1980763734, 0.4559837762],
    ]
)


@pytest.mark.parametrize(("mjd_utc", "offset_s"), LEAP_SECONDS)
def test_leap_seconds_are_those_of_the_day(mjd_utc: float, offset_s: int) -> None:
    tai = tai_mjd_of_utc_jd(np.array([mjd_utc + 2_400_000.5]), np.zeros(1))
    # 1 ms: a Julian date in float64 resolves 40 microseconds
    assert (tai[0] - mjd_utc) * 86400 == pytest.approx(offset_s, abs=1e-3)


def test_times_far_from_any_leap_second_table_give_no_warning_and_no_time() -> None:
    jd = np.array([math.nan, -1e300, 0.0, 1e300, MJD_MIN + 2_400_000.4, MJD_MAX + 2_400_000.6])
    assert np.isnan(tai_mjd_of_utc_jd(jd, np.zeros(6))).all()


def test_the_end_of_the_century_is_still_a_time() -> None:
    assert tai_mjd_of_utc_jd(np.array([MJD_MAX + 2_400_000.0]), np.zeros(1))[0] > MJD_MAX - 1


@given(st.floats(0, 30), st.floats(1e-4, 1))
def test_magnitude_and_flux_are_inverse(mag: float, mag_err: float) -> None:
    flux, error = flux_of_mag(np.array([mag]), np.array([mag_err]))
    assert mag_of_flux(flux)[0] == pytest.approx(mag, abs=1e-12)  # rounding of log10 and its inverse
    # To first order the error is half the difference between one sigma up and one sigma down.
    step = 1e-6
    slope = (flux_of_mag(np.array([mag - step]), np.array([1.0]))[0] - flux) / step
    assert error[0] == pytest.approx(slope[0] * mag_err, rel=1e-5)  # second-order term of the step


def test_the_zero_point_of_the_ab_system_is_31_4_in_nanojansky() -> None:
    magnitudes = mag_of_flux(np.array([1.0, 0.0, -5.0, np.nan]))
    assert magnitudes[0] == pytest.approx(31.4, abs=1e-4)  # 31.40006: 3631 Jy is itself rounded
    assert np.isnan(magnitudes[1:]).all()


def test_counts_at_the_zero_point_have_its_magnitude() -> None:
    flux = flux_of_counts(np.array([1.0, 100.0]), np.array([26.0, 26.0]))
    expected = flux_of_mag(np.array([26.0, 21.0]), np.zeros(2))[0]
    np.testing.assert_allclose(flux, expected, rtol=1e-12)  # rounding of two powers


def test_a_flux_is_known_with_a_positive_error_only() -> None:
    flux = np.array([1.0, -1.0, 1.0, 1.0, np.nan, 1e300, 1.0])
    error = np.array([1.0, 2.0, 0.0, np.nan, 1.0, 1.0, 1e-50])  # the last is 0 in float32
    known, known_err = known_pair(flux, error)
    np.testing.assert_array_equal(np.isnan(known), [False, False, True, True, True, True, True])
    np.testing.assert_array_equal(np.isnan(known), np.isnan(known_err))


@given(st.floats(0, 360), st.floats(-89.9, 89.9))
def test_galactic_coordinates_are_the_rotation_of_the_hipparcos_catalogue(ra: float, dec: float) -> None:
    longitude, latitude = (math.radians(angle[0]) for angle in galactic_deg(np.array([ra]), np.array([dec])))
    ra, dec = math.radians(ra), math.radians(dec)
    ours = [
        math.cos(latitude) * math.cos(longitude),
        math.cos(latitude) * math.sin(longitude),
        math.sin(latitude),
    ]
    theirs = TO_GALACTIC @ [math.cos(dec) * math.cos(ra), math.cos(dec) * math.sin(ra), math.sin(dec)]
    np.testing.assert_allclose(ours, theirs, atol=3e-10)  # the matrix is printed with ten decimals


def test_separations_are_in_arcsec_on_the_sphere() -> None:
    found = separation_arcsec(
        np.array([10.0, 10.0, 370.0, np.nan]),
        np.array([60.0, 60.0 + 1 / 3600, 60.0, 60.0]),
        centre=(np.float64(10.0), np.float64(60.0)),
    )
    np.testing.assert_allclose(found, [0.0, 1.0, 0.0, np.nan], atol=1e-8)  # 2e-16 rad are 4e-11 arcsec
    (one_degree,) = separation_arcsec(
        np.array([11.0]), np.array([60.0]), centre=(np.float64(10.0), np.float64(60.0))
    )
    assert one_degree == pytest.approx(1800.0, rel=1e-4)  # cos 60 deg; the sphere's curvature
