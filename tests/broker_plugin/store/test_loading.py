# SPDX-License-Identifier: BSD-3-Clause
"""Catalogues in three formats become the same rows; a load that was broken off goes on; twice is once."""

from __future__ import annotations

import gzip
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest

from broker_plugin.errors import ConfigurationError
from broker_plugin.features.period import LEAST_PERIOD_DAY
from broker_plugin.features.searched import WINDOW_DAY
from broker_plugin.records import METADATA_COLUMNS, Access, Spectrum
from broker_plugin.store import catalogue_files
from broker_plugin.store.base import CorruptValueError, Store
from broker_plugin.store.catalogue_files import CatalogueColumns, read_rows
from broker_plugin.store.catalogue_values import RANGES, Range
from broker_plugin.store.context import SUMMARY_KEY, ContextRow, by_place, context_key, merged_rows, rows_in
from broker_plugin.store.loading import load
from broker_plugin.store.sky import cell_of
from broker_plugin.store.sqlite import SqliteStore

COLUMNS = CatalogueColumns(
    catalogue="gaia",
    source="source_id",
    ra="ra",
    dec="dec",
    values={"reference_mag": "gmag"},
    access=Access.PUBLIC,
)
N = 25


@pytest.fixture
def table(rng: np.random.Generator) -> pa.Table:
    mag = rng.uniform(12, 20, N)
    mag[3] = np.nan
    return pa.table(
        {
            "source_id": np.arange(N) + 2**60,
            "ra": rng.uniform(0, 360, N),
            "dec": rng.uniform(-90, 90, N),
            "gmag": mag,
            "star_galaxy_score": rng.uniform(0, 1, N),
            "unrelated": ["x"] * N,
        }
    )


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = SqliteStore(tmp_path / "store.sqlite", max_bytes=10**9, timeout_s=30)
    yield opened
    opened.close()


def written(table: pa.Table, path: Path) -> Path:
    if path.suffix == ".parquet":
        pyarrow.parquet.write_table(table, path)
    elif path.suffix == ".csv":
        pyarrow.csv.write_csv(table, path)
    else:
        from astropy.table import Table

        Table({name: table[name].to_numpy() for name in table.column_names if name != "unrelated"}).write(
            path
        )
    return path


def rows_of(path: Path, columns: CatalogueColumns = COLUMNS) -> list[ContextRow]:
    return [row for _, rows in read_rows(path, columns) for row in rows]


def everything(store: Store, rows: list[ContextRow]) -> list[bytes | None]:
    return store.fetch([*by_place(rows), SUMMARY_KEY])


def test_every_format_gives_the_same_rows(table: pa.Table, tmp_path: Path) -> None:
    found = [rows_of(written(table, tmp_path / f"stars{end}")) for end in (".parquet", ".csv", ".fits")]
    assert found[0] == found[1] == found[2]
    assert len(found[0]) == N
    assert found[0][0].source_id == str(2**60)
    assert found[0][0].values["reference_mag"] == table["gmag"][0].as_py()
    assert set(found[0][3].values) == {"star_galaxy_score"}  # what is not a number is not known


@pytest.mark.parametrize(("end", "mark"), [(".csv", ";"), (".csv.gz", ";"), (".tsv", "\t")])
@pytest.mark.parametrize("units", [" ;deg;deg;mag", " ; ; ; ", ";;;"])
def test_vizier_s_text_gives_the_rows_of_any_other(tmp_path: Path, end: str, mark: str, units: str) -> None:
    text = (
        f"#\n#   VizieR Astronomical Server\n#Column\tRA_ICRS\t(F15.11)\n\nSource;ra;dec;gmag\n{units}\n"
        "-------------------;---------------;---------------;---------\n"
        "1152921504606846976;010.50000000000;+20.00000000000;15.123456\n"
        "1152921504606846977;011.50000000000;-20.00000000000;         \n"
        "1152921504606846978;012.50000000000;-20.00000000000; 9.500000\n\n#END#\n"
    ).replace(";", mark)
    path = tmp_path / f"stars{end}"
    path.write_bytes(gzip.compress(text.encode()) if end == ".csv.gz" else text.encode())
    unread: Counter[str] = Counter()
    ((_, rows),) = read_rows(path, replace(COLUMNS, source="Source"), unread=unread)
    assert [(row.source_id, row.ra_deg, row.dec_deg, row.values) for row in rows] == [
        ("1152921504606846976", 10.5, 20.0, {"reference_mag": 15.123456}),
        ("1152921504606846978", 12.5, -20.0, {"reference_mag": 9.5}),
    ]
    assert not unread


