# SPDX-License-Identifier: BSD-3-Clause
"""What the store adds to an alert, by the laws that real alerts must obey."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from broker_plugin.engine.scorer import Scorer
from broker_plugin.epochs import EpochRows
from broker_plugin.pipeline.history import Histories, with_stored_rows
from broker_plugin.records import Access, Alert, LightCurve, Origin, QualityFlag, SourceContext
from broker_plugin.store.history import NOTHING, HistoryBounds, Rows, joined, rows_brought
from broker_plugin.surveys.registry import adapters
from tests.broker_plugin.surveys.packets import (
    JD,
    MJD,
    lsst_alert,
    lsst_forced,
    lsst_packet,
    lsst_source,
    parts,
    ztf_alert,
    ztf_detection,
    ztf_forced,
    ztf_packet,
)
from tests.support.alerts import real_alerts

PUBLIC = frozenset({Access.PUBLIC})
ADAPTERS = {adapter.name: adapter for adapter in adapters()}


class Remembered:
    """Histories with their values in a dictionary: all that a store does, but for its absence."""

    def __init__(self, access: frozenset[Access] = PUBLIC, **bounds: float) -> None:
        self.histories = Histories(adapters(), access=access, bounds=HistoryBounds(**bounds))  # type: ignore[arg-type]
        self.values: dict[str, bytes] = {}

    def rows(self, key: str) -> Rows:
        return self.histories.rows_in(self.values.get(key))

    def judge(self, alerts: Sequence[Alert]) -> list[Alert]:
        recalled = self.histories.recalled(alerts, self.rows)
        for key, rows in self.histories.brought(alerts).items():
            self.values[key] = self.histories.merged(self.values.get(key), rows)
        return recalled


def with_rows(alert: Alert, rows: EpochRows) -> Alert:
    """Return the alert as if its packet had held these rows alone."""
    curve, flags = ADAPTERS[alert.survey].light_curve(rows, alert.mjd_tai, alert.source_context)
    return dataclasses.replace(alert, rows=rows, light_curve=curve, flags=tuple(sorted(flags)))


def assert_same_curve(one: LightCurve, other: LightCurve) -> None:
    for name in ("mjd_tai", "band", "origin", "detector", "apparent", "access"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    # Stored in single precision: difference and reference may be off by half a bit each.
    np.testing.assert_allclose(one.flux_njy, other.flux_njy, rtol=1e-6, atol=0.1)
    np.testing.assert_allclose(one.flux_err_njy, other.flux_err_njy, rtol=1e-6)


@cache
def long_alerts(data_dir: Path) -> tuple[Alert, ...]:
    """Real alerts with a history of their own; of those with an impossible one, what is possible."""
    return tuple(
        alert for alert in real_alerts(data_dir) if alert.rows is not None and len(alert.light_curve) >= 6
    )


@cache
def repeated_objects(data_dir: Path) -> tuple[tuple[Alert, ...], ...]:
    """The alerts of each object that has several, in order of time."""
    of_object: dict[str, dict[int, Alert]] = defaultdict(dict)
    for alert in real_alerts(data_dir):
        if alert.rows is not None:
            of_object[alert.object_id][alert.alert_id] = alert
    return tuple(
        tuple(sorted(alerts.values(), key=lambda alert: (alert.mjd_tai, alert.alert_id)))
        for alerts in of_object.values()
        if len(alerts) > 1
    )


def split(alert: Alert, early: NDArray[np.bool_]) -> tuple[Alert, Alert]:
    """Return an earlier alert of the object with the early rows, and the alert itself with the rest."""
    rows = alert.rows
    assert rows is not None
    first = rows.take(early)
    last = np.lexsort((first.identifier, first.separation_arcsec, -np.nan_to_num(first.mjd_tai)))[0]
    trigger = np.arange(len(first)) == last
    earlier = dataclasses.replace(
        alert,
        alert_id=1,
        mjd_tai=float(first.mjd_tai[last]),
        rows=dataclasses.replace(first, trigger=trigger),
    )
    return earlier, with_rows(alert, rows.take(~early))


@pytest.mark.parametrize("bounds", [{"days": 100.0}, {"epochs_max": 6}])
def test_an_alert_that_comes_again_is_joined_to_what_it_was_joined_to(
    data_dir: Path, bounds: dict[str, float]
) -> None:
    for alerts in repeated_objects(data_dir):
        whole, again = Remembered(**bounds), Remembered(**bounds)
        for alert in alerts:
            (first,) = whole.judge([alert])
            again.judge([alert])  # and killed before the verdict was delivered
            (second,) = again.judge([alert])
            assert parts(second) == parts(first)


def test_two_packets_and_a_store_say_what_one_packet_with_all_rows_says(data_dir: Path) -> None:
    added = []
    for alert in long_alerts(data_dir)[::4]:
        rows = alert.rows
        assert rows is not None
        early = (rows.mjd_tai < np.median(alert.light_curve.mjd_tai)) & ~rows.trigger
        if not early.any():
            continue
        earlier, later = split(alert, early)
        memory = Remembered(epochs_max=5_000)
        memory.judge([earlier])
        (recalled,) = memory.judge([later])
        assert_same_curve(recalled.light_curve, alert.light_curve)
        added.append(recalled.n_stored_epochs)
        # More, where a stored detection takes the place of forced photometry in the packet.
        assert (recalled.n_stored_epochs or 0) >= len(alert.light_curve) - len(later.light_curve)
    assert len(added) > 100
    assert np.median(added) > 3


def test_an_empty_store_changes_nothing(data_dir: Path) -> None:
    memory = Remembered()
    for alert in real_alerts(data_dir)[::7]:
        (recalled,) = memory.histories.recalled([alert], lambda key: NOTHING)
        assert parts(recalled) == parts(alert) | {"n_stored_epochs": recalled.n_stored_epochs}
        assert recalled.n_stored_epochs in ({0} if alert.rows is not None else {None})


def test_a_store_only_adds_to_a_packet(data_dir: Path) -> None:
    for alerts in repeated_objects(data_dir):
        memory = Remembered()
        for alert in alerts:
            (recalled,) = memory.judge([alert])
            own = set(zip(alert.light_curve.mjd_tai.tolist(), alert.light_curve.band.tolist(), strict=True))
            now = set(
                zip(recalled.light_curve.mjd_tai.tolist(), recalled.light_curve.band.tolist(), strict=True)
            )
            assert own <= now
            assert (recalled.n_stored_epochs or 0) >= len(recalled.light_curve) - len(alert.light_curve)
            assert (recalled.light_curve.mjd_tai <= alert.mjd_tai).all()


def stored_after(batches: Iterable[Sequence[Alert]]) -> dict[str, bytes]:
    memory = Remembered()
    for batch in batches:
        memory.judge(batch)
    return memory.values


def test_the_history_is_the_same_in_any_order_and_any_batches(
    data_dir: Path, rng: np.random.Generator
) -> None:
    alerts = [alert for of_object in repeated_objects(data_dir) for alert in of_object]
    whole = stored_after([alerts])
    for _ in range(3):
        order = [alerts[row] for row in rng.permutation(len(alerts))]
        cuts = sorted(rng.integers(0, len(order), 20).tolist())
        batches = [order[begin:end] for begin, end in zip([0, *cuts], [*cuts, len(order)], strict=True)]
        assert stored_after(batches) == whole
        assert stored_after([*batches, *batches]) == whole


def test_alerts_of_one_batch_meet_as_if_each_had_come_by_itself(
    data_dir: Path, rng: np.random.Generator
) -> None:
    alerts = [alert for of_object in repeated_objects(data_dir) for alert in of_object]
    single = Remembered()
    one_by_one = {alert.alert_key: parts(single.judge([alert])[0]) for alert in alerts}
    order = [alerts[row] for row in rng.permutation(len(alerts))]
    together = Remembered().judge(order)
    assert [parts(alert) for alert in together] == [one_by_one[alert.alert_key] for alert in order]
    assert sum(alert.n_stored_epochs or 0 for alert in together) > 100


def test_a_batch_that_is_delivered_again_meets_what_it_met(data_dir: Path, scorer: Scorer) -> None:
    alerts = [alert for of_object in repeated_objects(data_dir)[:60] for alert in of_object]
    memory = Remembered()
    memory.judge(alerts[::3])
    first = memory.judge(alerts)
    stored = dict(memory.values)
    again = memory.judge(alerts)
    memory.judge(alerts)
    assert memory.values == stored
    assert [parts(alert) for alert in again] == [parts(alert) for alert in first]
    digests = [[verdict.inputs_digest for verdict in scorer.score(batch)] for batch in (first, again, alerts)]
    assert digests[0] == digests[1]
    changed = [one != other for one, other in zip(digests[0], digests[2], strict=True)]
    assert all(changed)  # the digest covers what the store added, and that it was asked


def test_a_verdict_says_what_the_store_added(data_dir: Path, scorer: Scorer) -> None:
    alerts = [alert for of_object in repeated_objects(data_dir)[:60] for alert in of_object]
    recalled = Remembered().judge(alerts)
    verdicts = scorer.score(recalled)
    assert [v.n_stored_epochs for v in verdicts] == [alert.n_stored_epochs for alert in recalled]
    assert {v.history_origin for v in verdicts if v.n_stored_epochs} == {"packet+store"}
    assert {v.history_origin for v in verdicts if not v.n_stored_epochs} == {"packet"}
    assert [v.n_epochs for v in verdicts] == [len(alert.light_curve) for alert in recalled]
    assert {(v.history_origin, v.n_stored_epochs) for v in scorer.score(alerts)} == {("packet", None)}


def test_an_alert_that_comes_late_does_not_know_what_came_after_it() -> None:
    early = ztf_alert(ztf_packet())
    late = ztf_alert(ztf_packet(jd=JD + 2, candid=2, forced=[ztf_forced(jd=JD - 1), ztf_forced(jd=JD + 1)]))
    memory = Remembered()
    (first,) = memory.judge([early])
    memory.judge([late])
    (again,) = memory.judge([early])
    assert parts(again) == parts(first)


def test_forced_photometry_that_changes_has_the_latest_value_in_a_packet_without_it() -> None:
    def forced(counts: float) -> dict[str, object]:
        return ztf_forced(jd=JD - 20, forcediffimflux=counts)

    alerts = [
        ztf_alert(ztf_packet(candid=1, jd=JD, forced=[forced(100.0)])),
        ztf_alert(ztf_packet(candid=2, jd=JD + 1, forced=[forced(300.0)])),
        ztf_alert(ztf_packet(candid=3, jd=JD + 40)),
    ]
    for order in ([0, 1], [1, 0]):
        memory = Remembered()
        for position in order:
            memory.judge([alerts[position]])
        (recalled,) = memory.judge([alerts[2]])
        curve = recalled.light_curve
        assert curve.origin.tolist() == [Origin.FORCED, Origin.DETECTION, Origin.DETECTION, Origin.DETECTION]
        assert curve.flux_njy[0] == pytest.approx(3 * alerts[0].light_curve.flux_njy[0], rel=1e-6)


def test_the_packet_has_the_last_word_on_its_own_rows() -> None:
    one = ztf_alert(ztf_packet(candid=1, forced=[ztf_forced(forcediffimflux=100.0)]))
    two = ztf_alert(ztf_packet(candid=2, jd=JD + 1, forced=[ztf_forced(forcediffimflux=777.0)]))
    memory = Remembered()
    memory.judge([one])
    (recalled,) = memory.judge([two])
    assert recalled.n_stored_epochs == 1  # the detection of the first alert
    assert recalled.light_curve.flux_njy[0] == two.light_curve.flux_njy[0]


def test_a_detection_of_the_packet_keeps_its_flux_whatever_forced_photometry_is_stored() -> None:
    source = {"diaSourceId": 1, "visit": 1, "midpointMjdTai": MJD - 2}
    forced = lsst_forced(visit=1, detector=50, midpointMjdTai=MJD - 2, scienceFlux=123.0)
    first = lsst_alert(lsst_packet(forced=[forced], **source))
    listed = lsst_packet(previous=[lsst_source(**source)])
    alert = lsst_alert(listed)
    memory = Remembered()
    memory.judge([first])
    (recalled,) = memory.judge([alert])
    assert parts(recalled) == parts(alert) | {"n_stored_epochs": 0}
    withdrawn = [lsst_source(**source, timeWithdrawnMjdTai=MJD)]
    (recalled,) = memory.judge([lsst_alert(listed | {"prvDiaSources": withdrawn})])
    assert recalled.light_curve.origin.tolist() == [Origin.FORCED, Origin.DETECTION]
    assert recalled.n_stored_epochs == 1


def test_a_row_that_a_newer_packet_could_not_measure_does_not_come_back() -> None:
    one = ztf_alert(ztf_packet(candid=1, forced=[ztf_forced(jd=JD - 1)]))
    two = ztf_alert(ztf_packet(candid=2, jd=JD + 1, forced=[ztf_forced(jd=JD - 1, procstatus="56")]))
    memory = Remembered()
    memory.judge([one])
    (recalled,) = memory.judge([two])
    assert Origin.FORCED not in recalled.light_curve.origin


def test_a_band_keeps_one_kind_of_flux() -> None:
    reference = {"distnr": 0.2, "magnr": 17.0, "sigmagnr": 0.02}
    early = ztf_alert(
        ztf_packet(candid=1, previous=[ztf_detection(jd=JD - 9, candid=9)])
    )  # no reference known
    late = ztf_alert(ztf_packet(candid=2, jd=JD + 1, **reference))
    assert not early.light_curve.apparent.any()
    assert late.light_curve.apparent.all()
    memory = Remembered()
    memory.judge([early])
    (recalled,) = memory.judge([late])
    assert len(recalled.light_curve) == 3
    assert recalled.light_curve.apparent.all()


def test_withdrawn_measurements_leave_the_history() -> None:
    source = {"diaSourceId": 1, "visit": 1, "midpointMjdTai": MJD - 2}
    first = lsst_alert(lsst_packet(**source))
    plain = lsst_alert(lsst_packet(previous=[]))
    # A later packet may list the row as withdrawn, or the alert itself may come again as withdrawn.
    by_history = lsst_alert(
        lsst_packet(
            diaSourceId=3,
            visit=3,
            midpointMjdTai=MJD - 1,
            previous=[lsst_source(**source) | {"timeWithdrawnMjdTai": MJD - 1}],
        )
    )
    by_itself = lsst_alert(
        lsst_packet(**source) | {"diaSource": lsst_source(**source, timeWithdrawnMjdTai=MJD)}
    )
    assert QualityFlag.WITHDRAWN in by_itself.flags
    for retraction, left in ((None, 2), (by_history, 2), (by_itself, 1)):
        for order in ([first, retraction], [retraction, first]):
            memory = Remembered()
            for alert in order:
                if alert is not None:
                    memory.judge([alert])
            (recalled,) = memory.judge([plain])
            assert len(recalled.light_curve) == left
            times = recalled.light_curve.mjd_tai.tolist()
            assert (MJD - 2 in times) == (retraction is None)


@pytest.mark.parametrize("origin", ["previous", "forced"])
def test_an_alert_that_comes_again_does_not_know_what_was_withdrawn_after_it(origin: str) -> None:
    epoch = {"visit": 1, "midpointMjdTai": MJD - 2}
    row = lsst_source(diaSourceId=1, **epoch) if origin == "previous" else lsst_forced(**epoch)
    gone = row | {"timeWithdrawnMjdTai": MJD + 1}
    packets = [
        lsst_packet(**{"previous": [], origin: [row]}),
        lsst_packet(previous=[], diaSourceId=8, visit=8, midpointMjdTai=MJD + 0.5),
        *(
            lsst_packet(
                diaSourceId=9 + n, visit=9 + n, midpointMjdTai=MJD + 2 + n, **{"previous": [], origin: [gone]}
            )
            for n in range(2)
        ),
    ]
    alerts = [lsst_alert(packet) for packet in packets]
    memory = Remembered()
    (first,), (second,) = memory.judge(alerts[:1]), memory.judge(alerts[1:2])
    for later in alerts[2:]:
        (recalled,) = memory.judge([later])
        assert MJD - 2 not in recalled.light_curve.mjd_tai
    for before, alert in ((first, alerts[0]), (second, alerts[1])):
        (again,) = memory.judge([alert])
        assert parts(again) == parts(before)
        assert MJD - 2 in again.light_curve.mjd_tai


def test_a_withdrawn_row_is_left_out_of_a_packet_that_still_lists_it() -> None:
    source = {"diaSourceId": 1, "visit": 1, "midpointMjdTai": MJD - 2}
    retraction = lsst_alert(lsst_packet(**source, timeWithdrawnMjdTai=MJD))
    listing = lsst_alert(lsst_packet(previous=[lsst_source(**source)], forced=[lsst_forced()]))
    memory = Remembered()
    memory.judge([retraction])
    (recalled,) = memory.judge([listing])
    assert len(recalled.light_curve) == len(listing.light_curve) - 1
    assert QualityFlag.EPOCHS_WITHDRAWN in recalled.flags
    assert recalled.n_stored_epochs == 0


def test_what_moves_has_no_history() -> None:
    packets = [
        lsst_packet(diaObjectId=None, ssObjectId=77),
        lsst_packet(diaObjectId=None, ssObjectId=None),
    ]
    alerts = [lsst_alert(packet) for packet in packets]
    alerts.append(ztf_alert(ztf_packet(ssdistnr=1.0, ssnamenr="Ceres", ssmagnr=12.0)))
    assert [alert.object_id.split(":")[1] for alert in alerts[:2]] == ["sso", "src"]
    assert alerts[2].source_context is SourceContext.SOLAR_SYSTEM
    memory = Remembered()
    memory.judge([ztf_alert(ztf_packet(jd=JD - 5, candid=5))])
    before = dict(memory.values)
    assert memory.histories.keys(alerts) == []
    assert [alert.n_stored_epochs for alert in memory.judge(alerts)] == [None] * 3
    assert memory.values == before


def test_an_alert_of_the_future_is_not_remembered() -> None:
    memory = Remembered()
    future = ztf_alert(ztf_packet(jd=2_488_000.5))
    assert memory.judge([future])[0].n_stored_epochs is None
    assert memory.values == {}


def test_bounds_hold(data_dir: Path) -> None:
    alerts = sorted(long_alerts(data_dir)[:300], key=lambda alert: alert.mjd_tai)
    memory = Remembered(epochs_max=10, days=20.0)
    for alert, recalled in zip(alerts, memory.judge(alerts), strict=True):
        stored = np.setdiff1d(recalled.light_curve.mjd_tai, alert.light_curve.mjd_tai)
        assert len(stored) <= 10
        assert (stored > alert.mjd_tai - 20.0).all()
    kept = memory.histories.bounds.kept
    for value in memory.values.values():
        rows = memory.histories.rows_in(value)
        assert 0 < len(rows) <= kept.epochs_max
        assert np.ptp(rows["mjd_tai"]) < kept.days


def test_what_a_reader_may_not_see_changes_nothing_that_it_sees() -> None:
    partner = frozenset({Access.PUBLIC, Access.PARTNERSHIP})
    public_rows = [ztf_detection(jd=JD - 3, candid=3), ztf_forced(jd=JD - 2)]
    secret = ztf_detection(jd=JD - 4, candid=4, programid=2)
    seen = ztf_packet(candid=10, jd=JD, previous=[public_rows[0], secret])
    by_partner = ztf_packet(
        candid=11, jd=JD + 1, programid=2, previous=[public_rows[0]], forced=[public_rows[1] | {"rcid": 11}]
    )
    last = ztf_packet(candid=12, jd=JD + 3)

    shared = Remembered(partner)
    shared.judge([ztf_alert(seen, partner), ztf_alert(by_partner, partner)])
    public = Remembered()
    public.judge([ztf_alert(seen)])
    apart = Remembered()
    apart.values = dict(shared.values)

    (without,) = public.judge([ztf_alert(last)])
    (beside,) = apart.judge([ztf_alert(last)])
    assert parts(beside) == parts(without)
    (all_of_it,) = shared.judge([ztf_alert(last, partner)])
    assert Access.PARTNERSHIP in all_of_it.light_curve.access
    assert len(all_of_it.light_curve) == len(without.light_curve) + 3
    assert set(without.light_curve.access.tolist()) == {Access.PUBLIC}


def test_a_damaged_value_is_no_history_and_is_counted() -> None:
    memory = Remembered()
    alert = ztf_alert(ztf_packet())
    memory.judge([alert])
    (key,) = memory.values
    memory.values[key] = memory.values[key][:-3]
    (recalled,) = memory.judge([ztf_alert(ztf_packet(jd=JD + 1, candid=2))])
    assert recalled.n_stored_epochs == 0
    assert memory.histories.corrupt > 0
    (recalled,) = memory.judge([ztf_alert(ztf_packet(jd=JD + 2, candid=3))])
    assert recalled.n_stored_epochs == 1  # the damaged value was written over


def test_stored_rows_of_an_object_without_rows_are_left_alone() -> None:
    alert = dataclasses.replace(ztf_alert(ztf_packet()), rows=None)
    rows = joined(rows_brought(ztf_alert(ztf_packet()).rows, mjd_tai=MJD, alert_id=1).values())  # type: ignore[arg-type]
    assert with_stored_rows(alert, rows, ADAPTERS["ztf"], HistoryBounds()) is alert
