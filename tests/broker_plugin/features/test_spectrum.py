# SPDX-License-Identifier: BSD-3-Clause
"""Laws of spectrum tokens: nothing invented, nothing lost, whatever the sampling of the instrument."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from broker_plugin.features.base import Tokens, build_modality
from broker_plugin.features.modalities.spectrum import (
    CHANNELS,
    N_PATCHES,
    PATCH_PIXELS,
    Resampled,
    resampled,
)
from broker_plugin.features.period import find_periods
from broker_plugin.records import Access, Alert, AlertBatch, LightCurve, Spectrum

COVERAGE, POSITION = CHANNELS.index("coverage"), CHANNELS.index("position")
FULL = np.arange(3700.0, 9100.0, 1.5)


def spectrum_of(
    wave_aa: NDArray[np.float64], flux: NDArray[np.float64], inverse_variance: NDArray[np.float64] | float
) -> Spectrum:
    return Spectrum(
        wave_aa=wave_aa,
        flux=flux.astype(np.float32),
        inverse_variance=np.broadcast_to(inverse_variance, wave_aa.shape).astype(np.float32),
        access=Access.PUBLIC,
    )


def tokens_of(*spectra: Spectrum | None) -> Tokens:
    batch = AlertBatch.from_alerts(
        Alert(
            survey="test",
            alert_id=number,
            object_id=f"test:{number}",
            ra_deg=0.0,
            dec_deg=0.0,
            mjd_tai=60_000.0,
            light_curve=LightCurve.empty(),
            spectrum=spectrum,
        )
        for number, spectrum in enumerate(spectra)
    )
    return build_modality("spectrum", {}).tokens(batch, find_periods(batch))


def star(wave_aa: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return a sloping continuum with two lines and a band."""
    lines = 0.6 * np.exp(-0.5 * ((wave_aa - 4862.7) / 12) ** 2)
    lines += 0.4 * np.exp(-0.5 * ((wave_aa - 6564.6) / 12) ** 2)
    return (wave_aa / 5000.0) ** -1.5 * (1 - lines)


def test_no_spectrum_has_no_tokens_and_a_whole_one_has_all_patches() -> None:
    tokens = tokens_of(None, spectrum_of(FULL, star(FULL), 400.0), None)
    assert tokens.lengths.tolist() == [0, N_PATCHES, 0]
    assert tokens.values.dtype == np.float32
    assert np.isfinite(tokens.values).all()
    assert (tokens.values[:, COVERAGE] == 1).all()


def test_nothing_is_extrapolated() -> None:
    wave = FULL[(FULL > 4500) & (FULL < 7000)]
    tokens = tokens_of(spectrum_of(wave, star(wave), 400.0))
    centre = 3800.0 * (9000.0 / 3800.0) ** ((tokens.values[:, POSITION] * (N_PATCHES - 1) + 0.5) / N_PATCHES)
    assert 0 < len(centre) < N_PATCHES
    assert centre.min() > 4480
    assert centre.max() < 7020


def test_what_was_not_measured_has_no_weight(rng: np.random.Generator) -> None:
    bad = rng.random(len(FULL)) < 0.1
    bad |= (FULL > 5800) & (FULL < 6100)
    weight = np.where(bad, 0.0, 400.0)
    wild = np.where(bad, 1e6, star(FULL))
    unknown = np.where(bad, np.nan, star(FULL))
    expected = tokens_of(spectrum_of(FULL, star(FULL), weight))
    for flux in (wild, unknown):
        found = tokens_of(spectrum_of(FULL, flux, weight))
        assert np.array_equal(found.values, expected.values)
    # The gap holds four whole patches of 1.35 % each.
    assert expected.lengths[0] == N_PATCHES - 4


def test_signal_to_noise_adds_up_whatever_the_sampling() -> None:
    def total(grid: Resampled) -> float:
        return float(grid.inverse_variance.sum())

    fine, coarse = np.arange(3700.0, 9100.0, 0.5), np.arange(3700.0, 9100.0, 4.0)
    # A pixel eight times as wide with eight times the inverse variance holds the same light.
    one = resampled(spectrum_of(fine, star(fine), 10.0))
    other = resampled(spectrum_of(coarse, star(coarse), 80.0))
    assert total(one) == pytest.approx(total(other), rel=1e-3)  # half a pixel at the ends
    assert total(one) == pytest.approx(10.0 * 5200 / 0.5, rel=1e-3)  # the same