def test_a_cell_that_is_no_number_costs_itself_alone(tmp_path: Path) -> None:
    path = tmp_path / "stars.csv"
    path.write_bytes(
        b"source_id,ra,dec,gmag,star_galaxy_score,remark\n1,10.5,20,15,,x\n02,11,21,---,0.5,\xe9\n"
        b"3,12,22,---,,1\n,13,23,16,,2\n5,13h,23,nan,0.5,2\n6,14,24,1_6,,2\n"
        b" 7 ,15,25,17,NA,2\nnull,16,26,17,,2\n"
    )
    unread: Counter[str] = Counter()
    (done, rows), *_ = read_rows(path, COLUMNS, unread=unread)
    assert done == 8
    assert [(row.source_id, row.values) for row in rows] == [
        ("1", {"reference_mag": 15.0}),
        ("02", {"star_galaxy_score": 0.5}),
        ("7", {"reference_mag": 17.0}),
    ]
    assert unread == {"gmag": 3, "ra": 1}


@pytest.mark.parametrize("single", [False, True])
def test_a_number_that_a_column_cannot_hold_counts_as_empty(tmp_path: Path, single: bool) -> None:
    table = pa.table(
        {
            "source_id": [1, 2, 3, 4, 5, 6],
            "ra": [10.0] * 6,
            "dec": [20.0] * 6,
            "gmag": pa.array([-999, 99.99, 15.0, 15.0, 15.0, 15.0], pa.float32() if single else pa.float64()),
            "period": pa.array([0.5, 2, -5, 0, 99.99, 1e30], pa.float32() if single else pa.float64()),
        }
    )
    columns = replace(COLUMNS, values={"reference_mag": "gmag", "catalogue_period_day": "period"})
    unread: Counter[str] = Counter()
    ((_, rows),) = read_rows(written(table, tmp_path / "stars.parquet"), columns, unread=unread)
    assert [row.values for row in rows] == [
        *({"catalogue_period_day": period_day} for period_day in (0.5, 2.0)),
        *[{"reference_mag": 15.0}] * 4,
    ]
    assert unread == {"gmag": 2, "period": 4}


def test_every_column_has_a_range_and_the_least_period_is_that_of_the_features() -> None:
    assert set(RANGES) == set(METADATA_COLUMNS)
    assert RANGES["catalogue_period_day"] == Range(low=LEAST_PERIOD_DAY, high=WINDOW_DAY)


def test_an_object_may_be_named_without_its_survey(tmp_path: Path) -> None:
    path = tmp_path / "stars.csv"
    path.write_text(
        "source_id,name,gmag\n1,ZTF18abcdefg,15\n2,lsst:sso:7,16\n3,RR Lyr,17\n4,12345,18\n5,,19\n"
        "6,ztf18ABCDEFH,20\n7,ztf:M31,21\n8,gaia:42,22\n9,3.13887541670409e+17,23\n"
    )
    unread: Counter[str] = Counter()
    ((_, rows),) = read_rows(path, replace(COLUMNS, object_id="name"), unread=unread)
    assert [row.object_id for row in rows] == [
        "ztf:ZTF18abcdefg",
        "lsst:sso:7",
        "lsst:12345",
        "ztf:ZTF18abcdefh",
    ]
    assert unread == {"name": 4}


def test_what_was_loaded_is_found_at_its_place_and_twice_is_once(
    table: pa.Table, tmp_path: Path, store: Store
) -> None:
    path = written(table, tmp_path / "stars.parquet")
    rows = rows_of(path)
    assert list(load(store, path, COLUMNS))[-1] == (N, N)
    stored = everything(store, rows)
    for row in rows:
        assert row.ra_deg is not None
        assert row.dec_deg is not None
        key = context_key(cell_of(row.ra_deg, row.dec_deg), Access.PUBLIC, spectra=False)
        assert row in rows_in(store.fetch([key])[0])
    assert list(load(store, path, COLUMNS)) == [(N, N)]  # nothing left to do
    again = written(table.slice(0), tmp_path / "again.csv")  # another file with the same rows
    assert list(load(store, again, COLUMNS))[-1] == (N, N)
    assert everything(store, rows) == stored


