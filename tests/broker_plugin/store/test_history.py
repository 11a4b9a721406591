# SPDX-License-Identifier: BSD-3-Clause
"""Histories can be joined in any order, any number of times; bounds and rights hold."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker_plugin.epochs import EpochRows
from broker_plugin.records import Access, Origin
from broker_plugin.store.base import CorruptValueError, opened, sealed
from broker_plugin.store.history import (
    NOTHING,
    ROW,
    HistoryBounds,
    Rows,
    epoch_rows,
    joined,
    pack,
    readable_keys,
    rows_brought,
    trimmed,
    unpack,
)

MJD = 60_000.0


@st.composite
def histories(draw: st.DrawFn, n_max: int = 12) -> Rows:
    """Rows of few exposures, so that many are the same one, brought by a few alerts."""
    n = draw(st.integers(0, n_max))
    rows = np.zeros(n, ROW)

    def some(values: st.SearchStrategy[float]) -> list[float]:
        return draw(st.lists(values, min_size=n, max_size=n))

    rows["exposure"] = some(st.integers(0, 5))
    rows["detector"] = some(st.integers(0, 1))
    rows["band"] = some(st.integers(0, 1))
    rows["origin"] = some(st.sampled_from(list(Origin)))
    rows["access"] = Access.PUBLIC
    rows["withdrawn"] = some(st.sampled_from([False, False, False, True]))
    rows["mjd_tai"] = MJD + rows["exposure"]
    rows["difference_njy"] = some(st.sampled_from([1.0, 2.0, np.nan]))
    rows["difference_err_njy"] = 1.0
    rows["alert_id"] = some(st.integers(1, 4))
    rows["first_id"] = rows["alert_id"]
    rows["alert_mjd_tai"] = rows["first_mjd_tai"] = MJD + 6 + rows["alert_id"] // 2
    return joined([rows[[position]] for position in range(n)])


def same(one: Rows, other: Rows) -> bool:
    return pack(one) == pack(other)


def brought(*, alert_id: int = 1, mjd_tai: float = MJD, **columns: Sequence[object]) -> dict[int, Rows]:
    n = len(next(iter(columns.values())))
    some = {
        "mjd_tai": np.full(n, mjd_tai),
        "band": np.zeros(n, np.int8),
        "origin": np.zeros(n, np.int8),
        "detector": np.zeros(n, np.int32),
        "access": np.full(n, Access.PUBLIC, np.int8),
        "exposure": np.arange(n),
        "identifier": np.arange(n),
        "separation_arcsec": np.zeros(n),
        "withdrawn": np.zeros(n, np.bool_),
        "trigger": np.arange(n) == 0,
    }
    fluxes = (
        "difference_njy",
        "difference_err_njy",
        "reference_njy",
        "reference_err_njy",
        "reference_arcsec",
    )
    some |= {name: np.ones(n) for name in (*fluxes, "total_njy", "total_err_njy")}
    some |= {name: np.asarray(values, some[name].dtype) for name, values in columns.items()}
    return rows_brought(EpochRows(**some), mjd_tai=mjd_tai, alert_id=alert_id)


PUBLIC = (1 << Access.PUBLIC) | (1 << Access.PUBLIC)


@given(histories(), histories(), histories())
def test_histories_join_in_any_order_and_any_number_of_times(one: Rows, two: Rows, three: Rows) -> None:
    whole = joined([one, two, three])
    assert same(joined([joined([three, one]), two]), whole)
    assert same(joined([two, joined([one, three])]), whole)
    assert same(joined([whole, one, two, three, whole]), whole)
    assert same(joined([one]), one)
    keys = whole[["exposure", "detector", "band", "origin"]].tolist()
    assert keys == sorted(set(keys))


@given(st.lists(histories(), max_size=4), st.integers(1, 6), st.floats(0.5, 8.0), st.randoms())
def test_bounds_keep_the_same_rows_in_any_order(
    parts: list[Rows], epochs_max: int, days: float, random: object
) -> None:
    bounds = HistoryBounds(epochs_max=epochs_max, days=days)
    at_once = trimmed(joined([NOTHING, *parts]), bounds)
    random.shuffle(parts)  # type: ignore[attr-defined]
    one_by_one = NOTHING
    for part in parts:
        one_by_one = trimmed(joined([one_by_one, part]), bounds)
    assert one_by_one["exposure"].tolist() == at_once["exposure"].tolist()
    assert same(one_by_one, at_once)
    assert len(at_once) <= epochs_max


@given(histories(n_max=40))
def test_a_packed_history_is_read_back_bit_for_bit(rows: Rows) -> None:
    assert unpack(pack(rows)).tobytes() == rows.tobytes()


@pytest.mark.parametrize(("origin", "winners"), [(Origin.FORCED, [2.0, 3.0]), (Origin.DETECTION, [1.0, 1.0])])
def test_forced_photometry_has_the_value_of_the_last_alert_a_detection_that_of_the_first(
    origin: Origin, winners: list[float]
) -> None:
    def measured(flux: float, *, alert_id: int, mjd_tai: float) -> Rows:
        rows = brought(difference_njy=[flux], origin=[origin], alert_id=alert_id, mjd_tai=MJD)[PUBLIC]
        rows["alert_mjd_tai"] = mjd_tai
        return rows

    early, late = measured(1.0, alert_id=9, mjd_tai=MJD), measured(2.0, alert_id=3, mjd_tai=MJD + 1)
    tied = measured(3.0, alert_id=4, mjd_tai=MJD + 1)
    for parts, winner in zip(([late, early], [early, tied, late]), winners, strict=True):
        assert joined(parts)["difference_njy"].tolist() == [winner]
        assert joined(parts[::-1])["difference_njy"].tolist() == [winner]


def test_a_withdrawn_row_stays_withdrawn_whichever_alert_says_so() -> None:
    gone = brought(withdrawn=[True], alert_id=1)[PUBLIC]
    listed = brought(withdrawn=[False], alert_id=2)[PUBLIC]
    for order in ([gone, listed], [listed, gone]):
        assert joined(order)["withdrawn"].tolist() == [True]


def test_the_first_alert_that_brought_a_row_is_remembered() -> None:
    parts = [brought(origin=[Origin.FORCED], mjd_tai=MJD)[PUBLIC] for _ in range(3)]
    for part, first in zip(parts, (MJD + 2, MJD, MJD + 1), strict=True):
        part["first_mjd_tai"] = part["alert_mjd_tai"] = first
    assert joined(parts)["first_mjd_tai"].tolist() == [MJD]
    assert joined(parts)["alert_mjd_tai"].tolist() == [MJD + 2]


def test_of_two_detections_in_one_exposure_the_alerts_own_is_kept_then_the_nearest() -> None:
    rows = brought(
        exposure=[7, 7, 8, 8], separation_arcsec=[0.0, 0.0, 1.2, 0.3], difference_njy=[1.0, 2.0, 3.0, 4.0]
    )[PUBLIC]
    assert rows["difference_njy"].tolist() == [1.0, 4.0]


def test_what_has_no_time_no_band_or_a_later_time_is_not_kept() -> None:
    packet = EpochRows.concatenate([epoch_rows(brought(band=[0] * 4)[PUBLIC])])
    packet.band[1], packet.mjd_tai[2], packet.mjd_tai[3] = -1, np.nan, MJD + 1
    packet.trigger[0] = True
    assert rows_brought(packet, mjd_tai=MJD, alert_id=1)[PUBLIC]["exposure"].tolist() == [0]


@pytest.mark.parametrize(
    ("access", "rights"),
    [
        ({Access.PUBLIC}, {0b10}),
        ({Access.PUBLIC, Access.PARTNERSHIP}, {0b10, 0b100, 0b110}),
        (set(Access), {0b1, 0b10, 0b100, 0b1000, 0b11, 0b101, 0b1001, 0b110, 0b1010, 0b1100}),
    ],
)
def test_only_what_all_rights_allow_is_opened(access: set[Access], rights: set[int]) -> None:
    assert set(readable_keys("ztf:a", frozenset(access))) == rights


def test_rows_are_kept_apart_by_the_rights_of_the_row_and_of_the_alert() -> None:
    private, partner, public = Access.PRIVATE, Access.PARTNERSHIP, Access.PUBLIC
    by_partner = brought(access=[partner, public, partner, private])
    assert {rights: rows["exposure"].tolist() for rights, rows in by_partner.items()} == {
        1 << partner: [0, 2],
        (1 << partner) | (1 << public): [1],
        (1 << partner) | (1 << private): [3],
    }


@settings(max_examples=50)
@given(st.binary(max_size=200), histories(n_max=4), st.integers(0, 10_000), st.integers(1, 255))
def test_a_damaged_value_is_refused(junk: bytes, rows: Rows, position: int, flip: int) -> None:
    for payload in (junk, pack(rows)[:-1], b"\x02" + pack(rows)[1:]):
        with pytest.raises(CorruptValueError):
            unpack(payload)
    value = bytearray(sealed(pack(rows)))
    value[position % len(value)] ^= flip
    with pytest.raises(CorruptValueError):
        opened(bytes(value))


def test_a_value_that_would_unpack_to_very_much_is_refused() -> None:
    bomb = b"\x01" + zlib.compress(bytes(200_000 * ROW.itemsize), 9)
    with pytest.raises(CorruptValueError, match="cut"):
        unpack(bomb)


@pytest.mark.parametrize(
    ("column", "value"), [("band", 99), ("origin", 7), ("mjd_tai", np.inf), ("access", 9)]
)
def test_rows_that_no_alert_can_have_brought_are_refused(column: str, value: float) -> None:
    rows = brought(band=[0, 1])[PUBLIC]
    rows[column] = value
    with pytest.raises(CorruptValueError, match="no alert"):
        unpack(pack(rows))


def test_measurements_come_back_as_they_were_to_single_precision() -> None:
    rows = brought(difference_njy=[123.456789, np.nan], reference_njy=[1e7 / 3, 1.0])[PUBLIC]
    back = epoch_rows(rows)
    np.testing.assert_allclose(back.difference_njy, [123.456789, np.nan], rtol=1e-7)
    np.testing.assert_allclose(back.reference_njy, [1e7 / 3, 1.0], rtol=1e-7)
    assert not back.trigger.any()
