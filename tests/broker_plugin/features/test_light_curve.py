# SPDX-License-Identifier: BSD-3-Clause
"""Laws of the light curve's tokens."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker_plugin.errors import BundleError
from broker_plugin.features.modalities.light_curve import (
    CANDIDATE_WIDTH,
    MAX_TOKENS,
    SUMMARY_WIDTH,
    Z_LINEAR,
    LightCurveTokens,
    build,
)
from broker_plugin.features.period import find_periods
from broker_plugin.features.variability import COLUMNS, variability
from broker_plugin.records import Alert, AlertBatch
from tests.broker_plugin.features.light_curves import alert, any_alerts, random_alerts, sinusoid
from tests.support.artefacts import REPOSITORY

WIDTH = SUMMARY_WIDTH + CANDIDATE_WIDTH
MODALITY = LightCurveTokens(np.zeros(WIDTH), np.ones(WIDTH))


def tokens(*alerts: Alert) -> list[np.ndarray]:
    batch = AlertBatch.from_alerts(alerts)
    made = MODALITY.tokens(batch, find_periods(batch))
    return np.split(made.values, made.offsets[1:-1])


def test_an_alert_has_the_same_bits_alone_and_in_any_batch(rng: np.random.Generator) -> None:
    alerts = random_alerts(rng, 60)
    together, backward = tokens(*alerts), tokens(*alerts[::-1])
    for row, one in enumerate(alerts):
        assert np.array_equal(together[row], backward[::-1][row])
        assert np.array_equal(tokens(one)[0], together[row])


@given(st.lists(any_alerts(), max_size=3))
@settings(max_examples=60, deadline=None)
def test_any_light_curve_gives_finite_tokens_of_the_stated_number(alerts: list[Alert]) -> None:
    for one, made in zip(alerts, tokens(*alerts), strict=False):
        assert np.isfinite(made).all()
        assert len(made) <= MAX_TOKENS == MODALITY.longest
        assert (len(made) > 0) == (len(one.light_curve) > 0)


def test_a_star_farther_away_gives_the_same_tokens(rng: np.random.Generator) -> None:
    mjd = 60_000 + np.sort(rng.uniform(0, 50, 40))
    flux = 1e5 * (1 + 0.3 * np.sin(2 * np.pi * mjd / 0.7)) + rng.normal(0, 500, 40)
    near, far = tokens(alert(mjd, flux, 500.0), alert(mjd, flux / 100, 5.0))
    # Fluxes are float32, and the softening of the magnitudes scales along.
    assert near == pytest.approx(far, abs=2e-3)


def test_only_the_first_token_sums_up(rng: np.random.Generator) -> None:
    mjd = 60_000 + np.sort(rng.uniform(0, 50, 40))
    (made,) = tokens(alert(mjd, rng.normal(1e4, 1e3, 40), 100.0))
    assert not made[0, SUMMARY_WIDTH:].any()
    assert not made[1:, :SUMMARY_WIDTH].any()
    assert made[1:, SUMMARY_WIDTH:].any(axis=1).all()


def test_a_catalogues_period_adds_a_token(rng: np.random.Generator) -> None:
    mjd = 60_000 + np.sort(rng.uniform(0, 50, 40))
    plain = alert(mjd, rng.normal(1e4, 1e3, 40), 100.0)
    known = replace(plain, metadata={**plain.metadata, "catalogue_period_day": 0.31})
    without, with_period = tokens(plain, known)
    assert np.array_equal(with_period[:-1], without)
    assert with_period[-1, SUMMARY_WIDTH] == pytest.approx(np.log10(1 / 0.31), abs=1e-5)  # float32


def test_a_period_that_no_star_has_is_none(rng: np.random.Generator) -> None:
    mjd = 60_000 + np.sort(rng.uniform(0, 50, 40))
    plain = alert(mjd, rng.normal(1e4, 1e3, 40), 100.0)
    short = replace(plain, metadata={**plain.metadata, "catalogue_period_day": 1e-30})
    without, with_period = tokens(plain, short)
    assert np.array_equal(with_period, without)


def test_channels_are_scaled_by_the_spec(rng: np.random.Generator) -> None:
    mjd = 60_000 + np.sort(rng.uniform(0, 50, 8))
    batch = AlertBatch.from_alerts([alert(mjd, rng.normal(1e4, 1e3, 8), 100.0)])
    scaled = build({"mean": [0.5] * WIDTH, "std": [2.0] * WIDTH})
    raw = MODALITY.tokens(batch, find_periods(batch)).values[0, :SUMMARY_WIDTH]
    made = scaled.tokens(batch, find_periods(batch)).values[0, :SUMMARY_WIDTH]
    linear = np.abs(raw) < Z_LINEAR
    assert linear.sum() > SUMMARY_WIDTH / 2
    assert made[linear] == pytest.approx((raw[linear] - 0.5) / 2.0, abs=1e-6)  # float32


@pytest.mark.parametrize("spec", [{}, {"mean": [0.0] * WIDTH, "std": [1.0]}])
def test_a_bundle_without_scalers_is_refused(spec: dict[str, list[float]]) -> None:
    with pytest.raises(BundleError, match="export it again"):
        build(spec)


def test_a_single_epoch_has_a_summary_and_no_candidate() -> None:
    (made,) = tokens(alert([60_000.0], [1e4], [100.0]))
    assert made.shape == (1, WIDTH)
    names = dict(
        zip(COLUMNS, variability(AlertBatch.from_alerts([alert([6e4], [1e4], [1e2])]))[0], strict=True)
    )
    assert names["log_n_epochs"] == 0.0
    assert names["apparent_share"] == 1.0


def test_kernels_do_in_plain_python_what_they_do_compiled(tmp_path: Path) -> None:
    # Plain Python raises where an index lies outside of its array.
    script = (
        "import sys, numpy as np\n"
        "from tests.broker_plugin.features.test_light_curve import some_tokens\n"
        "np.save(sys.argv[1], some_tokens())"
    )
    subprocess.run(
        [sys.executable, "-c", script, tmp_path / "plain.npy"],
        env=os.environ | {"NUMBA_DISABLE_JIT": "1"},
        cwd=REPOSITORY,
        check=True,
        timeout=280,
    )
    # float32; products and sums are rounded once when compiled.
    assert np.load(tmp_path / "plain.npy") == pytest.approx(some_tokens(), abs=1e-4)


def some_tokens() -> np.ndarray:
    """Tokens of light curves that are searched in either way, and of some that are not searched."""
    rng = np.random.default_rng(5)
    alerts = [
        *random_alerts(rng, 6),
        *(sinusoid(rng, period=0.5, n=n, span=s) for n, s in ((14, 9), (400, 30))),
    ]
    return np.concatenate(tokens(*alerts))
