# SPDX-License-Identifier: BSD-3-Clause
"""ZTF's traps, one test each."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker_plugin.errors import RejectedAlert, RejectReason
from broker_plugin.records import Origin, QualityFlag, SourceContext
from broker_plugin.taxonomy import passband_code
from tests.broker_plugin.surveys.packets import (
    JD,
    assert_sound,
    parts,
    ztf_alert,
    ztf_detection,
    ztf_forced,
    ztf_packet,
)

FLOAT32 = 1e-6
"""Relative tolerance of values that went through float32 once (its epsilon is 1.2e-7)."""

MAG_18_NJY = 3631e9 * 10 ** (-0.4 * 18)
STAR = {"sgscore1": 0.95, "distpsnr1": 0.2}
GALAXY = {"sgscore1": 0.02, "distpsnr1": 1.2}
NEAR_REFERENCE = {"distnr": 0.3, "magnr": 17.0, "sigmagnr": 0.02}


def previous(**changes: object) -> dict[str, object]:
    return ztf_detection(**({"jd": JD - 2, "candid": 900_000_000_015_015_000} | changes))


def only_flux(packet: dict[str, object]) -> float:
    (flux,) = ztf_alert(packet).light_curve.flux_njy
    return float(flux)


@pytest.mark.parametrize(
    ("spelling", "sign"),
    [("t", 1), ("1", 1), ("f", -1), ("0", -1), (True, 1), (False, -1), (1, 1), (0, -1)],
)
def test_every_spelling_of_isdiffpos_gives_the_sign_of_the_difference(spelling: object, sign: int) -> None:
    assert only_flux(ztf_packet(isdiffpos=spelling)) == pytest.approx(sign * MAG_18_NJY, rel=FLOAT32)


@pytest.mark.parametrize("spelling", ["T", "yes", "", None, 2, -1, 1.0, [], {}])
def test_an_alert_of_unknown_sign_is_rejected(spelling: object) -> None:
    with pytest.raises(RejectedAlert):
        ztf_alert(ztf_packet(isdiffpos=spelling))


def test_an_epoch_of_unknown_sign_is_left_out_and_said_so() -> None:
    alert = ztf_alert(ztf_packet(previous=[previous(isdiffpos="?")]))
    assert len(alert.light_curve) == 1
    assert QualityFlag.EPOCHS_INVALID in alert.flags


def test_start_in_utc_becomes_mid_exposure_in_tai() -> None:
    # TAI - UTC was 37 s on the day; 40 microseconds is the resolution of a Julian date in float64.
    expected = (JD - 2_400_000.5) + (37.0 + 240.0 / 2) / 86400
    assert ztf_alert(ztf_packet(exptime=240.0)).mjd_tai == pytest.approx(expected, abs=5e-10)


@pytest.mark.parametrize("exposure", [None, 0.0, -30.0, math.nan, "30", -999.0])
def test_an_exposure_that_is_not_stated_counts_as_30_s(exposure: object) -> None:
    assert ztf_alert(ztf_packet(exptime=exposure)).mjd_tai == ztf_alert(ztf_packet(exptime=30.0)).mjd_tai


def test_history_without_exposures_has_the_time_of_the_alert_that_had_one() -> None:
    first = ztf_alert(ztf_packet())
    later = ztf_alert(ztf_packet(jd=JD + 3, candid=5, previous=[ztf_detection()]))
    assert first.mjd_tai == later.light_curve.mjd_tai[0]


def test_distnr_is_in_pixels_in_detections_and_in_arcsec_in_forced_photometry() -> None:
    # 1.39 pixels are 1.404 arcsec, beyond the 1.4 of "the reference is the source"; 1.39 arcsec are within.
    reference = {"distnr": 1.39, "magnr": 17.0, "sigmagnr": 0.02}
    seen = ztf_alert(ztf_packet(**reference))
    looked = ztf_alert(ztf_packet(fid=1, forced=[ztf_forced(**reference)]))
    assert not seen.light_curve.apparent.any()
    assert looked.light_curve.apparent.tolist() == [True, False]
    assert seen.metadata["reference_distance_arcsec"] == pytest.approx(1.39 * 1.01, rel=1e-12)


def test_apparent_flux_is_difference_plus_reference_with_errors_in_quadrature() -> None:
    curve = ztf_alert(ztf_packet(**NEAR_REFERENCE, **STAR)).light_curve
    reference = 3631e9 * 10 ** (-0.4 * 17)
    per_mag = math.log(10) / 2.5
    assert curve.apparent.all()
    assert curve.flux_njy[0] == pytest.approx(MAG_18_NJY + reference, rel=FLOAT32)
    expected = math.hypot(MAG_18_NJY * 0.1, reference * 0.02) * per_mag
    assert curve.flux_err_njy[0] == pytest.approx(expected, rel=FLOAT32)


def test_a_fainting_star_has_less_than_its_reference_flux() -> None:
    assert only_flux(ztf_packet(**NEAR_REFERENCE, **STAR, isdiffpos="f")) < 3631e9 * 10 ** (-0.4 * 17)


def test_an_epoch_takes_its_own_reference_else_the_median_of_its_band() -> None:
    changed = {"distnr": 0.3, "magnr": 16.0, "sigmagnr": 0.02}
    history = [previous(**changed), previous(jd=JD - 3, candid=4, magnr=None, sigmagnr=None)]
    curve = ztf_alert(ztf_packet(**NEAR_REFERENCE, **STAR, previous=history)).light_curve
    flux_17, flux_16 = 3631e9 * 10 ** (-0.4 * 17), 3631e9 * 10 ** (-0.4 * 16)
    expected = MAG_18_NJY + np.array([(flux_17 + flux_16) / 2, flux_16, flux_17])
    np.testing.assert_allclose(curve.flux_njy, expected, rtol=FLOAT32)


@given(st.lists(st.tuples(st.sampled_from([1, 2, 3]), st.booleans(), st.booleans()), max_size=12))
def test_difference_and_apparent_flux_are_never_mixed_in_a_band(rows: list[tuple[int, bool, bool]]) -> None:
    history = [
        previous(
            jd=JD - 2 - i, candid=2 + i, fid=fid, **({"distnr": 0.3} if near else {}),
            **({"magnr": 17.0, "sigmagnr": 0.02} if known else {}),
        )
        for i, (fid, near, known) in enumerate(rows)
    ]  # fmt: skip
    alert = ztf_alert(ztf_packet(previous=history))
    assert_sound(alert)
    assert len(alert.light_curve) == len(rows) + 1


@pytest.mark.parametrize("magnr", [-999.0, -99999.0, -99.0, None, math.nan, "null"])
def test_without_a_reference_in_a_band_it_stays_difference_flux(magnr: object) -> None:
    alert = ztf_alert(ztf_packet(distnr=0.3, magnr=magnr, sigmagnr=0.02, **STAR))
    assert not alert.light_curve.apparent.any()
    assert QualityFlag.DIFFERENCE_FLUX_ONLY in alert.flags
    assert "reference_mag" not in alert.metadata


def test_a_galaxy_host_is_not_added_to_the_flux_of_what_happens_in_it() -> None:
    alert = ztf_alert(ztf_packet(**NEAR_REFERENCE, **GALAXY))
    assert alert.source_context is SourceContext.GALAXY_HOST
    assert not alert.light_curve.apparent.any()


def test_upper_limits_are_not_epochs() -> None:
    limit = {"jd": JD - 5, "fid": 1, "programid": 1, "candid": None, "diffmaglim": 20.5, "isdiffpos": None}
    alert = ztf_alert(ztf_packet(previous=[limit, previous()]))
    assert len(alert.light_curve) == 2
    assert QualityFlag.EPOCHS_INVALID not in alert.flags


def test_packets_before_schema_4_have_no_fp_hists_and_need_no_cutouts() -> None:
    packet = ztf_packet(top={"schemavsn": "3.3"})
    del packet["fp_hists"]
    alert = ztf_alert(packet)
    assert_sound(alert)
    assert alert.provenance.schema == "ztf 3.3"


def test_forced_counts_become_nanojansky_by_their_zero_point() -> None:
    curve = ztf_alert(ztf_packet(forced=[ztf_forced()])).light_curve
    assert curve.origin.tolist() == [Origin.FORCED, Origin.DETECTION]
    expected = 3631e9 * 10 ** (-0.4 * (26.0 - 2.5 * math.log10(100.0)))  # a magnitude of its own
    assert curve.flux_njy[0] == pytest.approx(expected, rel=FLOAT32)
    assert curve.flux_err_njy[0] == pytest.approx(expected / 10, rel=FLOAT32)


@pytest.mark.parametrize(
    "defect",
    [
        {"forcediffimflux": -99999.0, "forcediffimfluxunc": -99999.0, "procstatus": "61"},
        {"forcediffimflux": -99999.0},
        {"forcediffimfluxunc": -99999.0},
        {"procstatus": "56"},
        {"procstatus": "57,61"},
        {"procstatus": None},
        {"magzpsci": 0.0},
        {"forcediffimflux": None},
        {"forcediffimflux": math.nan},
    ],
)
def test_forced_points_without_a_sound_flux_are_left_out_without_remark(defect: dict[str, object]) -> None:
    alert = ztf_alert(ztf_packet(forced=[ztf_forced(**defect)]))
    assert len(alert.light_curve) == 1
    assert QualityFlag.EPOCHS_INVALID not in alert.flags


def test_one_exposure_as_detection_and_forced_point_is_the_detection() -> None:
    # Forced photometry rounds its times differently: 0.4 s apart is still one exposure.
    alert = ztf_alert(
        ztf_packet(previous=[previous()], forced=[ztf_forced(jd=JD - 2 + 5e-6), ztf_forced(jd=JD)])
    )
    assert alert.light_curve.origin.tolist() == [Origin.DETECTION, Origin.DETECTION]


def test_consecutive_exposures_stay_two_epochs() -> None:
    alert = ztf_alert(ztf_packet(previous=[previous(jd=JD - 38 / 86400)]))
    assert len(alert.light_curve) == 2


def test_of_two_detections_in_one_exposure_the_nearest_to_the_alert_stays() -> None:
    near, far = previous(candid=7, magpsf=19.0), previous(candid=6, magpsf=16.0, ra=150.0 + 1.0 / 3600)
    curves = [ztf_alert(ztf_packet(previous=rows)).light_curve for rows in ([near, far], [far, near])]
    expected = 3631e9 * 10 ** (-0.4 * 19)
    assert [curve.flux_njy[0] for curve in curves] == pytest.approx([expected, expected], rel=FLOAT32)
    assert [len(curve) for curve in curves] == [2, 2]


def test_the_alert_itself_outlives_its_own_copy_in_the_history() -> None:
    copy = ztf_detection(magpsf=15.0, candid=1, isdiffpos="f")
    assert only_flux(ztf_packet(previous=[copy])) == pytest.approx(MAG_18_NJY, rel=FLOAT32)


def test_epochs_after_the_alert_are_left_out_and_said_so() -> None:
    alert = ztf_alert(ztf_packet(previous=[previous(jd=JD + 1)], forced=[ztf_forced(jd=JD + 1)]))
    assert len(alert.light_curve) == 1
    assert QualityFlag.HISTORY_AFTER_ALERT in alert.flags


@pytest.mark.parametrize("jd", [-9_999.0, 0.0, 1e300, 2_400_000.5 + 88_070, math.nan, None, "2459000"])
def test_impossible_times_lose_an_epoch_but_reject_an_alert(jd: object) -> None:
    alert = ztf_alert(ztf_packet(previous=[previous(jd=jd)]))
    assert len(alert.light_curve) == 1
    assert QualityFlag.EPOCHS_INVALID in alert.flags
    with pytest.raises(RejectedAlert):
        ztf_alert(ztf_packet(jd=jd))


def test_an_impossible_time_of_the_alert_is_an_invalid_value() -> None:
    with pytest.raises(RejectedAlert) as rejected:
        ztf_alert(ztf_packet(jd=100_000.0))
    assert rejected.value.reason is RejectReason.INVALID_VALUE


@pytest.mark.parametrize("fid", [0, 4, -1, None, "2", 2.0])
def test_an_unknown_filter_loses_an_epoch_but_rejects_an_alert(fid: object) -> None:
    alert = ztf_alert(ztf_packet(previous=[previous(fid=fid)]))
    assert QualityFlag.EPOCHS_INVALID in alert.flags
    assert len(alert.light_curve) == 1
    with pytest.raises(RejectedAlert):
        ztf_alert(ztf_packet(fid=fid))


def test_filters_map_to_their_passbands() -> None:
    history = [previous(fid=1, candid=2), previous(fid=3, candid=3, jd=JD - 1)]
    curve = ztf_alert(ztf_packet(previous=history)).light_curve
    assert curve.band.tolist() == [passband_code(name) for name in ("ztf_g", "ztf_i", "ztf_r")]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"ra": None}, RejectReason.MISSING_FIELD),
        ({"ra": math.nan}, RejectReason.MISSING_FIELD),
        ({"ra": 361.0}, RejectReason.INVALID_VALUE),
        ({"dec": math.inf}, RejectReason.INVALID_VALUE),
        ({"dec": -90.5}, RejectReason.INVALID_VALUE),
        ({"dec": "12.5"}, RejectReason.INVALID_VALUE),
        ({"ra": True}, RejectReason.INVALID_VALUE),
        ({"magpsf": None}, RejectReason.MISSING_FIELD),
        ({"magpsf": 1e6}, RejectReason.INVALID_VALUE),
        ({"candid": None}, RejectReason.MISSING_FIELD),
        ({"candid": 2**63}, RejectReason.INVALID_VALUE),
        ({"candid": "1000"}, RejectReason.INVALID_VALUE),
    ],
)
def test_an_alert_without_identity_position_or_measurement_is_rejected(
    change: dict[str, object], reason: RejectReason
) -> None:
    with pytest.raises(RejectedAlert) as rejected:
        ztf_alert(ztf_packet(**change))
    assert rejected.value.reason is reason


@pytest.mark.parametrize("name", [None, "", "null", 7, "ZTF\x1b[2J", "Z" * 1000])
def test_an_alert_without_a_usable_object_name_is_rejected(name: object) -> None:
    with pytest.raises(RejectedAlert):
        ztf_alert(ztf_packet(top={"objectId": name}))


def test_the_object_is_named_with_its_survey() -> None:
    alert = ztf_alert(ztf_packet())
    assert alert.object_id == "ztf:ZTF20aaaaaaa"
    assert alert.alert_key == "ztf:1000000015015000001"


@pytest.mark.parametrize("sentinel", [-999.0, -99.0, -99999.0, None, math.nan, math.inf, "null", "nan", b""])
def test_no_spelling_of_missing_becomes_metadata(sentinel: object) -> None:
    columns = ("drb", "rb", "sgscore1", "distpsnr1", "sgmag1", "srmag1", "simag1", "szmag1", "ssdistnr",
               "distnr", "magnr")  # fmt: skip
    alert = ztf_alert(ztf_packet(**dict.fromkeys(columns, sentinel)))
    assert set(alert.metadata) == {"gal_lon_deg", "gal_lat_deg"}


def test_pan_starrs_columns_are_of_a_source_at_the_same_place() -> None:
    mags = {"sgmag1": 17.5, "srmag1": 17.0, "simag1": -999.0, "szmag1": 16.5}
    near = ztf_alert(ztf_packet(sgscore1=0.9, distpsnr1=1.5, **mags)).metadata
    far = ztf_alert(ztf_packet(sgscore1=0.9, distpsnr1=1.51, **mags)).metadata
    assert {name: near[name] for name in near if name.startswith(("ps1", "star"))} == {
        "star_galaxy_score": 0.9, "ps1_g_mag": 17.5, "ps1_r_mag": 17.0, "ps1_z_mag": 16.5,
    }  # fmt: skip
    assert not any(name.startswith(("ps1", "star")) for name in far)


def test_the_reference_magnitude_is_of_a_source_at_the_same_place() -> None:
    # A pixel has 1.01 arcsec: 1.38 pixels are within the 1.4 arcsec, 1.39 are not.
    near = ztf_alert(ztf_packet(distnr=1.38, magnr=17.0)).metadata
    far = ztf_alert(ztf_packet(distnr=1.39, magnr=17.0)).metadata
    unknown = ztf_alert(ztf_packet(distnr=None, magnr=17.0)).metadata
    assert near["reference_mag"] == 17.0
    assert "reference_mag" not in far
    assert "reference_mag" not in unknown
    assert far["reference_distance_arcsec"] == pytest.approx(1.39 * 1.01, rel=FLOAT32)


def test_reliability_is_drb_else_rb() -> None:
    assert ztf_alert(ztf_packet(drb=0.7, rb=0.3)).metadata["reliability"] == 0.7
    assert ztf_alert(ztf_packet(drb=None, rb=0.3)).metadata["reliability"] == 0.3


def test_an_asteroid_has_no_history_and_no_neighbours() -> None:
    alert = ztf_alert(
        ztf_packet(
            ssdistnr=1.0, ssmagnr=18.1, ssnamenr="32450", previous=[previous()], forced=[ztf_forced()],
            **STAR, distnr=0.5, magnr=22.0, sigmagnr=0.2,
        )
    )  # fmt: skip
    assert alert.source_context is SourceContext.SOLAR_SYSTEM
    assert len(alert.light_curve) == 1
    assert not alert.light_curve.apparent.any()
    assert set(alert.metadata) == {
        "gal_lon_deg", "gal_lat_deg", "reliability", "solar_system_distance_arcsec",
    }  # fmt: skip


def test_an_asteroid_passing_a_variable_star_does_not_take_its_history() -> None:
    alert = ztf_alert(
        ztf_packet(ssdistnr=4.0, ssnamenr="32450", previous=[previous()], **STAR, **NEAR_REFERENCE)
    )
    assert alert.source_context is SourceContext.STELLAR
    assert len(alert.light_curve) == 2


def test_a_distant_or_unnamed_asteroid_is_no_reason() -> None:
    distant = ztf_packet(ssdistnr=12.0, ssnamenr="7", previous=[previous()])
    assert ztf_alert(distant).source_context is SourceContext.UNKNOWN
    unnamed = ztf_alert(ztf_packet(ssdistnr=1.0, ssnamenr="null"))
    assert unnamed.source_context is SourceContext.UNKNOWN
    assert "solar_system_distance_arcsec" not in unnamed.metadata


def test_a_distant_asteroid_is_the_source_where_nothing_was_ever_seen() -> None:
    empty = ztf_packet(ssdistnr=12.0, ssnamenr="7")
    assert ztf_alert(empty).source_context is SourceContext.SOLAR_SYSTEM
    # A private detection must not betray itself by the context either.
    private = ztf_packet(ssdistnr=12.0, ssnamenr="7", previous=[previous(programid=2)])
    assert ztf_alert(private).source_context is SourceContext.SOLAR_SYSTEM


@given(order=st.permutations(range(6)))
def test_the_order_of_rows_in_a_packet_does_not_matter(order: list[int]) -> None:
    rows = [
        previous(
            candid=2 + i, jd=JD - 1 - i // 2, magpsf=17.0 + i / 10, ra=150.0 + i / 36000, **NEAR_REFERENCE
        )
        for i in range(6)
    ]
    packet = ztf_packet(previous=rows, **STAR, **NEAR_REFERENCE)
    shuffled = packet | {"prv_candidates": [rows[i] for i in order]}
    assert parts(ztf_alert(shuffled)) == parts(ztf_alert(packet))


@pytest.mark.parametrize("history", [None, [], {}, "rows", 7, [None, 3, "x", [], {}]])
def test_a_history_that_is_none_leaves_the_alert_alone(history: object) -> None:
    alert = ztf_alert(ztf_packet(previous=history, forced=history))
    assert_sound(alert)
    assert len(alert.light_curve) == 1
