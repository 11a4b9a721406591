# SPDX-License-Identifier: BSD-3-Clause
"""Parquet in the published schema, and files as the surveys deliver them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from broker_plugin.errors import ConfigurationError
from tests.trainer.astrom3.generated import CLASSES, write_asassn, write_lamost_table, write_split
from trainer.astrom3.data import read_objects, require_no_overlap
from trainer.astrom3.preprocess import GRID_AA, light_curve_rows, spectrum_channels
from trainer.astrom3.raw import read_asassn, read_lamost


def test_objects_come_back_as_they_were_written(tmp_path: Path, rng) -> None:
    rows = [rng.normal(size=(n, 9)).astype(np.float32) for n in (1, 250, 7)]
    spectra = rng.normal(size=(3, 3, 2575)).astype(np.float32)
    metadata = rng.normal(size=(3, 34)).astype(np.float32)
    label = np.array([9, 0, 4])
    write_split(tmp_path, "full_42", "test", rows, spectra, metadata, label)
    objects = read_objects(tmp_path, "full_42", "test")
    assert objects.classes == CLASSES
    assert np.array_equal(objects.rows, np.concatenate(rows))
    assert objects.offsets.tolist() == [0, 1, 251, 258]
    assert np.array_equal(objects.spectra, spectra)
    assert np.array_equal(objects.metadata, metadata)
    assert np.array_equal(objects.label, label)


def test_the_hubs_converted_layout_is_read_too(processed: Path, tmp_path: Path) -> None:
    folder = tmp_path / "full_42" / "test"
    folder.mkdir(parents=True)
    for number, path in enumerate(sorted((processed / "full_42").glob("test-*.parquet"))):
        (folder / f"{number:04d}.parquet").write_bytes(path.read_bytes())
    assert read_objects(tmp_path, "full_42", "test").digest() == (
        read_objects(processed, "full_42", "test").digest()
    )


def test_fixed_size_lists_are_read_as_lists(processed: Path, tmp_path: Path) -> None:
    path = sorted((processed / "full_42").glob("test-*.parquet"))[0]
    table = pq.read_table(path)
    fixed = pa.FixedSizeListArray.from_arrays(table["metadata"].combine_chunks().flatten(), 34)
    table = table.set_column(2, "metadata", fixed)
    (tmp_path / "full_42").mkdir()
    pq.write_table(table, tmp_path / "full_42" / "test-00000-of-00001.parquet")
    n = table.num_rows
    expected = read_objects(processed, "full_42", "test").metadata[:n]
    assert np.array_equal(read_objects(tmp_path, "full_42", "test").metadata, expected)


def test_what_is_not_the_data_set_is_refused(processed: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="full_0"):
        read_objects(processed, "full_0", "train")
    path = sorted((processed / "full_42").glob("test-*.parquet"))[0]
    table = pq.read_table(path)
    target = tmp_path / "full_42" / "test-00000-of-00001.parquet"
    target.parent.mkdir()
    for broken, named in (
        (table.drop_columns(["spectra"]), "spectra"),
        (table.replace_schema_metadata({}), "classes"),
        (table.set_column(3, "label", pa.array([11] * table.num_rows)), "label"),
        (table.set_column(2, "metadata", pa.array([[1.0] * 33] * table.num_rows)), "metadata"),
        (table.set_column(2, "metadata", pa.array([[np.nan] * 34] * table.num_rows)), "not finite"),
        (table.set_column(0, "photometry", pa.array([[[1.0] * 8] * 9] * table.num_rows)), "photometry"),
        (table.set_column(0, "photometry", pa.array([None] * table.num_rows, table[0].type)), "lack a value"),
    ):
        pq.write_table(broken, target)
        with pytest.raises(ConfigurationError, match=named):
            read_objects(tmp_path, "full_42", "test")


def test_a_test_object_that_was_trained_on_is_found_whatever_its_scaling(processed: Path) -> None:
    full = read_objects(processed, "full_42", "test")
    half = read_objects(processed, "sub10_42", "test")
    train = read_objects(processed, "full_42", "train")
    require_no_overlap(train, half, "training")
    with pytest.raises(ConfigurationError, match="20 test objects"):
        require_no_overlap(full, full, "training")
    with pytest.raises(ConfigurationError, match="10 test objects"):
        require_no_overlap(full, half, "training")


def test_an_asassn_file_gives_times_fluxes_and_errors(tmp_path: Path, rng) -> None:
    table = rng.uniform(1, 20, (30, 5))
    table[:, 0] += 2_457_000
    path = tmp_path / "star.dat"
    write_asassn(path, table)
    found = read_asassn(path)
    # Six decimals were written.
    assert np.allclose(found, table[:, [0, 3, 4]], atol=1e-6)
    assert light_curve_rows(*found.T, np.zeros(4)).shape == (30, 9)
    path.write_text("one\ntwo\n1 2 3\n")
    with pytest.raises(ConfigurationError, match="FLUX_ERR"):
        read_asassn(path)
    path.write_text("one\ntwo\n1 2 3 four 5\n")
    with pytest.raises(ConfigurationError, match="ASAS-SN"):
        read_asassn(path)


def test_a_lamost_table_is_read_like_an_image(tmp_path: Path, rng) -> None:
    wave, flux = np.linspace(3700, 9100, 400), rng.random(400)
    path = tmp_path / "spec.fits.gz"
    write_lamost_table(path, wave, flux)
    # Float32 of wavelengths up to 9100.
    assert np.allclose(read_lamost(path), np.column_stack([wave, flux, np.full(400, 0.5)]), rtol=1e-6)
    path.write_bytes(b"nothing")
    with pytest.raises(ConfigurationError, match="LAMOST"):
        read_lamost(path)


def test_real_lamost_spectra_become_finite_channels(data_dir: Path) -> None:
    paths = sorted((data_dir / "spectra/lamost/fits").glob("*.fits.gz"))
    assert len(paths) > 100
    for path in paths[:25]:
        spectrum = read_lamost(path)
        assert 3600 < spectrum[0, 0] < 3800, "Angstrom, the blue end of LAMOST"
        assert (np.diff(spectrum[:, 0]) > 0).all()
        channels = spectrum_channels(*spectrum.T)
        assert channels.shape == (3, 2575)
        assert np.isfinite(channels).all()
        # Centred on the mean, and a MAD of one where the flux is not zero. 1e-3: float32 of up to 1e2.
        assert abs(channels[0].mean()) < 1e-3
        seen = channels[0][np.interp(GRID_AA, spectrum[:, 0], spectrum[:, 1]) != 0]
        assert np.median(abs(seen - np.median(seen))) == pytest.approx(1, abs=1e-3)
