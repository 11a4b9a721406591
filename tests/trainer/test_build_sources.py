# SPDX-License-Identifier: BSD-3-Clause
"""Every layout of a source is read to the same numbers, and every cut is counted."""

from __future__ import annotations

import gzip
import tarfile
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest
from astropy.io import fits
from astropy.table import MaskedColumn, Table
from astropy.time import Time

from broker_plugin.errors import ConfigurationError
from broker_plugin.records import Spectrum
from broker_plugin.surveys.photometry import flux_of_mag
from trainer.crossmatch.lightcurves import keep_light_curve, mjd_tai_of
from trainer.crossmatch.parts import Part
from trainer.crossmatch.reading import files_of, read_parts, size_of
from trainer.crossmatch.settings import (
    CatalogueSource,
    Columns,
    Cuts,
    LightCurveFilesSource,
    Measurement,
    SpectrumFilesSource,
    TimeSettings,
)
from trainer.crossmatch.spectra import inverse_variance_of_scatter, read_lamost, vacuum_of_air

UTC = TimeSettings(scale="utc")


def parts_of(
    source: CatalogueSource | LightCurveFilesSource | SpectrumFilesSource,
    data: Path,
    funnel: Counter[str] | None = None,
) -> dict[str, Part]:
    files, done = files_of(source, data), []
    parts = read_parts(
        source, data, files, funnel=Counter() if funnel is None else funnel, advance=done.append
    )
    found = {part.key: part for part in parts}
    assert sum(done) == size_of(source, data, files)
    return found


@pytest.mark.parametrize("scale", ["utc", "tai", "tt", "tdb"])
def test_times_become_tai_as_astropy_says(scale: str, rng: np.random.Generator) -> None:
    mjd = rng.uniform(48_000, 60_000, 200)
    expected = Time(mjd, format="mjd", scale=scale).tai.mjd
    made = mjd_tai_of(mjd + 2_400_000.5, TimeSettings(scale=scale, zero_mjd=-2_400_000.5))  # type: ignore[arg-type]
    # Julian Dates in double precision are good to 40 microseconds; TDB is taken as TT, within 2 ms.
    np.testing.assert_allclose(made, expected, rtol=0, atol=(2e-3 if scale == "tdb" else 1e-4) / 86400)


def test_impossible_times_are_no_times() -> None:
    assert np.isnan(mjd_tai_of(np.array([-2_409_998.5, np.nan, 1e9]), UTC)).all()


def test_every_epoch_is_kept_or_counted(rng: np.random.Generator) -> None:
    n = 500
    mjd = rng.choice(rng.uniform(53_000, 56_000, 200), n)
    mjd[:5] = -2_409_998.5
    mag, error = rng.uniform(5, 25, n), rng.uniform(-0.1, 0.6, n)
    mag[10:20] = np.nan
    cuts = Cuts(mag_min=8, mag_max=20, max_mag_err=0.4, mjd_min=53_500)
    funnel: Counter[str] = Counter()
    curve = keep_light_curve([("johnson_v", mjd, mag, error)], UTC, cuts, funnel=funnel)
    assert curve is not None
    lost = {
        name: count for name, count in funnel.items() if name.startswith("epochs ") and "read" not in name
    }
    assert sum(lost.values()) == n == funnel["epochs read"]
    assert all(lost.values())
    assert len(curve) == funnel["epochs kept, before the least number"]
    assert (np.diff(curve.mjd_tai) > 0).all()
    # Single precision of the flux; 37 s at most between the scales, hence the slack in time.
    bright, faint = flux_of_mag(np.array([8.0, 20.0]), np.array([0.1, 0.1]))[0]
    assert faint * (1 - 1e-6) <= curve.flux_njy.min() <= curve.flux_njy.max() <= bright * (1 + 1e-6)
    assert curve.mjd_tai.min() >= 53_500
    few = keep_light_curve(
        [("johnson_v", mjd, mag, error)], UTC, cuts.model_copy(update={"min_epochs": n}), funnel=funnel
    )
    assert few is None
    assert funnel["light curves with too few epochs"] == 1


def test_a_tar_archive_holds_what_its_files_hold(tmp_path: Path) -> None:
    (tmp_path / "lc").mkdir()
    for number in range(3):
        lines = [f"{1868.5 + k},{11 + k / 10},0.03" for k in range(4 + number)]
        (tmp_path / f"lc/{number}.dat").write_text("\n".join(lines) + "\n")
    with tarfile.open(tmp_path / "all.tar.gz", "w:gz") as archive:
        archive.add(tmp_path / "lc", "set")
    source = LightCurveFilesSource(
        name="a",
        layout="light_curve_files",
        path="lc/*.dat",
        id_pattern=r"(?P<id>\d+)\.dat$",
        delimiter=",",
        measurements=(Measurement(band="johnson_v", time="0", mag="1", mag_err="2"),),
        time=TimeSettings(zero_mjd=49_999.5),
        citation="",
    )
    one = parts_of(source, tmp_path)
    other = parts_of(source.model_copy(update={"path": "all.tar.gz"}), tmp_path)
    assert set(one) == set(other) == {"0", "1", "2"}
    for key, part in one.items():
        assert part.light_curve is not None
        assert len(part.light_curve) == 4 + int(key)
        twin = other[key].light_curve
        assert twin is not None
        np.testing.assert_array_equal(part.light_curve.mjd_tai, twin.mjd_tai)
        # UTC was 32 s behind TAI in 2000.
        assert part.light_curve.mjd_tai[0] == pytest.approx(51868.0 + 32 / 86400, abs=1e-8)


