# SPDX-License-Identifier: BSD-3-Clause
"""Files of stars as others make them: what is odd costs only itself, what cannot be read is said."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from broker_plugin.errors import ConfigurationError
from broker_plugin.surveys.sky import galactic_deg
from tests.trainer.synthetic import named_stars, write_catalogue
from trainer.bundle_evaluation import evaluate_bundle
from trainer.data.catalina import FILE
from trainer.data.unsorted import read_unsorted
from trainer.star_settings import PACKET, SETTINGS

Row = dict[str, Any]


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> list[Row]:
    """Stars of each class, as a file holds them."""
    data = tmp_path_factory.mktemp("few")
    write_catalogue(data, stars_per_class=1)
    found: list[Row] = pq.read_table(data / FILE).to_pylist()
    return found


def written(path: Path, rows: list[Row]) -> Path:
    pq.write_table(pa.Table.from_pylist(rows), path)
    return path


def predicted(rows: list[Row], folder: Path) -> tuple[dict[str, Any], dict[tuple[Any, str], list[float]]]:
    """Return the measures, and what was said of each star in each setting."""
    out = folder / "found.parquet"
    measures = evaluate_bundle(
        "default", written(folder / "stars.parquet", rows), folder / "metrics.json", out
    )
    return measures, {
        (row.pop("id"), row.pop("setting")): list(row.values()) for row in pq.read_table(out).to_pylist()
    }


def test_a_star_that_is_odd_costs_only_itself(rows: list[Row], tmp_path: Path) -> None:
    odd = [
        rows[0] | {"b": None},
        rows[1] | {"l": np.inf, "ra": None},
        rows[2] | {"mag": [-70.0, -1e30, 99.0, np.nan, *rows[2]["mag"][4:]]},
        rows[3] | {"mag_err": [1e30, 0.0, -1.0, np.inf, *rows[3]["mag_err"][4:]]},
        rows[4] | {"mjd": [each + 2_400_000.5 for each in rows[4]["mjd"]]},
        rows[5] | {"sss_class": "QSO", "period": np.inf},
        *rows[6:],
    ]
    measures, found = predicted(odd, tmp_path)
    _, plain = predicted(rows, tmp_path)
    assert found.keys() == plain.keys()
    assert np.isfinite(list(found.values())).all()
    for number, setting in plain:
        if number in [each["id"] for each in rows[6:]]:
            assert found[number, setting] == plain[number, setting]
    assert measures["stars"] == len(rows)
    remarks = "\n".join(measures["remarks"])
    for said in ("epochs, at impossible", "8 of the file's", "judged by position alone: 1 star", "(QSO 1)"):
        assert said in remarks


def test_stars_may_have_names(rows: list[Row], tmp_path: Path) -> None:
    named = [row | {"id": f"V{number} Cen"} for number, row in enumerate(rows)]
    _, found = predicted(named, tmp_path)
    _, plain = predicted(rows, tmp_path)
    for name, row in zip(named, rows, strict=True):
        for setting in SETTINGS:
            assert found[name["id"], setting] == plain[row["id"], setting]
    assert {setting for _, setting in found} == {*SETTINGS, PACKET}
    _, again = predicted(named, tmp_path)
    assert again == found, "its cut into an alert follows from its name"


def test_ids_are_the_same_with_and_without_a_point(rows: list[Row], tmp_path: Path) -> None:
    names = [
        read_unsorted(written(tmp_path / "stars.parquet", [row | {"id": kind(row["id"])} for row in rows]))
        for kind in (int, float, str)
    ]
    assert len({tuple(each.stars.star_id.tolist()) for each in names}) == 1
    assert names[0].star_id.dtype == names[1].star_id.dtype == np.int64


@pytest.mark.parametrize("star_id", [1.5, 2.0**53, np.inf])
def test_ids_that_are_no_whole_numbers_are_refused(rows: list[Row], tmp_path: Path, star_id: float) -> None:
    with pytest.raises(ConfigurationError, match="whole numbers or text"):
        read_unsorted(written(tmp_path / "stars.parquet", [rows[0] | {"id": star_id}]))


def test_epochs_of_one_time_say_the_same_in_any_order(
    rows: list[Row], tmp_path: Path, rng: np.random.Generator
) -> None:
    tied = [row | {"mjd": [55_000.0 + at // 3 for at in range(len(row["mjd"]))]} for row in rows]
    mixed = []
    for row in tied:
        order = rng.permutation(len(row["mjd"]))
        mixed.append(row | {name: [row[name][at] for at in order] for name in ("mjd", "mag", "mag_err")})
    assert predicted(tied, tmp_path)[1] == predicted(mixed, tmp_path)[1]


def test_galactic_coordinates_follow_from_the_position(rows: list[Row], tmp_path: Path) -> None:
    without = [{name: value for name, value in row.items() if name not in ("l", "b")} for row in rows]
    stars = read_unsorted(written(tmp_path / "stars.parquet", without)).stars
    longitude, latitude = galactic_deg(stars.ra_deg, stars.dec_deg)
    assert stars.gal_lon_deg == pytest.approx(longitude)
    assert stars.gal_lat_deg == pytest.approx(latitude)


@pytest.mark.parametrize("kind", [pa.large_list(pa.float32()), pa.list_(pa.int32(), 3)])
def test_lists_may_be_of_any_kind(rows: list[Row], tmp_path: Path, kind: pa.DataType) -> None:
    table = pa.Table.from_pylist([row | {"mag": [15, 16, 15]} for row in rows])
    for name in ("mjd", "mag_err"):
        place = table.column_names.index(name)
        table = table.set_column(place, name, pa.array([each[name][:3] for each in rows]))
    table = table.set_column(
        table.column_names.index("mag"), "mag", pa.array([[15, 16, 15]] * len(rows), kind)
    )
    pq.write_table(table, tmp_path / "stars.parquet")
    assert read_unsorted(tmp_path / "stars.parquet").funnel.epochs_in_file == 3 * len(rows)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (lambda row: row | {"mag": row["mag"][1:]}, "must be as many"),
        (lambda row: row | {"mag": 15.0}, "list of numbers"),
        (lambda row: row | {"ra": "12h"}, "column ra must hold numbers"),
        (lambda row: row | {"id": None}, "no id"),
        (lambda row: {name: value for name, value in row.items() if name != "mag"}, "no column mag"),
    ],
)
def test_what_cannot_be_read_is_said(
    rows: list[Row], tmp_path: Path, changed: Callable[[Row], Row], said: str
) -> None:
    with pytest.raises(ConfigurationError, match=said):
        read_unsorted(written(tmp_path / "stars.parquet", [changed(row) for row in rows]))


def test_a_column_that_is_there_twice_is_named(rows: list[Row], tmp_path: Path) -> None:
    table = pa.Table.from_pylist(rows)
    pq.write_table(table.append_column("ra", table["ra"]), tmp_path / "stars.parquet")
    with pytest.raises(ConfigurationError, match=r"stars\.parquet has several columns ra; leave one$"):
        read_unsorted(tmp_path / "stars.parquet")


def test_outputs_never_replace_the_stars(rows: list[Row], tmp_path: Path) -> None:
    stars = written(tmp_path / "stars.parquet", rows)
    before = stars.read_bytes()
    for out, predictions in ((stars, None), (tmp_path / "m.json", stars), (tmp_path / "m", tmp_path / "m")):
        with pytest.raises(ConfigurationError, match=r"is an input|are one file"):
            evaluate_bundle("default", stars, out, predictions)
    assert stars.read_bytes() == before
    with pytest.raises(ConfigurationError, match="is a directory"):
        evaluate_bundle("default", stars, tmp_path / "m.json", tmp_path)
    assert [*tmp_path.iterdir()] == [stars]


def test_a_file_without_stars_is_refused(rows: list[Row], tmp_path: Path) -> None:
    pq.write_table(pa.Table.from_pylist(rows).slice(0, 0), tmp_path / "none.parquet")
    with pytest.raises(ConfigurationError, match="holds no star"):
        read_unsorted(tmp_path / "none.parquet")
    stars = written(tmp_path / "stars.parquet", rows)
    seen = named_stars([f"css:{row['id']}" for row in rows])
    with pytest.raises(ConfigurationError, match="every star"):
        evaluate_bundle("default", stars, tmp_path / "m.json", None, seen=seen)
