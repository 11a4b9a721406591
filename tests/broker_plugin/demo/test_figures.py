# SPDX-License-Identifier: BSD-3-Clause
"""Laws of the charts: axes, profiles that are fitted, and drawings that any reader can parse."""

import re
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from broker_plugin.demo.figures import (
    BAND_MARKS,
    Template,
    fit_profile,
    folded_figure,
    light_curve_figure,
)
from broker_plugin.demo.findings import Playback, p_value_histogram, rank_objects
from broker_plugin.demo.light import SHAPES
from broker_plugin.demo.night_figures import histogram_figure, sky_figure
from broker_plugin.demo.svg import Frame, nice_ticks
from broker_plugin.records import LightCurve, Origin
from broker_plugin.taxonomy import passband_code

PHASES = (np.arange(24) + 0.5) / 24
PROFILE = 10 ** (-0.4 * SHAPES["RRAB"](PHASES))


def parse(svg: str) -> ET.Element:
    return ET.fromstring(svg)  # noqa: S314 - our own drawing


def curve(n: int, *, detected: int, flux: float = 1000.0, apparent: bool = True) -> LightCurve:
    return LightCurve.from_columns(
        mjd_tai=np.linspace(61270.0, 61300.0, n),
        flux_njy=flux * (1 + 0.3 * np.sin(np.arange(n))),
        flux_err_njy=np.full(n, 20.0),
        band=np.full(n, passband_code("lsst_g")),
        origin=[Origin.DETECTION] * detected + [Origin.FORCED] * (n - detected),
        apparent=np.full(n, apparent),
        detector=np.zeros(n),
        access=np.ones(n),
    )


@given(st.floats(-1e6, 1e6), st.floats(1e-3, 1e6), st.integers(2, 8))
def test_ticks_lie_within_the_axis_in_equal_steps(low: float, span: float, count: int) -> None:
    assume(span > 1e-6 * abs(low))
    ticks = nice_ticks(low, low + span, count)
    assert 1 <= len(ticks) <= count + 2
    assert all(low - 1e-8 * span <= tick <= low + span * (1 + 1e-8) for tick in ticks)
    steps = np.diff(ticks)
    # Ticks are rounded to twelve decimals.
    np.testing.assert_allclose(steps, steps[:1].repeat(len(steps)), rtol=1e-6, atol=1e-9)


def test_a_frame_puts_its_corners_where_they_belong() -> None:
    frame = Frame(x_low=-2.0, x_high=2.0, y_low=10.0, y_high=20.0)
    assert (frame.x(-2.0), frame.x(2.0)) == (frame.left, frame.right)
    assert (frame.y(10.0), frame.y(20.0)) == (frame.bottom, frame.top)


@given(st.floats(0.0, 1.0), st.floats(0.1, 10.0), st.floats(-5.0, 5.0))
def test_a_profile_is_found_at_any_phase_scale_and_level(shift: float, stretch: float, level: float) -> None:
    phase = np.random.default_rng(1).random(60)
    truth = np.interp((phase - shift) % 1.0, PHASES, PROFILE, period=1.0)
    fitted = fit_profile(PROFILE, phase, level + stretch * truth, np.full(60, 0.01))
    assert fitted is not None
    model = np.interp(phase, *fitted, period=1.0)
    # Shifts are tried a 96th of a cycle apart, and the steep rise changes by a tenth in half of that.
    assert np.std(model - level - stretch * truth) < 0.1 * stretch * np.std(truth)


def test_a_profile_turned_over_is_no_likeness() -> None:
    phase = np.random.default_rng(1).random(60)
    narrow = np.where(np.abs(PHASES - 0.5) < 0.06, 0.2, 1.0)  # an eclipse
    flash = 2.0 - np.interp(phase, PHASES, narrow, period=1.0)
    fitted = fit_profile(narrow, phase, flash, np.full(60, 0.01))
    spread = 0.0 if fitted is None else np.ptp(fitted[1])
    assert spread < 0.5 * np.ptp(flash)


def test_empty_or_flat_profiles_are_not_drawn() -> None:
    phase, flux, error = np.random.default_rng(1).random((3, 20))
    assert fit_profile(np.full(24, np.nan), phase, flux, error) is None
    assert fit_profile(np.ones(24), phase, flux, error) is None


def test_detections_are_filled_and_forced_points_hollow() -> None:
    svg = parse(light_curve_figure(curve(20, detected=12), alert_mjd=61300.0, name="ztf:x"))
    paths = {path.get("class"): path.get("d", "") for path in svg.iter("path")}
    # A triangle is one closed sub-path of three corners.
    assert paths["seen band-g"].count("z") == 12
    assert paths["forced band-g"].count("z") == 8
    assert paths["err band-g"].count("M") == 20


def test_every_mark_lies_inside_the_plot() -> None:
    svg = light_curve_figure(curve(20, detected=12), alert_mjd=61300.0, name="ztf:x")
    frame = Frame(x_low=0, x_high=1, y_low=0, y_high=1)
    for path in parse(svg).iter("path"):
        if path.get("class", "").startswith(("seen", "forced", "err")):
            numbers = [float(found) for found in re.findall(r"(?<=M)[\d.]+", path.get("d", ""))]
            assert all(frame.left - 5 <= x <= frame.right + 5 for x in numbers)


@pytest.mark.parametrize("n", [0, 1, 2])
def test_short_light_curves_are_drawn(n: int) -> None:
    assert parse(light_curve_figure(curve(n, detected=n), alert_mjd=61300.0, name="ztf:x")) is not None


def test_only_apparent_flux_is_folded() -> None:
    templates = [Template(name="css:1", label="RRAB", cosine=0.9, profile=PROFILE)]
    folded = folded_figure(
        curve(30, detected=30), alert_mjd=61300.0, period_day=0.7, templates=templates, name="ztf:x"
    )
    assert folded is not None
    assert [path.get("class") for path in parse(folded).iter("path")].count("analogue solid") == 1
    difference = curve(30, detected=30, apparent=False)
    assert folded_figure(difference, alert_mjd=61300.0, period_day=0.7, templates=templates, name="x") is None


def test_every_band_has_a_mark_of_its_own() -> None:
    assert len(set(BAND_MARKS.values())) == len(BAND_MARKS) == 6


def test_night_figures_say_in_words_what_they_show(playback: Playback) -> None:
    ranked = rank_objects(playback.verdicts)
    p_values = p_value_histogram([verdict.anomaly_p_value for verdict in playback.verdicts])
    histogram = parse(histogram_figure(p_values, np.zeros_like(p_values)))
    assert f"{len(playback.verdicts)} verdicts" in histogram.get("aria-label", "")
    sky = parse(sky_figure(ranked, n_strangest=5))
    assert f"{len(ranked)} objects" in sky.get("aria-label", "")
    assert sum("sky" in path.get("class", "") for path in sky.iter("path")) == len(ranked)