def test_the_mean_is_weighted_by_inverse_variance() -> None:
    wave = np.arange(3700.0, 9100.0, 0.5)
    flux = np.where(np.arange(len(wave)) % 2, 2.0, 1.0)
    weight = np.where(np.arange(len(wave)) % 2, 1.0, 3.0)
    grid = resampled(spectrum_of(wave, flux, weight))
    # (1 * 3 + 2 * 1) / 4; a pixel of the grid holds 6 to 15 measured ones, not always as many of each kind.
    assert grid.flux.mean() == pytest.approx(1.25, abs=2e-3)


@pytest.mark.parametrize("factor", [1e-17, 1e9])
def test_units_do_not_matter(factor: float) -> None:
    plain = tokens_of(spectrum_of(FULL, star(FULL), 400.0))
    scaled = tokens_of(spectrum_of(FULL, star(FULL) * factor, 400.0 / factor**2))
    # Rounding of the scaled input to float32.
    np.testing.assert_allclose(scaled.values, plain.values, atol=2e-5)


def test_lines_stand_where_they_are() -> None:
    tokens = tokens_of(spectrum_of(FULL, star(FULL), 400.0))
    flux = tokens.values[:, :PATCH_PIXELS].reshape(-1)
    deepest = int(flux.argmin())
    wave = 3800.0 * (9000.0 / 3800.0) ** ((deepest + 0.5) / len(flux))
    assert wave == pytest.approx(4862.7, abs=4.1)  # a pixel of the grid there
    assert flux.min() == pytest.approx(-0.6, abs=0.08)  # the line lowers its own continuum a little


def test_alerts_do_not_depend_on_one_another() -> None:
    spectra = [spectrum_of(FULL, star(FULL) + shift, 100.0) for shift in (0.0, 0.3, 1.0)]
    together = tokens_of(*spectra)
    alone = np.concatenate([tokens_of(each).values for each in spectra])
    assert np.array_equal(together.values, alone)


@pytest.mark.parametrize(
    "spectrum",
    [
        spectrum_of(np.zeros(0), np.zeros(0), 1.0),
        spectrum_of(np.array([5000.0]), np.ones(1), 1.0),
        spectrum_of(np.full(5, 5000.0), np.ones(5), 1.0),
        spectrum_of(FULL, star(FULL), 0.0),
        spectrum_of(FULL, np.full(len(FULL), np.nan), 1.0),
        spectrum_of(FULL, -star(FULL), 1.0),
        spectrum_of(np.arange(10_000.0, 20_000.0), np.ones(10_000), 1.0),
        spectrum_of(np.full(len(FULL), np.nan), star(FULL), 1.0),
    ],
)
def test_a_spectrum_without_usable_light_is_a_missing_one(spectrum: Spectrum) -> None:
    assert tokens_of(spectrum).lengths.tolist() == [0]


def test_real_spectra_show_balmer_lines_by_temperature(data_dir: Path) -> None:
    fits = pytest.importorskip("astropy.io.fits")
    folder = data_dir / "spectra" / "lamost"
    with (folder / "MANIFEST.csv").open() as file:
        table = [row for row in csv.DictReader(file) if row["teff"]]
    hot, cool = [], []
    for row in table:
        with fits.open(folder / "fits" / row["file"]) as spectrum:
            flux, weight = spectrum[0].data[:2].astype(np.float64)
            header = spectrum[0].header
            wave = 10.0 ** (header["COEFF0"] + header["COEFF1"] * np.arange(len(flux)))
        tokens = tokens_of(spectrum_of(wave, flux, weight))
        assert tokens.lengths[0] >= N_PATCHES // 2  # cool stars are lost in the blue
        assert np.isfinite(tokens.values).all()
        pixels = np.full((N_PATCHES, PATCH_PIXELS), np.nan)
        patch = np.rint(tokens.values[:, POSITION] * (N_PATCHES - 1)).astype(int)
        pixels[patch] = tokens.values[:, :PATCH_PIXELS]
        line = int(np.log(4862.7 / 3800.0) / np.log(9000.0 / 3800.0) * N_PATCHES * PATCH_PIXELS)
        depth = -float(np.nanmin(pixels.reshape(-1)[line - 2 : line + 3]))
        (hot if float(row["teff"]) > 6500 else cool).append(depth)
    assert len(hot) > 5
    assert len(cool) > 50
    assert np.median(hot) > np.median(cool) + 0.1
