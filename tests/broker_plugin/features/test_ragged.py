# SPDX-License-Identifier: BSD-3-Clause
"""Group statistics against numpy's, group by group."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker_plugin.features.ragged import band_groups, segment_max, segment_median, segment_min

SEGMENTS = st.lists(st.tuples(st.integers(0, 4), st.floats(-1e30, 1e30, allow_nan=False)), max_size=40)


@given(SEGMENTS)
def test_statistics_of_segments_are_those_of_numpy(pairs: list[tuple[int, float]]) -> None:
    segment = np.array([pair[0] for pair in pairs], np.int64)
    values = np.array([pair[1] for pair in pairs], np.float64)
    median = segment_median(values, segment, 5)
    least = segment_min(values, segment, 5, default=7.0)
    largest = segment_max(values, segment, 5, default=7.0)
    for number in range(5):
        mine = values[segment == number]
        # Both halve the sum of the same two numbers, in another order: one rounding apart.
        assert median[number] == pytest.approx(np.median(mine) if len(mine) else 0.0, rel=1e-15, abs=1e-300)
        assert least[number] == (mine.min() if len(mine) else 7.0)
        assert largest[number] == (mine.max() if len(mine) else 7.0)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(-128, 127), st.booleans()), max_size=30))
def test_epochs_share_a_group_if_alert_band_and_kind_are_equal(keys: list[tuple[int, int, bool]]) -> None:
    row, band, apparent = (np.array([key[part] for key in keys]) for part in range(3))
    group, group_row = band_groups(row.astype(np.int64), band.astype(np.int8), apparent.astype(np.bool_))
    for one in range(len(keys)):
        assert group_row[group[one]] == keys[one][0]
        for other in range(len(keys)):
            assert (group[one] == group[other]) == (keys[one] == keys[other])
