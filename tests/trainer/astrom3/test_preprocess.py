# SPDX-License-Identifier: BSD-3-Clause
"""Inputs are the original's where it is defined, and finite or refused where it is not."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.trainer.astrom3.generated import catalogue_row, info_json
from trainer.astrom3.preprocess import (
    GRID_AA,
    UnusableInput,
    light_curve_rows,
    metadata_columns,
    photo_columns,
    scaled_metadata,
    spectrum_channels,
    window,
    windows,
)
from trainer.astrom3.scaler import META_COLUMNS, Scaler

CONSTANTS = np.array([0.1, -0.2, 0.3, 0.4])


def curve(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return 2_457_000 + np.sort(rng.uniform(0, 730, n)), 5 + rng.normal(size=n), np.full(n, 0.2)


def test_rows_hold_the_nine_channels(rng) -> None:
    hjd, flux, err = curve(rng, 300)
    order = rng.permutation(300)
    rows = light_curve_rows(hjd[order], flux[order], err[order], CONSTANTS, single_precision_time=False)
    mad = np.median(abs(flux - np.median(flux)))
    expected = np.column_stack(
        [
            (hjd - hjd[0]) / (hjd[-1] - hjd[0]),
            (flux - flux.mean()) / mad,
            err / mad,
            np.tile(CONSTANTS, (300, 1)),
            np.full(300, np.log10(mad)),
            np.full(300, (hjd[-1] - hjd[0]) / 365),
        ]
    )
    # Float32 of numbers up to about ten.
    assert np.allclose(rows, expected, atol=1e-5)


def test_published_times_are_of_single_precision(rng) -> None:
    hjd, flux, err = curve(rng, 100)
    rows = light_curve_rows(hjd, flux, err, CONSTANTS)
    span = rows[0, 8] * 365
    steps = np.diff(rows[:, 0]) * span / 0.25
    # Times are multiples of 0.25 d; the scaled ones are float32, good to 1e-7 of 730 d.
    assert np.allclose(steps, np.round(steps), atol=2e-3)


def test_a_row_that_is_there_twice_counts_once(rng) -> None:
    hjd, flux, err = curve(rng, 50)
    twice = [np.concatenate([each, each[:20]]) for each in (hjd, flux, err)]
    assert np.array_equal(light_curve_rows(*twice, CONSTANTS), light_curve_rows(hjd, flux, err, CONSTANTS))


@pytest.mark.parametrize(("n", "first"), [(307, 53), (201, 0), (200, 0)])
def test_long_curves_are_cut_in_the_middle_and_not_scaled_again(n: int, first: int, rng) -> None:
    rows = light_curve_rows(*curve(rng, n), CONSTANTS, single_precision_time=False)
    tokens, mask = window(rows)
    assert np.array_equal(tokens, rows[first : first + 200])
    assert mask.all()


def test_the_last_whole_window_can_be_reached(rng) -> None:
    rows = light_curve_rows(*curve(rng, 250), CONSTANTS, single_precision_time=False)
    assert np.array_equal(window(rows, start=50)[0], rows[50:])
    assert np.array_equal(window(rows, start=99)[0], rows[50:])


def test_padding_conventions(rng) -> None:
    rows = light_curve_rows(*curve(rng, 60), CONSTANTS, single_precision_time=False)
    (old, mask), (new, same) = window(rows, padding="gen-1"), window(rows, padding="gen-2")
    assert np.array_equal(mask, same)
    assert mask.sum() == 60
    assert mask[:60].all()
    assert np.array_equal(old[:60], rows)
    assert np.array_equal(new[:60], rows)
    assert not new[60:].any()
    assert not old[60:, :3].any()
    assert np.array_equal(old[60:, 3:], np.tile(rows[0, 3:], (140, 1)))


def test_many_windows_are_those_of_each(rng) -> None:
    curves = [light_curve_rows(*curve(rng, n), CONSTANTS) for n in (5, 200, 340, 90)]
    offsets = np.concatenate([[0], np.cumsum([len(each) for each in curves])])
    members = np.array([2, 0, 3, 2])
    starts = np.array([7, 0, 0, 140])
    tokens, mask = windows(np.concatenate(curves), offsets, members, starts=starts, padding="gen-1")
    for row, (member, start) in enumerate(zip(members, starts, strict=True)):
        expected = window(curves[member], start=start, padding="gen-1")
        assert np.array_equal(tokens[row], expected[0])
        assert np.array_equal(mask[row], expected[1])


BROKEN = {
    "constant flux": (np.arange(5.0), np.ones(5), np.full(5, 0.1)),
    "more than half alike": (np.arange(5.0), np.array([1.0, 1, 1, 2, 3]), np.full(5, 0.1)),
    "one epoch": (np.array([3.0]), np.array([2.0]), np.array([0.1])),
    "all at one time": (np.full(4, 7.0), np.arange(4.0), np.full(4, 0.1)),
    "a missing flux": (np.arange(5.0), np.array([1.0, np.nan, 3, 4, 6]), np.full(5, 0.1)),
    "constant flux without errors": (np.arange(5.0), np.ones(5), np.zeros(5)),
}


@pytest.mark.parametrize("what", BROKEN)
def test_what_broke_the_original_is_refused_or_mended(what: str) -> None:
    with pytest.raises(UnusableInput):
        light_curve_rows(*BROKEN[what], CONSTANTS)
    assert np.isfinite(light_curve_rows(*BROKEN[what], CONSTANTS, guard=True)).all()


def test_no_epoch_is_always_refused() -> None:
    empty = np.array([])
    with pytest.raises(UnusableInput, match="no epoch"):
        light_curve_rows(empty, empty, empty, CONSTANTS, guard=True)


@given(
    st.lists(
        st.tuples(*[st.floats(-1e6, 1e6) | st.just(float("nan")) | st.just(float("inf"))] * 3),
        min_size=1,
        max_size=12,
    )
)
def test_nothing_that_is_not_finite_ever_comes_out(rows: list[tuple[float, float, float]]) -> None:
    columns = np.array(rows).T
    for guard in (False, True):
        try:
            out = light_curve_rows(*columns, CONSTANTS, guard=guard)
        except UnusableInput:
            continue
        assert np.isfinite(out).all()


def test_a_spectrum_on_the_grid_passes_unresampled(rng) -> None:
    flux, third = 3 + rng.random(len(GRID_AA)), rng.random(len(GRID_AA))
    found = spectrum_channels(GRID_AA, flux, third)
    mad = np.median(abs(flux - np.median(flux)))
    expected = [(flux - flux.mean()) / mad, third / mad, np.full(2575, np.log10(mad))]
    assert found.shape == (3, 2575)
    # Float32 of numbers up to about ten.
    assert np.allclose(found, expected, atol=1e-5)


def test_outside_its_coverage_a_spectrum_is_flat(rng) -> None:
    wave = np.linspace(4500, 7000, 800)
    found = spectrum_channels(wave, rng.random(800), np.ones(800))
    assert len(set(found[0, GRID_AA < 4500])) == 1
    assert len(set(found[0, GRID_AA > 7000])) == 1


@pytest.mark.parametrize("flux", [np.zeros(50), np.full(50, 2.0), np.full(50, np.nan)])
def test_a_spectrum_without_structure_is_refused_or_mended(flux: np.ndarray) -> None:
    wave = np.linspace(3900, 8900, 50)
    with pytest.raises(UnusableInput):
        spectrum_channels(wave, flux, np.ones(50))
    if np.isfinite(flux).all():
        assert np.isfinite(spectrum_channels(wave, flux, np.ones(50), guard=True)).all()


def test_metadata_are_transformed_by_name() -> None:
    columns = dict(zip(META_COLUMNS, metadata_columns(catalogue_row()), strict=True))
    raw = catalogue_row()
    # 2 mas is 500 pc: a distance modulus of 8.49.
    assert raw["mean_vmag"] - columns["mean_vmag"] == pytest.approx(8.49485, abs=1e-5)
    assert raw["w4_mag"] - columns["w4_mag"] == pytest.approx(8.49485, abs=1e-5)
    assert (columns["l"], columns["b"]) == pytest.approx((0.5, -0.5))
    untouched = set(META_COLUMNS) - {"l", "b"} - {n for n in META_COLUMNS if raw[n] - columns[n] > 1}
    assert all(columns[name] == raw[name] for name in untouched)
    assert len(META_COLUMNS) - len(untouched) == 13, "eleven magnitudes and two angles"
    negative = dict(zip(META_COLUMNS, metadata_columns(raw | {"parallax": -0.5}), strict=True))
    assert raw["j_mag"] - negative["j_mag"] == pytest.approx(10)
    assert negative["parallax"] == -0.5


def test_metadata_are_scaled_after_the_photometric_columns() -> None:
    info = info_json()
    scaler = Scaler(classes=(), mean=np.array(info["mean"]), std=np.array(info["std"]))
    scaled = scaled_metadata(catalogue_row(), scaler)
    first = (metadata_columns(catalogue_row())[0] - 0.4) / 1.4
    assert scaled[0] == pytest.approx(first, rel=1e-6)
    assert photo_columns(catalogue_row()).tolist() == [0.4, 1.0, 0.2, 0.9]


@pytest.mark.parametrize("change", [{"period": 0.0}, {"period": float("nan")}, {"ruwe": float("inf")}])
def test_a_catalogue_row_that_the_original_has_no_path_for_is_refused(change: dict[str, float]) -> None:
    values = catalogue_row() | change
    name = next(iter(change))
    with pytest.raises(UnusableInput, match=name):
        (photo_columns if name == "period" else metadata_columns)(values)
    del values["ruwe"]
    with pytest.raises(UnusableInput, match="ruwe"):
        metadata_columns(values)