def test_bands_are_chosen_by_the_values_of_a_column(tmp_path: Path) -> None:
    text = (
        "JD,Magnitude,Uncertainty,Band,Comment\n"
        '2455000.5,10.0,0.1,V,"a, b"\n'
        "2455001.5,9.0,0.1,B,\n"
        "2455002.5,<11,0.1,V,\n"
        "2455003.5,10.2,,V,\n"
        "2455004.5,10.4,0.1,V,\n"
    )
    with gzip.open(tmp_path / "x_ari_1.txt.gz", "wt") as file:
        file.write(text)
    with gzip.open(tmp_path / "x_ari_2.txt.gz", "wt") as file:
        file.write(text.replace("24550", "24560"))
    measurement = Measurement(
        band="johnson_v", time="JD", mag="Magnitude", mag_err="Uncertainty", where={"Band": ("V",)}
    )
    source = LightCurveFilesSource(
        name="a",
        layout="light_curve_files",
        path="*.txt.gz",
        id_pattern=r"(?P<id>\w+)_\d\.txt",
        delimiter=",",
        header=True,
        measurements=(measurement,),
        time=TimeSettings(zero_mjd=-2_400_000.5),
        citation="",
    )
    funnel: Counter[str] = Counter()
    (part,) = parts_of(source, tmp_path, funnel).values()
    assert part.light_curve is not None
    assert len(part.light_curve) == 4  # two files of one star
    assert funnel["epochs without a magnitude or its error"] == 4
    wrong = measurement.model_copy(update={"time": "HJD"})
    with pytest.raises(ConfigurationError, match="HJD"):
        parts_of(source.model_copy(update={"measurements": (wrong,)}), tmp_path)


def test_catalogues_say_the_same_in_every_format(tmp_path: Path) -> None:
    ids = ["a", "b", "c"]
    ra, dec = [10.0, 20.0, 30.0], [-5.0, 95.0, 5.0]
    mag = [14.0, None, -999.0]
    label = ["RRab", "", None]
    table = pa.table({"id": ids, "ra": ra, "dec": dec, "mag": mag, "label": label})
    pq.write_table(table, tmp_path / "t.parquet")
    pa_csv.write_csv(table, tmp_path / "t.csv")
    masked = MaskedColumn([14.0, 0.0, -999.0], mask=[False, True, False])
    Table({"id": ids, "ra": ra, "dec": dec, "mag": masked, "label": ["RRab", "", ""]}).write(
        tmp_path / "t.fits"
    )
    columns = Columns(
        id="id", ra="ra", dec="dec", label="label", metadata={"ps1_g_mag": "mag"}, missing=(-999.0,)
    )
    vizier = (
        "#   VizieR Astronomical Server\n\nid;ra;dec;mag;label\n{units}\n--;----;----;------;----\n"
        "a ;10.0;-5.0;  14.0;RRab\nb ;20.0;95.0;      ;    \nc ;30.0; 5.0;-999.0;    \n\n#END#\n"
    )
    (tmp_path / "v.csv").write_text(vizier.format(units=" ;deg;deg;mag; "))
    (tmp_path / "none.csv").write_text(vizier.format(units=";;;;"))
    (tmp_path / "none.tsv").write_text(vizier.format(units=" ; ; ; ; ").replace(";", "\t"))
    for name in ("t.parquet", "t.csv", "t.fits", "v.csv", "none.csv", "none.tsv"):
        source = CatalogueSource(name="t", layout="catalogue", path=name, columns=columns, citation="")
        funnel: Counter[str] = Counter()
        parts = parts_of(source, tmp_path, funnel)
        assert parts["a"] == Part(
            key="a", ra_deg=10.0, dec_deg=-5.0, published_label="RRab", metadata={"ps1_g_mag": 14.0}
        ), name
        assert parts["b"] == Part(key="b"), name  # no such declination
        assert parts["c"] == Part(key="c", ra_deg=30.0, dec_deg=5.0), name
        assert funnel["rows whose position is missing or unreadable"] == 1


