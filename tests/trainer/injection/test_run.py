# SPDX-License-Identifier: BSD-3-Clause
"""`trainer inject` end to end: what it writes can be computed again from what it predicted."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn.metrics import roc_auc_score

from broker_plugin.bundle import open_bundle
from broker_plugin.errors import ConfigurationError
from tests.trainer.synthetic import named_stars, write_catalogue
from trainer.cli import make_app
from trainer.data.catalina import FILE
from trainer.data.used import NO_STARS
from trainer.injection import priors
from trainer.injection.run import Asked, measure_injections

STARS_PER_CLASS = 40
"""Of seven ordinary classes: 280 stars, of which 56 grow the baseline's forest."""


def asked(data: Path, folder: Path, **changes: Any) -> Asked:
    default: dict[str, Any] = {
        "bundle": "default",
        "data": data,
        "out": folder / "injected.json",
        "predictions": folder / "injected.parquet",
        "seen": NO_STARS,
        "hosts": 6,
        "settings": ("10",),
        "seed": 1,
        "workers": 1,
    }
    return Asked(**default | changes)


@pytest.fixture(scope="module")
def catalogue(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_catalogue(tmp_path_factory.mktemp("stars"), stars_per_class=STARS_PER_CLASS)


@pytest.fixture(scope="module")
def measured(catalogue: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Path]:
    folder = tmp_path_factory.mktemp("measured")
    totals: list[int] = []
    done: list[int] = []
    results = measure_injections(asked(catalogue, folder), begin=totals.append, advance=done.append)
    assert sum(done) == totals[0]
    return results, folder


def test_measures_follow_from_the_predictions(measured: tuple[dict[str, Any], Path]) -> None:
    results, folder = measured
    assert json.loads((folder / "injected.json").read_text()) == results
    assert (folder / "injected.png").read_bytes().startswith(b"\x89PNG")
    table = pq.read_table(folder / "injected.parquet")
    kind, score = table["kind"].to_numpy(), table["anomaly_score"].to_numpy()
    found = results["settings"]["10"]
    ordinary = score[kind == "ordinary"]
    n = len(ordinary)
    assert n == results["stars"]["ordinary"]
    threshold = np.sort(ordinary)[n - int(0.01 * (n + 1))]
    kinds = [each for each in priors.DISCOVERIES if (kind == each).any()]
    # The made-up stars are never exposed twice in a night, so none of them can show a flare.
    assert kinds == ["microlensing", "fade", "outburst"]
    for each in kinds:
        odd = score[kind == each]
        area = roc_auc_score(np.r_[np.zeros(n), np.ones(len(odd))], np.r_[ordinary, odd])
        assert found["anomaly_score"]["auroc"][each] == pytest.approx(area, abs=1e-12)
        recall = found["anomaly_score"]["recall"]["0.01"]["by_kind"][each]["recall"]
        assert recall == pytest.approx((odd > threshold).mean(), abs=1e-12)
    assert "too_few" in found["anomaly_score"]["recall"]["0.001"]


def test_flags_follow_from_the_likeliest_oddity(measured: tuple[dict[str, Any], Path]) -> None:
    results, folder = measured
    table = pq.read_table(folder / "injected.parquet")
    kind, oddity = table["kind"].to_numpy(), table["oddity"].to_numpy()
    assert set(oddity) <= set(open_bundle("default").manifest.head.oddities)
    flags = results["settings"]["10"]["flags"]
    for each in ("ordinary", *priors.ARTEFACTS):
        assert flags["glitch"][each]["share"] == (oddity[kind == each] == "glitch").mean()
        assert 0 <= flags["strange_and_no_glitch"][each]["share"] <= 1 - flags["glitch"][each]["share"]
    assert flags["glitch"]["flare"] is None


def test_ordinary_hosts_are_of_known_classes_and_apart_from_the_baseline(
    measured: tuple[dict[str, Any], Path],
) -> None:
    results, folder = measured
    table = pq.read_table(folder / "injected.parquet")
    assert not {"RRd", "CEPII", "ACEP"} & set(table["published"].to_pylist())
    kind, star = table["kind"].to_numpy(), table["id"].to_numpy()
    assert set(star[kind != "ordinary"]) <= set(star[kind == "ordinary"])
    stars = results["stars"]
    assert stars["baseline"] + stars["ordinary"] == 7 * STARS_PER_CLASS + 1
    assert stars["hosts"] == 6


def test_what_must_be_known_of_the_stars_stands_beside_the_measures(
    measured: tuple[dict[str, Any], Path],
) -> None:
    remarks = measured[0]["remarks"]
    assert any(line.startswith("left out: 1 of the file's") for line in remarks)


def test_too_few_stars_are_refused_with_what_is_needed(catalogue: Path, tmp_path: Path) -> None:
    ids = pq.read_table(catalogue, columns=["id"])["id"].to_pylist()
    seen = named_stars([f"css:{each}" for each in ids[20:]])
    said = rf"has 20 ordinary .* 250 are needed \(of the others 0 .*, {len(ids) - 20} were trained"
    with pytest.raises(ConfigurationError, match=said):
        measure_injections(asked(catalogue, tmp_path, seen=seen))


SPELLINGS = {
    "Ecl_contact_semidetached": "ew",
    "EA_detached": "Beta Persei",
    "RRab": "RR Lyrae FM",
    "LPV": "Mira",
    "ROT": "rot",
    "DSCT": "delta scuti",
}
"""Classes of the made-up stars, and what other catalogues call them."""


def test_ordinary_stars_are_known_in_any_spelling(catalogue: Path, tmp_path: Path) -> None:
    rows = pq.read_table(catalogue).to_pylist()
    n = len(rows) - sum(row["sss_class"] in ("RRd", "CEPII") for row in rows)
    for row in rows:
        row["sss_class"] = SPELLINGS.get(row["sss_class"], row["sss_class"])
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "stars.parquet")
    (tmp_path / "out").mkdir()
    found = measure_injections(asked(tmp_path / "stars.parquet", tmp_path / "out", hosts=1))
    assert found["stars"]["baseline"] + found["stars"]["ordinary"] == n


