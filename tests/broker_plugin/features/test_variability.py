# SPDX-License-Identifier: BSD-3-Clause
"""The statistics of light curves, and the epochs that are searched, against plain ones of one alert."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker_plugin.features.searched import searched_epochs
from broker_plugin.features.variability import COLUMNS, variability
from broker_plugin.records import Alert, AlertBatch
from tests.broker_plugin.features.light_curves import any_alerts, random_alerts
from tests.broker_plugin.features.reference_statistics import (
    plain_searched,
    plain_statistics,
    smallest_night,
)
from tests.support.alerts import real_alerts

RUNS = [COLUMNS.index("brightest_run"), COLUMNS.index("faintest_run")]


def check(alerts: list[Alert]) -> None:
    batch = AlertBatch.from_alerts(alerts)
    found, epochs = variability(batch), searched_epochs(batch)
    for row, alert in enumerate(alerts):
        if not len(alert.light_curve):
            assert not found[row].any()
            continue
        expected = np.array(plain_statistics(alert))
        # float64 sums in another order, and differences of numbers that agree in half of their digits.
        off = np.abs(found[row] - expected) > 1e-7
        if smallest_night(alert) < 1e-9:
            off[RUNS] = False  # rounding tells where a run ends
        assert not off.any(), [(COLUMNS[k], found[row, k], expected[k]) for k in np.flatnonzero(off)]
        mine = epochs.row == row
        for column, values in zip(
            (epochs.age_day, epochs.deviation, epochs.error), plain_searched(alert), strict=True
        ):
            assert column[mine] == pytest.approx(values, abs=1e-9)


def test_made_up_light_curves_have_the_plain_statistics(rng: np.random.Generator) -> None:
    check(random_alerts(rng, 120))


def test_real_light_curves_have_the_plain_statistics(data_dir: Path) -> None:
    check(list(real_alerts(data_dir)[::11]))


@given(st.lists(any_alerts(), max_size=3))
@settings(max_examples=60, deadline=None)
def test_any_finite_light_curve_gives_finite_statistics(alerts: list[Alert]) -> None:
    batch = AlertBatch.from_alerts(alerts)
    assert np.isfinite(variability(batch)).all()
    epochs = searched_epochs(batch)
    for column in (epochs.age_day, epochs.deviation, epochs.error):
        assert np.isfinite(column).all()