def test_positions_in_hours_are_read_also_where_a_comma_became_a_colon(tmp_path: Path) -> None:
    rows = "Name,RA,DEC\nRW Ari,02:16:03.7,+17:31:58.8\nX Ari,03:08:30.8:+10:26:45.2,\nY Z,nonsense,\n"
    (tmp_path / "t.csv").write_text(rows)
    source = CatalogueSource(
        name="t",
        layout="catalogue",
        path="t.csv",
        columns=Columns(id="Name", ra="RA", dec="DEC"),
        fold_ids=True,
        aliases={"y_z": "other"},
        citation="",
    )
    parts = parts_of(source, tmp_path)
    assert set(parts) == {"rw_ari", "x_ari", "other"}
    # The last digits of the text: 0.1 s of time is 4e-4 deg.
    assert parts["rw_ari"].ra_deg == pytest.approx(34.015417, abs=1e-6)
    assert parts["x_ari"].ra_deg == pytest.approx(47.128333, abs=1e-6)
    assert parts["x_ari"].dec_deg == pytest.approx(10.445889, abs=1e-6)
    assert parts["other"].ra_deg is None


def test_text_spectra_are_ordered_and_bad_pixels_have_no_weight(tmp_path: Path) -> None:
    lines = ["5000 2.0 0.1", "4000 1.0 0.1", "4500 nan 0.1", "4600 1.0 0", "4600 7.0 0.1"]
    (tmp_path / "1.txt").write_text("\n".join(["w f e", *lines]))
    source = SpectrumFilesSource(
        name="s",
        layout="spectrum_files",
        path="*.txt",
        id_pattern=r"(?P<id>\d+)\.txt",
        flux_err=2,
        header_lines=1,
        citation="",
    )
    spectrum = parts_of(source, tmp_path)["1"].spectrum
    assert spectrum is not None
    np.testing.assert_array_equal(spectrum.wave_aa, [4000, 4500, 4600, 5000])
    np.testing.assert_array_equal(spectrum.inverse_variance > 0, [True, False, False, True])
    assert np.isfinite(spectrum.flux).all()
    in_air = parts_of(source.model_copy(update={"wavelengths": "air"}), tmp_path)["1"].spectrum
    assert in_air is not None
    assert (in_air.wave_aa > spectrum.wave_aa).all()


@pytest.mark.parametrize(
    ("cuts", "reason"),
    [
        (Cuts(min_snr=10.1), "spectra of too low signal-to-noise"),
        (Cuts(min_good_fraction=0.95), "spectra with too few usable pixels"),
        (Cuts(min_snr=9.9, min_good_fraction=0.85), "spectra kept"),
    ],
)
def test_spectra_pass_the_cuts_or_are_counted(tmp_path: Path, cuts: Cuts, reason: str) -> None:
    rows = [f"{4000 + k} 1.0 {0 if k % 10 == 0 else 0.1}" for k in range(100)]
    (tmp_path / "1.txt").write_text("\n".join(rows))
    source = SpectrumFilesSource(
        name="s",
        layout="spectrum_files",
        path="*.txt",
        id_pattern=r"(?P<id>\d+)\.txt",
        flux_err=2,
        cuts=cuts,
        citation="",
    )
    funnel: Counter[str] = Counter()
    spectrum: Spectrum | None = parts_of(source, tmp_path, funnel)["1"].spectrum
    assert funnel[reason] == 1
    assert (spectrum is not None) == (reason == "spectra kept")


def test_lines_in_air_become_lines_in_vacuum() -> None:
    # H alpha, H beta, Ca II K: NIST Atomic Spectra Database, air and vacuum, rounded to 0.01 Angstrom.
    air, vacuum = np.array([6562.79, 4861.35, 3933.66]), np.array([6564.60, 4862.71, 3934.77])
    np.testing.assert_allclose(vacuum_of_air(air), vacuum, rtol=0, atol=0.02)


def test_noise_is_estimated_on_a_slope_too(rng: np.random.Generator) -> None:
    flux = np.linspace(1, 50, 20_000) + rng.normal(0, 0.2, 20_000)
    # A median of 20,000 values is good to 1 %, its inverse square to 2 %; three times that.
    assert inverse_variance_of_scatter(flux) == pytest.approx(25.0, rel=0.06)
    assert inverse_variance_of_scatter(np.ones(100)) == 0


def test_another_fits_file_is_no_lamost_spectrum(tmp_path: Path) -> None:
    fits.PrimaryHDU(np.zeros((5, 10), np.float32)).writeto(tmp_path / "a.fits")
    with pytest.raises(ConfigurationError, match="EXTEN0"):
        read_lamost(tmp_path / "a.fits")


def test_lamost_spectra_are_as_good_as_their_headers_say(data_dir: Path) -> None:
    path = sorted((data_dir / "spectra/lamost/fits").glob("*.fits.gz"))[1]
    found, header = read_lamost(path), fits.getheader(path)
    assert found.ra_deg == header["RA"]
    assert found.epoch_jyear == pytest.approx(2011.82, abs=0.01)
    red = (found.spectrum.wave_aa > 5500) & (found.spectrum.wave_aa < 7000)
    good = red & (found.spectrum.inverse_variance > 0)
    snr = np.median(found.spectrum.flux[good] * np.sqrt(found.spectrum.inverse_variance[good]))
    # Theirs is a mean over the r band, ours a median over most of it: alike within a fifth.
    assert snr == pytest.approx(header["SN_R"], rel=0.2)
