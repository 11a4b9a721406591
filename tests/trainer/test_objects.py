# SPDX-License-Identifier: BSD-3-Clause
"""What is written as a dataset is read back, bit for bit, and nothing else is accepted."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from broker_plugin.errors import ConfigurationError
from broker_plugin.records import METADATA_COLUMNS, Access, AlertBatch, LightCurve, Spectrum
from trainer.data import objects
from trainer.data.objects import (
    ObjectRow,
    alert_of,
    alerts_of,
    card_digest_of,
    count_objects,
    iter_objects,
    write_objects,
)


def light_curve(rng: np.random.Generator, n: int) -> LightCurve:
    return LightCurve.from_columns(
        mjd_tai=np.sort(rng.uniform(53000, 60000, n)),
        flux_njy=rng.normal(1e5, 1e3, n),
        flux_err_njy=rng.uniform(10, 100, n),
        band=rng.integers(0, 10, n),
        origin=np.zeros(n),
        apparent=np.ones(n),
        detector=np.zeros(n),
        access=np.full(n, Access.PUBLIC),
    )


def spectrum(rng: np.random.Generator, n: int) -> Spectrum:
    return Spectrum(
        wave_aa=np.linspace(3700, 9000, n),
        flux=rng.normal(1, 0.1, n).astype(np.float32),
        inverse_variance=rng.uniform(0, 100, n).astype(np.float32),
        access=Access.PUBLIC,
    )


def some_rows(rng: np.random.Generator, n: int) -> list[ObjectRow]:
    """Rows that lack each modality in turn; an empty light curve is not a missing one."""
    return [
        ObjectRow(
            object_id=f"made-up:{number}",
            ra_deg=None if number % 6 == 5 else float(rng.uniform(0, 360)),
            dec_deg=None if number % 6 == 5 else float(rng.uniform(-90, 90)),
            split=objects.SPLITS[number % 4],
            source="made-up",
            label=None if number % 5 == 0 else "EW",
            published_label=None if number % 10 == 0 else "EB",
            simulated=True,
            light_curve=None if number % 3 == 0 else light_curve(rng, number % 7),
            spectrum=None if number % 4 == 0 else spectrum(rng, 5 + number),
            metadata={name: float(np.float32(rng.normal())) for name in METADATA_COLUMNS[: number % 12]},
            period_day=None if number % 2 else 0.5,
        )
        for number in range(n)
    ]


def assert_same(one: ObjectRow, other: ObjectRow) -> None:
    for column in fields(ObjectRow):
        a, b = getattr(one, column.name), getattr(other, column.name)
        if isinstance(a, LightCurve | Spectrum):
            assert type(a) is type(b)
            for part in fields(a):
                np.testing.assert_array_equal(getattr(a, part.name), getattr(b, part.name))
        else:
            assert a == b


def test_rows_come_back_as_they_were(
    tmp_path: Path, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(objects, "ROWS_PER_GROUP", 7)
    rows, path = some_rows(rng, 30), tmp_path / "objects.parquet"
    assert write_objects(path, iter(rows), card_sha256="abc") == 30 == count_objects(path)
    assert pq.ParquetFile(path).num_row_groups == 5
    assert card_digest_of(path) == "abc"
    for one, other in zip(rows, iter_objects(path), strict=True):
        assert_same(one, other)
    tests = [row.object_id for row in iter_objects(path, split="test")]
    assert tests == [row.object_id for row in rows if row.split == "test"]


def test_what_ends_the_writing_leaves_an_older_file_and_nothing_else(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    path = tmp_path / "objects.parquet"
    path.write_text("older")

    def interrupted() -> Iterator[ObjectRow]:
        yield from some_rows(rng, 3)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_objects(path, interrupted())
    assert [each.read_text() for each in tmp_path.iterdir()] == ["older"]


def test_equal_rows_give_equal_bytes(tmp_path: Path, rng: np.random.Generator) -> None:
    rows = some_rows(rng, 20)
    write_objects(tmp_path / "a", rows)
    write_objects(tmp_path / "b", iter_objects(tmp_path / "a"))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_alerts_hold_what_the_rows_hold_except_answers(tmp_path: Path, rng: np.random.Generator) -> None:
    rows = some_rows(rng, 12)
    write_objects(tmp_path / "a", rows)
    alerts = list(alerts_of(tmp_path / "a"))
    batch = AlertBatch.from_alerts(alerts)
    assert [alert.object_id for alert in batch] == [row.object_id for row in rows]
    assert len(set(batch.alert_id)) == len(rows)
    for row, alert in zip(rows, alerts, strict=True):
        assert len(alert.light_curve) == (0 if row.light_curve is None else len(row.light_curve))
        assert alert.light_curve.apparent.all()
        assert (alert.light_curve.access == Access.PUBLIC).all()
        assert alert.metadata == row.metadata
        changed = replace(row, label="EA", published_label="x", period_day=9.0, split="test")
        assert alert_of(changed).alert_id == alert.alert_id


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"split": "valid"}, "split"),
        ({"ra_deg": float("nan")}, "position"),
        ({"ra_deg": None}, "position"),
        ({"metadata": {"amp": 1.0}}, "amp"),
        ({"metadata": {"reference_mag": float("nan")}}, "finite"),
        ({"light_curve": LightCurve.from_columns(mjd_tai=[2.0, 1.0])}, "order"),
    ],
)
def test_rows_that_break_the_layout_are_refused_and_leave_no_file(
    tmp_path: Path, rng: np.random.Generator, change: dict[str, object], fault: str
) -> None:
    row = some_rows(rng, 1)[0]
    light_curve = change.get("light_curve")
    if isinstance(light_curve, LightCurve):
        known = {
            name: np.ones(2) for name in ("flux_njy", "flux_err_njy", "band", "apparent", "origin", "access")
        }
        change = {
            "light_curve": LightCurve.from_columns(
                mjd_tai=light_curve.mjd_tai, detector=np.zeros(2, int), **known
            )
        }
    with pytest.raises(ValueError, match=fault):
        write_objects(tmp_path / "a", [replace(row, **change)])
    assert not (tmp_path / "a").exists()


def test_one_id_is_one_object(tmp_path: Path, rng: np.random.Generator) -> None:
    row = some_rows(rng, 1)[0]
    with pytest.raises(ValueError, match="twice"):
        write_objects(tmp_path / "a", [row, row])


def test_other_files_are_refused_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="trainer build"):
        next(iter_objects(tmp_path / "none"))
    (tmp_path / "text").write_text("no parquet")
    with pytest.raises(ConfigurationError, match="no Parquet"):
        next(iter_objects(tmp_path / "text"))
    pq.write_table(pa.table({"object_id": ["a"]}), tmp_path / "other")
    with pytest.raises(ConfigurationError, match=r"holds lightcurves/catalina_sss\.parquet: give --data"):
        next(iter_objects(tmp_path / "other"))