@pytest.mark.parametrize(
    ("out", "predictions", "said"),
    [
        ("stars.parquet", None, "is an input as well"),
        ("found.json", "stars.parquet", "is an input as well"),
        ("found.png", None, "is where the figure goes"),
        ("found.json", "found.png", "are one file"),
        (".", None, "is a directory"),
        ("found.json", ".", "is a directory"),
        ("stars.parquet/found.json", None, "cannot write"),
    ],
)
def test_outputs_that_cannot_be_are_refused_before_anything_is_scored(
    catalogue: Path, tmp_path: Path, out: str, predictions: str | None, said: str
) -> None:
    data = tmp_path / "stars.parquet"
    shutil.copy(catalogue, data)
    given = {"out": tmp_path / out, "predictions": None if predictions is None else tmp_path / predictions}
    begun: list[int] = []
    with pytest.raises(ConfigurationError, match=said):
        measure_injections(asked(data, tmp_path, **given), begin=begun.append)
    assert begun == []
    assert [path.name for path in tmp_path.iterdir()] == ["stars.parquet"]
    assert data.read_bytes() == catalogue.read_bytes()


def test_measures_that_come_to_nothing_leave_older_files_as_they_were(
    catalogue: Path, tmp_path: Path
) -> None:
    (tmp_path / "injected.json").write_text("{}")

    def broken(_: int) -> None:
        raise RuntimeError

    with pytest.raises(RuntimeError):
        measure_injections(asked(catalogue, tmp_path), advance=broken)
    assert [path.name for path in tmp_path.iterdir()] == ["injected.json"]
    assert (tmp_path / "injected.json").read_text() == "{}"


def test_the_command_prints_tables_that_fit_a_terminal(
    catalogue: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    out = tmp_path / "injected.json"
    flags = ["--hosts", "2", "--settings", "10", "--data", str(catalogue), "--out", str(out)]
    make_app("inject")(["inject", *flags], result_action="return_value")
    printed = capsys.readouterr().out
    assert "Injected events" in printed
    assert "Flagged as a fault" in printed
    assert "…" not in printed
    assert catalogue.name == Path(FILE).name