def test_a_catalogue_can_be_gone_back_to(table: pa.Table, tmp_path: Path, store: Store) -> None:
    path = written(table, tmp_path / "stars.parquet")
    fainter = table.set_column(table.column_names.index("gmag"), "gmag", pa.array(np.full(N, 21.0)))
    rows = rows_of(path)
    list(load(store, path, COLUMNS))
    stored = everything(store, rows)
    list(load(store, written(fainter, tmp_path / "fainter.parquet"), COLUMNS))
    assert everything(store, rows) != stored
    assert list(load(store, path, COLUMNS, again=True))[-1] == (N, N)
    assert everything(store, rows) == stored


def test_a_load_that_was_broken_off_goes_on_where_it_was(
    table: pa.Table, tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catalogue_files, "PORTION", 4)
    path = written(table, tmp_path / "stars.parquet")
    steps = load(store, path, COLUMNS)
    assert [next(steps) for _ in range(4)] == [(0, 0), (4, 4), (8, 8), (12, 12)]
    steps.close()  # type: ignore[attr-defined]
    assert next(load(store, path, COLUMNS)) == (12, 12)
    assert list(load(store, path, COLUMNS))[-1] == (N, N)
    whole = SqliteStore(tmp_path / "whole.sqlite", max_bytes=10**9, timeout_s=30)
    list(load(whole, path, COLUMNS))
    rows = rows_of(path)
    assert everything(store, rows) == everything(whole, rows)
    whole.close()


def test_spectra_of_a_dataset_are_kept_apart_from_its_values(tmp_path: Path, store: Store) -> None:
    wave = np.linspace(4000, 7000, 5)
    table = pa.table(
        {
            "object_id": ["ztf:ZTF18aaaaaaa", "ztf:ZTF18bbbbbbb"],
            "reference_mag": [15.0, None],
            "wave_aa": [wave, None],
            "spectrum_flux": [wave / 1000, None],
            "spectrum_inverse_variance": [np.ones(5), None],
        }
    )
    columns = CatalogueColumns(
        catalogue="set", source="object_id", object_id="object_id", access=Access.PUBLIC
    )
    list(load(store, written(table, tmp_path / "set.parquet"), columns))
    values, spectra = (
        rows_in(value)
        for value in store.fetch(
            [context_key("ztf:ZTF18aaaaaaa", Access.PUBLIC, spectra=each) for each in (False, True)]
        )
    )
    assert [(row.values, row.spectrum) for row in values] == [({"reference_mag": 15.0}, None)]
    (row,) = spectra
    assert row.values == {}
    assert isinstance(row.spectrum, Spectrum)
    np.testing.assert_array_equal(row.spectrum.wave_aa, wave)
    np.testing.assert_allclose(row.spectrum.flux, wave / 1000, rtol=1e-7)
    silent = context_key("ztf:ZTF18bbbbbbb", Access.PUBLIC, spectra=False)
    assert store.fetch([silent]) == [None]


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("stars.parquet", {"ra": "alpha"}, "has no column alpha; it has source_id"),
        ("stars.txt", {}, "give .parquet, .csv or .fits"),
        ("missing.parquet", {}, "cannot be read"),
    ],
)
def test_what_cannot_be_read_says_why(
    table: pa.Table, tmp_path: Path, name: str, changes: dict[str, str], message: str
) -> None:
    written(table, tmp_path / "stars.parquet")
    (tmp_path / "stars.txt").write_text("1 2 3")
    given = {"catalogue": "gaia", "source": "source_id", "ra": "ra", "dec": "dec"} | changes
    with pytest.raises(ConfigurationError, match=message):
        rows_of(tmp_path / name, CatalogueColumns(**given))  # type: ignore[arg-type]


def test_a_column_that_no_bundle_reads_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="no bundle can read mass"):
        CatalogueColumns(catalogue="a", source="b", values={"mass": "m"})


def test_a_later_load_replaces_a_row_and_keeps_the_others() -> None:
    def row(source: str, mag: float) -> ContextRow:
        return ContextRow(catalogue="c", source_id=source, object_id="ztf:a", values={"reference_mag": mag})

    value = merged_rows(merged_rows(None, [row("1", 10.0), row("2", 20.0)]), [row("1", 11.0)])
    assert [(each.source_id, each.values["reference_mag"]) for each in rows_in(value)] == [
        ("1", 11.0),
        ("2", 20.0),
    ]
    with pytest.raises(CorruptValueError):
        rows_in(value[:-1])
