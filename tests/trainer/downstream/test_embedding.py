# SPDX-License-Identifier: BSD-3-Clause
"""The embeddings file holds what the scorer of the stream says, and nothing comes from the labels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from broker_plugin.engine.scorer import Scorer
from broker_plugin.errors import ConfigurationError
from tests.trainer.synthetic import write_catalogue
from trainer.data.catalina import FILE
from trainer.data.used import NO_STARS
from trainer.downstream.embedding import embed, embed_command
from trainer.downstream.storage import read_curves, read_embeddings, read_features
from trainer.downstream.subjects import read_subjects
from trainer.downstream.table import Embeddings


@pytest.fixture(scope="module")
def scorer() -> Scorer:
    return Scorer.open("default", device="cpu", embeddings=True)


@pytest.fixture(scope="module")
def stars(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small catalogue, the first star of which is listed twice."""
    data = tmp_path_factory.mktemp("few")
    write_catalogue(data, stars_per_class=3)
    rows = pq.read_table(data / FILE).to_pylist()
    rows.append(rows[0] | {"id": 77, "ra": rows[0]["ra"] + 1e-4, "gcvs_type": "EB"})
    pq.write_table(pa.Table.from_pylist([{"gcvs_type": None} | row for row in rows]), data / FILE)
    return data / FILE


def embedded(path: Path, scorer: Scorer, out: Path, **how: object) -> Embeddings:
    subjects = read_subjects([path], **how)  # type: ignore[arg-type]
    embed(subjects, scorer, out, seen=NO_STARS, source=path.name, features=True)
    return read_embeddings(out)


@pytest.fixture(scope="module")
def made(stars: Path, scorer: Scorer, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Embeddings]:
    out = tmp_path_factory.mktemp("embedded") / "embeddings.parquet"
    return out, embedded(stars, scorer, out)


def test_it_is_what_the_scorer_says(stars: Path, scorer: Scorer, made: tuple[Path, Embeddings]) -> None:
    path, table = made
    subjects = list(read_subjects([stars]).rows)
    curves = read_curves(path, range(len(table)))
    for row, (subject, verdict) in enumerate(
        zip(subjects, scorer.score([each.alert for each in subjects]), strict=True)
    ):
        assert table.id[row] == subject.id
        assert np.array_equal(table.vectors["fused"][row], np.array(verdict.embedding, np.float32))
        assert table.probability[row].tolist() == list(verdict.class_probabilities.values())
        assert table.anomaly_p_value[row] == verdict.anomaly_p_value
        assert table.calibration_stratum[row] == verdict.calibration_stratum
        assert [name for name in table.about.modalities if table.present[name][row]] == list(
            verdict.modalities
        )
        assert len(curves[row]) <= len(subject.alert.light_curve) == table.n_epochs[row]
    for name in table.about.sources:
        # Unit vectors in float32.
        norm = np.linalg.norm(table.vectors[name][table.present[name]], axis=1)
        assert np.allclose(norm, 1, atol=1e-5)
    assert np.isfinite(read_features(path)).all()


def test_a_star_that_is_listed_twice_is_one_object(made: tuple[Path, Embeddings]) -> None:
    _, table = made
    # The made-up catalogue lists its first star twice by itself.
    assert np.flatnonzero(table.group == table.group[0]).tolist() == [0, len(table) - 2, len(table) - 1]
    assert len(np.unique(table.group)) == len(table) - 2
    assert table.other_type[-1] == "EB"
    assert table.row_of("77") == len(table) - 1
    with pytest.raises(ConfigurationError, match="no object"):
        table.row_of("nobody")


def test_labels_and_periods_are_no_inputs(
    stars: Path, scorer: Scorer, made: tuple[Path, Embeddings], tmp_path: Path
) -> None:
    rows = pq.read_table(stars).to_pylist()
    blank = [row | {"sss_class": None, "gcvs_type": None, "period": None, "amp": 1.0} for row in rows]
    pq.write_table(pa.Table.from_pylist(blank, schema=pq.read_schema(stars)), tmp_path / "blank.parquet")
    table = embedded(tmp_path / "blank.parquet", scorer, tmp_path / "blank-embeddings.parquet")
    assert (table.label == "").all()
    assert np.isnan(table.catalogue_period_day).all()
    for name in table.about.sources:
        assert np.array_equal(table.vectors[name], made[1].vectors[name])


