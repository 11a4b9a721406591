# SPDX-License-Identifier: BSD-3-Clause
"""The commands write what they say, and measure only on what the bundle has not seen."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from broker_plugin.errors import ConfigurationError
from tests.conftest import SEED
from tests.trainer.downstream.made import CLASSES, write_made
from trainer.downstream.audit import audit
from trainer.downstream.chart import chart
from trainer.downstream.common import measurable
from trainer.downstream.rank import OBJECTS_MIN, rank
from trainer.downstream.similar import similar
from trainer.downstream.storage import read_embeddings

N = 600


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Objects of three classes; one label in twenty is wrong, the last thirty are unknown."""
    path = tmp_path_factory.mktemp("made") / "embeddings.parquet"
    label = [CLASSES[number % 3] for number in range(N)]
    for number in range(0, N, 20):
        label[number] = CLASSES[(number + 1) % 3]
    label[-30:] = ["CEP"] * 30
    write_made(
        path,
        np.random.default_rng(SEED),
        N,
        label=label,
        published=label,
        seen=[n % 2 == 0 for n in range(N)],
    )
    return path


@pytest.fixture(scope="module")
def unseen(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As many objects as a ranking needs."""
    path = tmp_path_factory.mktemp("unseen") / "embeddings.parquet"
    write_made(path, np.random.default_rng(SEED), OBJECTS_MIN)
    return path


def written(path: Path) -> Any:
    return json.loads(path.read_text())


def test_similar_lists_and_draws_the_nearest(source: Path, tmp_path: Path) -> None:
    similar(embeddings=source, id="made:5", number=4, out=tmp_path)
    found = written(tmp_path / "similar-made-5-fused.json")
    table = read_embeddings(source)
    cosine = table.vectors["fused"] @ table.vectors["fused"][5]
    cosine[5] = -2
    assert [each["id"] for each in found["neighbours"]] == table.id[np.argsort(-cosine)[:4]].tolist()
    page = (tmp_path / "similar-made-5-fused.html").read_text()
    assert page.count("<svg") == 5
    assert "SIMULATED" not in page
    assert "http" not in page.replace("http-equiv", "").replace("http://www.w3.org", "")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"id": None}, "--id"),
        ({"id": "made:1", "by": "spectrum"}, "--by"),
        ({"id": "made:1", "number": 10_000}, "599 other"),
        ({"id": "made:99999"}, "no object"),
    ],
)
def test_similar_says_what_cannot_be(
    source: Path, tmp_path: Path, options: dict[str, Any], said: str
) -> None:
    with pytest.raises(ConfigurationError, match=said):
        similar(embeddings=source, out=tmp_path, **options)


def test_the_embeddings_of_nothing_are_said_to_be_empty(tmp_path: Path, rng: np.random.Generator) -> None:
    write_made(tmp_path / "e.parquet", rng, 0)
    with pytest.raises(ConfigurationError, match=r"e\.parquet holds no object"):
        similar(embeddings=tmp_path / "e.parquet", id="made:1", out=tmp_path)


@pytest.mark.parametrize("place", ["file", "file/within", "/proc/downstream"])
@pytest.mark.parametrize(
    ("command", "options"),
    [
        (similar, {"id": "made:5"}),
        (similar, {"measure": True}),
        (audit, {}),
        (audit, {"measure": True}),
        (rank, {}),
        (chart, {}),
        (chart, {"measure": True}),
    ],
)
def test_where_nothing_can_be_written_is_said_before_the_work(
    unseen: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    command: Callable[..., None],
    options: dict[str, Any],
    place: str,
) -> None:
    (tmp_path / "file").write_text("not to be lost")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigurationError, match=f"cannot write {place}"):
        command(embeddings=unseen, out=Path(place), **options)
    assert (tmp_path / "file").read_text() == "not to be lost"


def test_more_clusters_than_objects_are_refused(source: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="--clusters 500: there are 189 objects of class LPV"):
        chart(embeddings=source, within="LPV", clusters=500, out=tmp_path)


def test_similarity_is_measured_by_modality_and_against_features(source: Path, tmp_path: Path) -> None:
    similar(embeddings=source, measure=True, out=tmp_path)
    found = written(tmp_path / "similarity.json")
    macro = {name: each["macro"] for name, each in found["by_space"].items()}
    chance = found["chance"]["macro"]
    assert macro["fused"] == macro["light_curve"] > 0.85
    assert macro["metadata"] == pytest.approx(chance, abs=0.08)
    assert macro["features"] > 0.7
    assert found["trained_on"] == 0
    assert set(found["chance"]["by_class"]) == set(CLASSES)
    assert (tmp_path / "similarity.png").stat().st_size > 0


def test_the_audit_puts_wrong_labels_first(source: Path, tmp_path: Path) -> None:
    audit(embeddings=source, number=5, out=tmp_path)
    with (tmp_path / "audit.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == N
    wrong = {f"made:{number}" for number in range(0, N - 30, 20)}
    first = {row["id"] for row in rows[: len(wrong)] if row["label"] != "CEP"}
    assert len(first & wrong) > 0.8 * len(first)
    assert (tmp_path / "audit.html").read_text().count("<article") == 5


def test_the_audit_is_measured_on_unseen_labels_only(source: Path, tmp_path: Path) -> None:
    audit(embeddings=source, measure=True, seeds=2, out=tmp_path)
    found = written(tmp_path / "audit-measure.json")
    assert found["trained_on"] == 0
    assert found["objects"] == len(measurable(read_embeddings(source)))
    assert found["seeds"] == 2


def test_rank_gives_both_rankings_and_leaves_out_what_was_seen(
    tmp_path: Path, rng: np.random.Generator, capsys: pytest.CaptureFixture[str]
) -> None:
    n = 460
    label = [CLASSES[number % 3] for number in range(n)]
    label[:20] = ["CEP"] * 20
    seen = [None] * 7 + [k >= 450 for k in range(7, n)]
    write_made(tmp_path / "e.parquet", rng, n, label=label, published=label, seen=seen)
    rank(embeddings=tmp_path / "e.parquet", number=3, measure=True, seeds=1, out=tmp_path)
    with (tmp_path / "rank.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {row["id"] for row in rows} == {f"made:{number}" for number in range(450)}
    found = written(tmp_path / "rank.json")
    assert found["ordinary"] == 430
    assert found["not_known_whether_trained_on"] == 7
    assert "of 7 of 450 objects it is not known" in capsys.readouterr().err
    assert found["measured"]["odd_objects"] == {"CEP": 20}
    assert set(found["measured"]["found"]) == {"one forest", "class forests"}
    assert (tmp_path / "rank.html").read_text().count("<article") == 6


def test_a_ranking_of_few_is_refused(tmp_path: Path, rng: np.random.Generator) -> None:
    write_made(tmp_path / "e.parquet", rng, 60)
    with pytest.raises(ConfigurationError, match="a ranking needs"):
        rank(embeddings=tmp_path / "e.parquet", out=tmp_path)


def test_subclasses_without_members_are_said_to_be_too_few(source: Path, tmp_path: Path) -> None:
    chart(embeddings=source, measure=True, seeds=1, out=tmp_path)
    assert set(written(tmp_path / "subclasses.json")["by_subclass"].values()) == {None}


def test_nothing_is_measured_where_all_was_seen(tmp_path: Path, rng: np.random.Generator) -> None:
    write_made(tmp_path / "e.parquet", rng, 40, seen=[True] * 40)
    with pytest.raises(ConfigurationError, match="trained on all"):
        similar(embeddings=tmp_path / "e.parquet", measure=True, out=tmp_path)


@pytest.mark.slow
def test_a_map_shows_a_class_by_its_clusters(tmp_path: Path, rng: np.random.Generator) -> None:
    pytest.importorskip("umap", reason="pip install '.[map]'", exc_type=ImportError)
    # Slow, since the library compiles itself for a minute.
    write_made(tmp_path / "e.parquet", rng, 90, simulated=True, label=["LPV"] * 90)
    chart(embeddings=tmp_path / "e.parquet", within="LPV", clusters=3, neighbours=10, out=tmp_path)
    with (tmp_path / "map-LPV.csv").open() as file:
        rows = list(csv.DictReader(file))
    # The clusters are the three blobs that the vectors were made of, whatever the map looks like.
    assert len({(int(row["id"].rpartition(":")[2]) % 3, row["cluster"]) for row in rows}) == 3
    assert written(tmp_path / "clusters-LPV.json")["clusters"][0]["objects"] == 30
    assert "SIMULATED" in (tmp_path / "clusters-LPV.html").read_text()
    assert (tmp_path / "map-LPV.png").stat().st_size > 0
