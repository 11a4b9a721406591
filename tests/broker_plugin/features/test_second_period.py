# SPDX-License-Identifier: BSD-3-Clause
"""The second period is that of what the first one leaves over."""

from __future__ import annotations

import numpy as np
import pytest

from broker_plugin.features.folding import fold
from broker_plugin.features.period import find_periods
from broker_plugin.features.searched import searched_epochs
from broker_plugin.features.second_period import COLUMNS, MIN_EPOCHS, second_periods
from broker_plugin.records import Alert, AlertBatch
from tests.broker_plugin.features.light_curves import alert

FIRST_DAY, SECOND_DAY, SPAN_DAY = 0.36, 0.484, 400.0


def _alert(rng: np.random.Generator, *, second_mag: float, n: int = 200) -> Alert:
    mjd = np.sort(rng.uniform(60_000.0, 60_000.0 + SPAN_DAY, n))
    mag = 15.0 + 0.2 * np.sin(2 * np.pi * mjd / FIRST_DAY) + second_mag * np.sin(2 * np.pi * mjd / SECOND_DAY)
    flux = 1e6 * 10 ** (-0.4 * (mag - 15.0 + rng.normal(0.0, 0.02, n)))
    return alert(mjd, flux, 0.02 * flux * 0.4 * np.log(10))


def _columns(alerts: list[Alert]) -> dict[str, np.ndarray]:
    batch = AlertBatch.from_alerts(alerts)
    periods, epochs = find_periods(batch), searched_epochs(batch)
    values = second_periods(epochs, fold(epochs, periods, np.zeros(len(batch))))
    return dict(zip(COLUMNS, values.T, strict=True))


def test_a_second_mode_is_found_and_noise_is_not(rng: np.random.Generator) -> None:
    found = _columns([_alert(rng, second_mag=0.08), _alert(rng, second_mag=0.0)])
    assert found["second_searched"].tolist() == [1.0, 1.0]
    assert found["second_power"][0] > 0.8 > 0.4 > found["second_power"][1]
    frequency = 10 ** found["second_log_frequency"][0]
    # A tenth of the resolution of the span.
    assert abs(frequency - 1 / SECOND_DAY) < 0.1 / SPAN_DAY
    ratio = 10 ** found["second_log_ratio"][0]
    # The first period may have been taken for twice itself, since its fold then fits as well.
    assert min(abs(ratio - k * FIRST_DAY / SECOND_DAY) for k in (1, 2, 0.5)) < 1e-3
    assert found["second_significance"][0] > found["second_significance"][1] + 0.5
    # A sinusoid of 0.08 mag is left over in noise of 0.02 mag: nine times the square.
    left = found["log_left_chi_square"][0] - found["log_left_chi_square"][1]
    assert left == pytest.approx(np.log10(9.0), abs=0.15)


def test_short_light_curves_are_not_searched(rng: np.random.Generator) -> None:
    found = _columns([_alert(rng, second_mag=0.1, n=MIN_EPOCHS - 1)])
    assert all(values[0] == 0.0 for values in found.values())


def test_an_alert_does_not_depend_on_its_neighbours(rng: np.random.Generator) -> None:
    alerts = [_alert(rng, second_mag=mag, n=n) for mag, n in ((0.1, 60), (0.0, 20), (0.05, 150))]
    together = _columns(alerts)
    for row, each in enumerate(alerts):
        alone = _columns([each])
        for name in COLUMNS:
            assert alone[name][0] == pytest.approx(together[name][row], abs=1e-9)  # rounding of sums
