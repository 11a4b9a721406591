# SPDX-License-Identifier: BSD-3-Clause
"""Rubin's traps, one test each."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker_plugin.errors import RejectedAlert, RejectReason
from broker_plugin.records import Access, Origin, QualityFlag, SourceContext
from broker_plugin.surveys.lsst import LsstAdapter
from broker_plugin.taxonomy import passband_code
from tests.broker_plugin.surveys.packets import (
    FROM_TEST,
    MJD,
    assert_sound,
    lsst_alert,
    lsst_forced,
    lsst_packet,
    lsst_source,
    parts,
)

FLOAT32 = 1e-6
"""Relative tolerance of values that went through float32 once (its epsilon is 1.2e-7)."""

MISSING = [None, math.nan, 0, "absent"]
"""The spellings of a missing identifier that occur in one and the same packet."""


def previous(**changes: object) -> dict[str, object]:
    return lsst_source(
        **({"diaSourceId": 2, "visit": 2_025_123_000_001, "midpointMjdTai": MJD - 2} | changes)
    )


def without(record: dict[str, object], name: str, spelling: object) -> dict[str, object]:
    if spelling == "absent":
        return {key: value for key, value in record.items() if key != name}
    return record | {name: spelling}


def test_mid_exposure_in_tai_is_taken_as_it_is() -> None:
    assert lsst_alert(lsst_packet()).mjd_tai == MJD


@pytest.mark.parametrize("spelling", MISSING)
def test_the_object_names_the_alert_however_the_asteroid_is_missing(spelling: object) -> None:
    packet = lsst_packet()
    packet["diaSource"] = without(packet["diaSource"], "ssObjectId", spelling)
    alert = lsst_alert(packet)
    assert alert.object_id == "lsst:170000000000000009"
    assert alert.source_context is not SourceContext.SOLAR_SYSTEM


@pytest.mark.parametrize("spelling", MISSING)
def test_without_an_object_the_solar_system_object_names_the_alert(spelling: object) -> None:
    packet = lsst_packet(diaObjectId=None, ssObjectId=77, previous=[previous()], forced=[lsst_forced()])
    packet["diaSource"] = without(packet["diaSource"], "diaObjectId", spelling)
    alert = lsst_alert(packet)
    assert alert.object_id == "lsst:sso:77"
    assert alert.source_context is SourceContext.SOLAR_SYSTEM
    assert len(alert.light_curve) == 1
    assert not alert.light_curve.apparent.any()


@pytest.mark.parametrize("spelling", MISSING)
def test_without_any_object_the_source_names_itself(spelling: object) -> None:
    packet = lsst_packet(diaObjectId=None)
    packet["diaSource"] = without(packet["diaSource"], "ssObjectId", spelling)
    assert lsst_alert(packet).object_id == "lsst:src:170000000000000001"


def test_a_solar_system_row_names_its_object_in_its_own_record_too() -> None:
    packet = lsst_packet(diaObjectId=0, top={"ssSource": {"ssObjectId": 78}, "MPCORB": {"ssObjectId": 78}})
    assert lsst_alert(packet).object_id == "lsst:sso:78"


def test_an_object_record_names_the_alert_where_the_source_does_not() -> None:
    packet = lsst_packet(diaObjectId=0, top={"diaObject": {"diaObjectId": 55}})
    assert lsst_alert(packet).object_id == "lsst:55"


def test_a_band_is_apparent_by_its_science_flux() -> None:
    curve = lsst_alert(lsst_packet(forced=[lsst_forced()])).light_curve
    assert curve.apparent.all()
    np.testing.assert_allclose(curve.flux_njy, [4200.0, 5000.0], rtol=FLOAT32)
    np.testing.assert_allclose(curve.flux_err_njy, [60.0, 60.0], rtol=FLOAT32)


@pytest.mark.parametrize("missing", [None, math.nan, math.inf, "5000"])
def test_without_science_flux_the_template_is_added(missing: object) -> None:
    curve = lsst_alert(lsst_packet(scienceFlux=missing)).light_curve
    assert curve.apparent.all()
    assert curve.flux_njy[0] == pytest.approx(1000.0 + 4000.0, rel=FLOAT32)
    assert curve.flux_err_njy[0] == pytest.approx(math.hypot(50.0, 20.0), rel=FLOAT32)


def test_an_epoch_without_template_takes_the_median_of_its_band() -> None:
    bare = {"scienceFlux": None, "scienceFluxErr": None}
    packet = lsst_packet(previous=[previous(templateFlux=None, **bare)], forced=[lsst_forced(**bare)], **bare)
    curve = lsst_alert(packet).light_curve
    assert curve.apparent.all()
    np.testing.assert_allclose(curve.flux_njy, [5000.0, 4200.0, 5000.0], rtol=FLOAT32)


def test_a_band_that_cannot_be_apparent_throughout_is_difference_flux_throughout() -> None:
    bare = {"scienceFlux": None, "templateFlux": math.nan}
    packet = lsst_packet(templateFlux=None, previous=[previous(**bare)], forced=[lsst_forced(band="i")])
    curve = lsst_alert(packet).light_curve
    red = curve.band == passband_code("lsst_r")
    assert not curve.apparent[red].any()
    np.testing.assert_allclose(curve.flux_njy[red], [1000.0, 1000.0], rtol=FLOAT32)
    assert curve.apparent[~red].all()


def test_a_detection_without_the_flux_of_its_band_is_left_out_and_said_so() -> None:
    only_total = previous(psfFlux=None, psfFluxErr=None, templateFlux=None)
    alert = lsst_alert(lsst_packet(scienceFlux=None, templateFlux=None, previous=[only_total]))
    assert len(alert.light_curve) == 1
    assert {QualityFlag.EPOCHS_INVALID, QualityFlag.DIFFERENCE_FLUX_ONLY} <= set(alert.flags)


@given(
    st.lists(
        st.tuples(st.sampled_from("gri"), st.booleans(), st.booleans(), st.booleans(), st.booleans()),
        max_size=10,
    )
)
def test_difference_and_apparent_flux_are_never_mixed_in_a_band(rows: list[tuple[object, ...]]) -> None:
    history = [
        previous(
            diaSourceId=10 + i, visit=10 + i, midpointMjdTai=MJD - 1 - i, band=band,
            psfFlux=100.0 if difference else None, scienceFlux=900.0 if total else None,
            templateFlux=800.0 if template else None, templateFluxErr=5.0 if error else None,
        )
        for i, (band, difference, total, template, error) in enumerate(rows)
    ]  # fmt: skip
    assert_sound(lsst_alert(lsst_packet(previous=history)))


def history_of(*extendedness: float | None, day: float = 2.0) -> list[dict[str, object]]:
    return [
        previous(diaSourceId=10 + i, visit=10 + i, midpointMjdTai=MJD - day - i, extendedness=value)
        for i, value in enumerate(extendedness)
    ]


@pytest.mark.parametrize(
    ("own", "history", "context"),
    [
        (1.0, history_of(0.0, 0.1), SourceContext.STELLAR),
        (None, history_of(0.0), SourceContext.STELLAR),
        (math.nan, history_of(None, math.nan), SourceContext.UNKNOWN),
        (0.0, history_of(1.0, 1.0), SourceContext.UNKNOWN),
        (0.0, [], SourceContext.UNKNOWN),
        (0.0, history_of(0.0, day=19 / 1440), SourceContext.UNKNOWN),
        (0.0, history_of(0.0, day=21 / 1440), SourceContext.STELLAR),
        (0.0, history_of(0.0, day=-1.0), SourceContext.UNKNOWN),
        (0.0, [previous(timeWithdrawnMjdTai=MJD - 1)], SourceContext.UNKNOWN),
    ],
)
def test_the_context_is_of_all_detections(
    own: float | None, history: list[dict[str, object]], context: SourceContext
) -> None:
    assert lsst_alert(lsst_packet(previous=history, extendedness=own)).source_context is context


@pytest.mark.parametrize("spelling", [None, False, "absent", 0, "true"])
def test_marks_of_artefacts_are_unknown_in_every_spelling_but_true(spelling: object) -> None:
    packet = lsst_packet(previous=history_of(0.0), reliability=0.3)
    for name in ("isDipole", "glint_trail"):
        marked = packet | {"diaSource": packet["diaSource"] | {name: True}}
        assert lsst_alert(marked).source_context is SourceContext.ARTEFACT
        bare = packet | {"diaSource": without(packet["diaSource"], name, spelling)}
        assert lsst_alert(bare).source_context is SourceContext.STELLAR


def test_no_shape_of_the_change_takes_the_template_from_the_flux() -> None:
    for extendedness in (0.0, 0.95, None):
        history = history_of(extendedness, extendedness)
        curve = lsst_alert(lsst_packet(previous=history, extendedness=extendedness)).light_curve
        assert curve.apparent.all()
        assert curve.flux_njy.tolist() == [5000.0] * 3


@pytest.mark.parametrize(
    ("flux", "flux_err", "is_measured"),
    [
        (0.0, 1896.0, False),
        (0.49, 50.0, False),
        (-0.49, 50.0, False),
        (0.51, 50.0, True),
        (None, 50.0, True),
    ],
)
def test_forced_photometry_in_a_masked_core_was_not_measured(
    flux: float | None, flux_err: float | None, is_measured: bool
) -> None:
    alert = lsst_alert(lsst_packet(forced=[lsst_forced(psfFlux=flux, psfFluxErr=flux_err)]))
    assert alert.light_curve.flux_njy.tolist() == [4200.0, 5000.0][not is_measured :]
    assert alert.flags == ()


def test_forced_photometry_that_a_store_brings_is_judged_by_the_same_sign() -> None:
    alert = lsst_alert(lsst_packet(forced=[lsst_forced()]))
    rows = alert.rows
    assert rows is not None
    stored = replace(rows, difference_njy=np.where(rows.origin == Origin.FORCED, 0.01, rows.difference_njy))
    curve, _ = LsstAdapter().light_curve(stored, alert.mjd_tai, alert.source_context)
    assert curve.flux_njy.tolist() == [5000.0]


def test_a_detection_keeps_its_own_flux_where_the_forced_one_was_not_measured() -> None:
    trigger = lsst_source()
    forced = [lsst_forced(visit=trigger["visit"], detector=50, midpointMjdTai=MJD, psfFlux=0.01)]
    assert lsst_alert(lsst_packet(forced=forced)).light_curve.flux_njy.tolist() == [5000.0]


def test_one_visit_as_detection_and_forced_point_is_a_detection() -> None:
    seen = previous()
    looked = lsst_forced(visit=seen["visit"], detector=seen["detector"], midpointMjdTai=MJD - 2)
    other_chip = looked | {"detector": 99}
    alert = lsst_alert(lsst_packet(previous=[seen], forced=[looked, other_chip]))
    curve = alert.light_curve
    assert curve.origin.tolist() == [Origin.DETECTION, Origin.FORCED, Origin.DETECTION]
    assert curve.detector.tolist() == [50, 99, 50]
    assert alert.flags == ()


def test_a_visit_with_both_has_the_forced_flux() -> None:
    # At its own centroid the detection of a blended source is brighter, one of a faint source fainter.
    trigger, seen = lsst_source(), previous()
    at_place = [
        lsst_forced(
            visit=row["visit"], detector=row["detector"], midpointMjdTai=row["midpointMjdTai"],
            psfFlux=750.0, psfFluxErr=55.0, scienceFlux=4100.0, scienceFluxErr=70.0,
        )
        for row in (seen, trigger)
    ]  # fmt: skip
    packet = lsst_packet(previous=[seen], forced=at_place)
    curve = lsst_alert(packet).light_curve
    assert curve.origin.tolist() == [Origin.DETECTION, Origin.DETECTION]
    assert (curve.flux_njy.tolist(), curve.flux_err_njy.tolist()) == ([4100.0] * 2, [70.0] * 2)
    bare = {"scienceFlux": None, "scienceFluxErr": None}
    without = packet | {"prvDiaForcedSources": [row | bare for row in at_place]}
    # Without a flux on the science image it has the detection's template.
    np.testing.assert_allclose(lsst_alert(without).light_curve.flux_njy, [4750.0] * 2, rtol=FLOAT32)


@pytest.mark.parametrize("lost", ["psfFlux", "scienceFlux"])
def test_a_detection_keeps_its_own_flux_where_the_forced_one_is_of_another_kind(lost: str) -> None:
    no_template, no_science = {"templateFlux": None}, {"scienceFlux": None}
    seen = previous(**no_template)
    forced = [
        lsst_forced(
            visit=seen["visit"], detector=seen["detector"], midpointMjdTai=MJD - 2, **{lost: None}
        )
    ]  # fmt: skip
    # Without the one its band would lose the epoch, without the other it would be difference flux.
    elsewhere = previous(diaSourceId=3, visit=3, midpointMjdTai=MJD - 5, **no_template, **no_science)
    history = [seen, elsewhere] if lost == "psfFlux" else [seen]
    alone = lsst_alert(lsst_packet(previous=history, **no_template))
    assert (
        parts(alone)["light_curve"]
        == parts(lsst_alert(lsst_packet(previous=history, forced=forced, **no_template)))["light_curve"]
    )
    assert alone.light_curve.apparent.all() == (lost == "scienceFlux")


def test_the_alert_itself_outlives_its_own_copies() -> None:
    trigger = lsst_source()
    copies = [trigger | {"diaSourceId": 1, "scienceFlux": 1.0}]
    assert lsst_alert(lsst_packet(previous=copies)).light_curve.flux_njy.tolist() == [5000.0]


def test_of_two_sources_in_one_visit_the_nearest_to_the_alert_stays() -> None:
    near = previous(diaSourceId=9, scienceFlux=700.0)
    far = previous(diaSourceId=3, scienceFlux=900.0, dec=2.0 + 0.5 / 3600)
    for rows in ([near, far], [far, near]):
        assert lsst_alert(lsst_packet(previous=rows)).light_curve.flux_njy.tolist() == [700.0, 5000.0]


def test_rows_without_a_visit_are_not_taken_for_one() -> None:
    rows = [
        previous(visit=None, diaSourceId=2, midpointMjdTai=MJD - 1),
        previous(visit=0, diaSourceId=3, midpointMjdTai=MJD - 3),
    ]
    assert len(lsst_alert(lsst_packet(previous=rows)).light_curve) == 3


def test_withdrawn_rows_are_left_out_and_said_so() -> None:
    packet = lsst_packet(
        previous=[previous(timeWithdrawnMjdTai=MJD - 1)], forced=[lsst_forced(timeWithdrawnMjdTai=MJD - 1)]
    )
    alert = lsst_alert(packet)
    assert len(alert.light_curve) == 1
    assert alert.flags == (QualityFlag.EPOCHS_WITHDRAWN,)


def test_a_withdrawn_alert_is_still_one_and_says_so() -> None:
    alert = lsst_alert(lsst_packet(timeWithdrawnMjdTai=MJD + 1))
    assert len(alert.light_curve) == 1
    assert alert.flags == (QualityFlag.WITHDRAWN,)


@pytest.mark.parametrize("spelling", [None, math.nan, 0.0])
def test_not_withdrawn_has_three_spellings(spelling: object) -> None:
    alert = lsst_alert(lsst_packet(previous=[previous(timeWithdrawnMjdTai=spelling)]))
    assert len(alert.light_curve) == 2
    assert alert.flags == ()


def test_epochs_after_the_alert_are_left_out_and_said_so() -> None:
    alert = lsst_alert(lsst_packet(forced=[lsst_forced(midpointMjdTai=MJD + 0.01)]))
    assert len(alert.light_curve) == 1
    assert QualityFlag.HISTORY_AFTER_ALERT in alert.flags


@pytest.mark.parametrize("mjd", [-2_409_998.5, 0.0, 47_891.9, 88_070.0, math.nan, None, "60000"])
def test_impossible_times_lose_an_epoch_but_reject_an_alert(mjd: object) -> None:
    alert = lsst_alert(lsst_packet(previous=[previous(midpointMjdTai=mjd)]))
    assert len(alert.light_curve) == 1
    assert QualityFlag.EPOCHS_INVALID in alert.flags
    with pytest.raises(RejectedAlert):
        lsst_alert(lsst_packet(midpointMjdTai=mjd))


@pytest.mark.parametrize("band", [None, "", "w", "R", 5])
def test_an_unknown_band_loses_the_epoch_never_the_alert(band: object) -> None:
    alert = lsst_alert(lsst_packet(band=band))
    assert set(alert.flags) == {QualityFlag.EPOCHS_INVALID, QualityFlag.NO_LIGHT_CURVE}


@pytest.mark.parametrize("flux", [None, math.nan, "1000"])
def test_an_alert_without_any_flux_is_still_one(flux: object) -> None:
    alert = lsst_alert(lsst_packet(psfFlux=flux, scienceFlux=flux))
    assert set(alert.flags) == {QualityFlag.EPOCHS_INVALID, QualityFlag.NO_LIGHT_CURVE}
    assert_sound(alert)


@pytest.mark.parametrize("error", [None, 0.0, -1.0, math.nan])
def test_a_flux_without_a_positive_error_is_missing(error: object) -> None:
    alert = lsst_alert(lsst_packet(psfFluxErr=error, scienceFluxErr=error))
    assert len(alert.light_curve) == 0


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"ra": None}, RejectReason.MISSING_FIELD),
        ({"dec": math.nan}, RejectReason.MISSING_FIELD),
        ({"dec": 91.0}, RejectReason.INVALID_VALUE),
        ({"ra": "150"}, RejectReason.INVALID_VALUE),
        ({"diaSourceId": None}, RejectReason.MISSING_FIELD),
        ({"diaSourceId": 0}, RejectReason.INVALID_VALUE),
        ({"diaSourceId": 2**63}, RejectReason.INVALID_VALUE),
        ({"diaSourceId": 1.5}, RejectReason.INVALID_VALUE),
    ],
)
def test_an_alert_without_identity_or_position_is_rejected(
    change: dict[str, object], reason: RejectReason
) -> None:
    with pytest.raises(RejectedAlert) as rejected:
        lsst_alert(lsst_packet(**change))
    assert rejected.value.reason is reason
    assert rejected.value.access == frozenset({Access.PUBLIC})


def test_metadata_holds_what_the_packet_has() -> None:
    known = lsst_alert(lsst_packet()).metadata
    assert known["reliability"] == 0.9
    # 4000 nJy is 31.4 - 2.5 log10(4000) to the rounding of the zero point (31.4 for 31.3999...)
    assert known["reference_mag"] == pytest.approx(31.4 - 2.5 * math.log10(4000.0), abs=1e-4)
    bare = lsst_alert(lsst_packet(extendedness=math.nan, reliability=None, templateFlux=-3.0)).metadata
    assert set(bare) == {"gal_lon_deg", "gal_lat_deg"}


@pytest.mark.parametrize(
    ("flux", "flux_err", "known"), [(100.0, 20.0, True), (99.0, 20.0, False), (100.0, None, False)]
)
def test_the_reference_magnitude_is_of_a_source_that_the_template_holds(
    flux: float, flux_err: float | None, known: bool
) -> None:
    alert = lsst_alert(lsst_packet(templateFlux=flux, templateFluxErr=flux_err))
    assert ("reference_mag" in alert.metadata) is known


def test_a_sink_not_declared_for_public_alerts_gets_none() -> None:
    with pytest.raises(RejectedAlert) as rejected:
        LsstAdapter().adapt(lsst_packet(), access=frozenset({Access.CALTECH}), provenance=FROM_TEST)
    assert rejected.value.reason is RejectReason.ACCESS


@given(order=st.permutations(range(6)))
def test_the_order_of_rows_in_a_packet_does_not_matter(order: list[int]) -> None:
    rows = [
        previous(diaSourceId=2 + i, visit=5 + i // 2, midpointMjdTai=MJD - 1 - i // 2, ra=150 + i / 36000)
        for i in range(6)
    ]
    packet = lsst_packet(previous=rows)
    shuffled = packet | {"prvDiaSources": [rows[i] for i in order]}
    assert parts(lsst_alert(shuffled)) == parts(lsst_alert(packet))


@pytest.mark.parametrize("history", [None, [], {}, "rows", 7, [None, 3, "x", [], {}]])
def test_a_history_that_is_none_leaves_the_alert_alone(history: object) -> None:
    alert = lsst_alert(lsst_packet(previous=history, forced=history))
    assert_sound(alert)
    assert len(alert.light_curve) == 1
