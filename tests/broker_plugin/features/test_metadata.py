# SPDX-License-Identifier: BSD-3-Clause
"""The metadata token."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker_plugin.errors import BundleError
from broker_plugin.features.base import Tokens, build_modality
from broker_plugin.features.period import Periods
from broker_plugin.records import METADATA_COLUMNS, Alert, AlertBatch
from tests.broker_plugin.features.light_curves import alert, any_alerts

SPEC = {
    "columns": [
        {"name": "reference_mag", "transform": "identity", "mean": 16.0, "std": 2.0},
        {"name": "gal_lat_deg", "transform": "abs_sin_deg", "mean": 0.5, "std": 0.25},
    ]
}


def tokens_of(*alerts: Alert) -> Tokens:
    return build_modality("metadata", SPEC).tokens(AlertBatch.from_alerts(alerts), Periods.none(len(alerts)))


def test_known_columns_are_scored_and_missing_ones_are_zero_and_say_so() -> None:
    tokens = tokens_of(
        alert([], [], [], metadata={"reference_mag": 18.0, "gal_lat_deg": -30.0}),
        alert([], [], [], metadata={"gal_lat_deg": 90.0}),
    )
    assert tokens.lengths.tolist() == [1, 1]
    # Records hold float32.
    assert tokens.values[0] == pytest.approx([1.0, 0.0, 1.0, 1.0], abs=1e-6)
    assert tokens.values[1] == pytest.approx([0.0, 2.0, 0.0, 1.0], abs=1e-6)


def test_there_is_no_token_where_no_column_is_known() -> None:
    others = {name: 1.0 for name in METADATA_COLUMNS if name not in {"reference_mag", "gal_lat_deg"}}
    tokens = tokens_of(
        alert([], [], [], metadata=others), alert([], [], [], metadata={"reference_mag": 20.0})
    )
    assert tokens.lengths.tolist() == [0, 1]


@given(st.lists(any_alerts(), max_size=4))
@settings(max_examples=100, deadline=None)
def test_any_finite_value_gives_finite_tokens_of_bounded_size(alerts: list[Alert]) -> None:
    tokens = tokens_of(*alerts)
    assert np.isfinite(tokens.values).all()
    assert np.abs(tokens.values).max(initial=0.0) <= 5.0
    assert tokens.lengths.tolist() == [1 if one.metadata else 0 for one in alerts]


@pytest.mark.parametrize(
    "change", [{"name": "colour_of_the_host"}, {"transform": "sqrt"}, {"minus": "a_band"}]
)
def test_a_column_that_this_version_does_not_have_is_refused(change: dict[str, str]) -> None:
    column = SPEC["columns"][0] | change
    with pytest.raises(BundleError, match="does not have"):
        build_modality("metadata", {"columns": [column]})


def test_latitude_is_folded_about_the_galactic_plane() -> None:
    north = tokens_of(alert([], [], [], metadata={"gal_lat_deg": 42.0}))
    south = tokens_of(alert([], [], [], metadata={"gal_lat_deg": -42.0}))
    assert np.array_equal(north.values, south.values)
    expected = (math.sin(math.radians(42.0)) - 0.5) / 0.25
    assert north.values[0, 1] == pytest.approx(expected, rel=1e-6)  # float32


def test_a_colour_is_known_where_both_magnitudes_are() -> None:
    column = {"name": "ps1_g_mag", "minus": "ps1_r_mag", "transform": "identity", "mean": 0.5, "std": 0.25}
    batch = AlertBatch.from_alerts(
        [
            alert([], [], [], metadata={"ps1_g_mag": 17.0, "ps1_r_mag": 16.0}),
            alert([], [], [], metadata={"ps1_g_mag": 17.0}),
            alert([], [], [], metadata={"ps1_r_mag": 17.0}),
        ]
    )
    tokens = build_modality("metadata", {"columns": [column]}).tokens(batch, Periods.none(3))
    assert tokens.lengths.tolist() == [1, 0, 0]
    assert tokens.values[0].tolist() == [2.0, 1.0]
