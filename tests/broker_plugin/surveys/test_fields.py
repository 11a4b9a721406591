# SPDX-License-Identifier: BSD-3-Clause
"""Fields are read the same one by one and as columns, and nothing that is missing gets through."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from broker_plugin.surveys.columns import Layout, columns_of_packets
from broker_plugin.surveys.fields import (
    MISSING_INTEGER,
    Field,
    Kind,
    RecordTable,
    integer,
    number,
    rows_of,
    text,
)

JUNK = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(min_value=2**62, max_value=2**66),
    st.just(10**400),
    st.floats(),
    st.sampled_from([-999.0, -99.0, -99999.0, -999, 0, 0.0, 1.79e308, -1.79e308]),
    st.text(max_size=5),
    st.sampled_from(["null", "NaN", "-999", "ztf\n"]),
    st.binary(max_size=3),
    st.just([]),
    st.just({}),
    st.just([1.0]),
)
TABLE = RecordTable(
    path="rows",
    fields=(
        Field(name="plain", path="a"),
        Field(name="scaled", path="a", scale=1.5, sentinels=(-999.0, -99.0)),
        Field(name="bounded", path="a", scale=0.5, low=-10.0, high=10.0),
        Field(name="count", path="a", kind=Kind.INTEGER, low=1),
        Field(name="name", path="a", kind=Kind.TEXT),
        Field(name="is_there", path="a", kind=Kind.PRESENCE),
    ),
)


@given(st.lists(st.one_of(st.just({}), st.fixed_dictionaries({"a": JUNK})), max_size=8))
def test_columns_hold_what_single_values_hold(rows: list[dict[str, Any]]) -> None:
    columns = columns_of_packets([{"rows": rows}], Layout(heads=(), rows=(TABLE,))).rows["rows"]
    for name in ("plain", "scaled", "bounded"):
        single = [number(row, TABLE[name]) for row in rows]
        expected = np.array([math.nan if value is None else value for value in single], np.float64)
        np.testing.assert_array_equal(columns[name], expected)
        assert not np.isinf(columns[name]).any()
    counts = [integer(row, TABLE["count"]) for row in rows]
    assert columns["count"].tolist() == [MISSING_INTEGER if count is None else count for count in counts]
    assert columns["name"].tolist() == [text(row, TABLE["name"]) for row in rows]
    assert columns["is_there"].tolist() == [row.get("a") is not None for row in rows]


def test_sentinels_are_survey_values_and_bounds_are_ours() -> None:
    field = Field(name="distance", path="d", scale=1.01, sentinels=(-999.0,), low=0.0, high=2.0)
    assert number({"d": -999.0}, field) is None
    assert number({"d": 1.98}, field) == 1.98 * 1.01
    assert number({"d": 1.99}, field) is None


def test_booleans_are_no_numbers_and_texts_none_either() -> None:
    assert number({"a": True}, TABLE["plain"]) is None
    assert integer({"a": True}, TABLE["count"]) is None
    assert number({"a": "1.0"}, TABLE["plain"]) is None


@given(JUNK)
def test_only_records_are_rows(value: Any) -> None:
    assert rows_of({"rows": [value, {"a": 1}]}, "rows")[-1] == {"a": 1}
    assert all(isinstance(row, dict) for row in rows_of({"rows": value}, "rows"))