def test_fewer_epochs_and_a_given_period_are_another_input(
    stars: Path, scorer: Scorer, made: tuple[Path, Embeddings], tmp_path: Path
) -> None:
    first = embedded(stars, scorer, tmp_path / "first.parquet", first=10)
    assert (first.n_epochs == 10).all()
    given = embedded(stars, scorer, tmp_path / "given.parquet", period=True)
    for table in (first, given):
        assert not np.array_equal(table.vectors["fused"], made[1].vectors["fused"])


def test_stars_of_which_nothing_is_known_are_stars(
    stars: Path, scorer: Scorer, made: tuple[Path, Embeddings], tmp_path: Path
) -> None:
    unknown = pq.read_table(stars).drop_columns(["sss_class", "period", "gcvs_type"])
    pq.write_table(unknown, tmp_path / "unknown.parquet")
    table = embedded(tmp_path / "unknown.parquet", scorer, tmp_path / "e.parquet")
    assert (table.label == "").all()
    assert np.isnan(table.catalogue_period_day).all()
    assert np.array_equal(table.vectors["fused"], made[1].vectors["fused"])


@pytest.mark.parametrize(
    ("second", "said"),
    [(None, "row 2 has no id"), (float("nan"), "row 2 has no id"), (3, "2 rows have the id 3")],
)
def test_ids_that_are_none_are_refused(stars: Path, tmp_path: Path, second: float | None, said: str) -> None:
    table = pq.read_table(stars).slice(0, 3)
    ids = pa.array([1, second, 3])
    pq.write_table(table.set_column(table.column_names.index("id"), "id", ids), tmp_path / "odd.parquet")
    with pytest.raises(ConfigurationError, match=f"odd.parquet: {said}"):
        read_subjects([tmp_path / "odd.parquet"])


def test_objects_share_no_id(simulated: Path, tmp_path: Path) -> None:
    table = pq.read_table(simulated)
    pq.write_table(pa.concat_tables([table, table.slice(5, 1)]), tmp_path / "twice.parquet")
    name = table["object_id"][5].as_py()
    with pytest.raises(ConfigurationError, match=f"2 rows have the object_id {name}"):
        read_subjects([tmp_path / "twice.parquet"])


@pytest.mark.parametrize("place", ["file/e.parquet", "/proc/e.parquet", "/proc/none/e.parquet"])
def test_where_nothing_can_be_written_is_said(
    stars: Path, scorer: Scorer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigurationError, match="cannot write"):
        embed(read_subjects([stars]), scorer, Path(place), seen=None, source="stars")


def test_of_an_archive_each_object_comes_once_with_its_latest_alert(data_dir: Path, scorer: Scorer) -> None:
    subjects = list(read_subjects([data_dir / "alerts/lsst/lsst_v9_0_nocutouts.avro"]).rows)
    assert len({each.id for each in subjects}) == len(subjects) <= 229
    assert all(each.id == each.alert.object_id and each.label is None for each in subjects)
    with pytest.raises(ConfigurationError, match="--first"):
        read_subjects([data_dir / "alerts/lsst/lsst_v9_0_nocutouts.avro"], first=10)


def test_simulated_objects_stay_marked(simulated: Path, scorer: Scorer, tmp_path: Path) -> None:
    subjects = read_subjects([simulated])
    embed(subjects, scorer, tmp_path / "s.parquet", seen=None, source="s")
    table = read_embeddings(tmp_path / "s.parquet")
    assert table.about.simulated
    assert (table.seen == -1).all()
    assert len(table) == 200


def test_unseen_without_knowing_what_was_seen_is_refused(catalogue: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="--trained-on"):
        embed_command(data=[catalogue / FILE], out=tmp_path / "e.parquet", unseen=True)
    assert not (tmp_path / "e.parquet").exists()


def test_with_nothing_to_embed_an_older_file_stays(tmp_path: Path) -> None:
    text, older = tmp_path / "text.avro", tmp_path / "e.parquet"
    text.write_text("no packet")
    older.write_text("older")
    with pytest.raises(ConfigurationError, match=r"nothing to embed in .*text\.avro"):
        embed_command(data=[text], out=older)
    assert older.read_text() == "older"


def test_a_file_of_anything_else_is_no_embeddings(catalogue: Path, tmp_path: Path) -> None:
    for path in (catalogue / FILE, tmp_path / "absent.parquet"):
        with pytest.raises(ConfigurationError, match="trainer embed"):
            read_embeddings(path)


def test_the_advice_spares_the_file_of_stars(catalogue: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"--out \S*catalina_sss-embeddings\.parquet"):
        read_embeddings(catalogue / FILE)
