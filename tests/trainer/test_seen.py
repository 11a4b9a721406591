# SPDX-License-Identifier: BSD-3-Clause
"""Which stars a bundle was made from is worked out anew, and `trainer evaluate` acts on it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from broker_plugin.bundle import open_bundle
from broker_plugin.errors import ConfigurationError
from tests.trainer.synthetic import tiny_settings, write_catalogue
from trainer.data.catalina import FILE, file_digest
from trainer.data.unsorted import read_unsorted
from trainer.downstream.subjects import read_subjects
from trainer.evaluate_command import evaluate
from trainer.injection.command import inject
from trainer.preparation import Prepared, prepare, seen_stars
from trainer.report.subject import open_subject
from trainer.seen import is_training_file, seen_by_bundle, unseen_stars


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    """A run on few stars: each is scored eight times."""
    data = tmp_path_factory.mktemp("few")
    write_catalogue(data, stars_per_class=8)
    return prepare(tiny_settings(), data, data, say=lambda line: None)


@pytest.fixture(scope="module")
def bundle(few: Prepared, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The default bundle, whose manifest says that it was made by that run."""
    folder = tmp_path_factory.mktemp("made") / "bundle"
    shutil.copytree(open_bundle("default").path, folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["training"] = {
        "data": dict(few.run.data),
        "settings": few.run.settings.model_dump(mode="json"),
    }
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


def test_what_a_bundle_has_seen_follows_from_its_manifest(prepared: Prepared, catalogue: Path) -> None:
    training = {
        "data": dict(prepared.run.data),
        "settings": prepared.run.settings.model_dump(mode="json"),
    }
    manifest = open_bundle("default").manifest.model_copy(update={"training": training})
    assert file_digest(catalogue / FILE) == training["data"]["sha256"]
    assert is_training_file(manifest, catalogue / FILE)
    assert seen_by_bundle(manifest, catalogue / FILE).names == seen_stars(prepared.cache.parent).names
    other = {**training, "settings": {**training["settings"], "seed": 8}}
    # Another seed gives as many stars of other names; other shares are noticed.
    of_another = seen_by_bundle(manifest.model_copy(update={"training": other}), catalogue / FILE)
    assert of_another.names != seen_by_bundle(manifest, catalogue / FILE).names
    other["settings"]["data"]["split_fractions"] = [0.5, 0.2, 0.2, 0.1]
    with pytest.raises(ConfigurationError, match="another way"):
        seen_by_bundle(manifest.model_copy(update={"training": other}), catalogue / FILE)


def test_a_file_that_it_was_not_trained_on_is_refused(catalogue: Path) -> None:
    manifest = open_bundle("default").manifest
    assert not is_training_file(manifest, catalogue / FILE)
    with pytest.raises(ConfigurationError, match="SHA-256"):
        seen_by_bundle(manifest, catalogue / FILE)


def test_evaluate_leaves_out_what_the_bundle_has_seen(few: Prepared, bundle: Path, tmp_path: Path) -> None:
    data, out, predictions = few.cache.parent / FILE, tmp_path / "metrics.json", tmp_path / "found.parquet"
    evaluate(bundle=str(bundle), data=data, unseen=True, out=out, predictions=predictions)
    every = {f"css:{each}" for each in pq.read_table(data, columns=["id"])["id"].to_pylist()}
    measured = {f"css:{each}" for each in pq.read_table(predictions, columns=["id"])["id"].to_pylist()}
    assert measured == every - seen_stars(few.cache.parent).names
    assert len(measured) < len(every)


def test_evaluate_warns_where_it_measures_what_the_bundle_has_seen(
    few: Prepared, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = partly_seen(few, tmp_path)
    evaluate(data=data, out=tmp_path / "metrics.json")
    assert "2 stars among its references" in capsys.readouterr().err
    assert any("2 stars among its references" in line for line in open_subject("default", data).remarks)


def partly_seen(few: Prepared, folder: Path) -> Path:
    """Return a file of six stars, two of which have the names of references of the default bundle."""
    bundle, data = open_bundle("default"), folder / "stars.parquet"
    seen = bundle.arrays(bundle.manifest.reference_file)["object_id"][:2].tolist()
    rows = pq.read_table(few.cache.parent / FILE).to_pylist()[:6]
    for row, name in zip(rows, seen, strict=False):
        row["id"] = int(name.removeprefix("css:"))
    pq.write_table(pa.Table.from_pylist(rows), data)
    return data


def test_inject_leaves_out_what_evaluate_leaves_out(few: Prepared, bundle: Path, tmp_path: Path) -> None:
    data, seen = few.cache.parent / FILE, seen_stars(few.cache.parent).names
    rows = pq.read_table(data, columns=["id", "sss_class"]).to_pylist()
    n = sum(f"css:{row['id']}" not in seen and row["sss_class"] not in ("RRd", "CEPII") for row in rows)
    with pytest.raises(ConfigurationError, match=f"has {n} ordinary stars"):
        inject(bundle=str(bundle), data=data, unseen=True, out=tmp_path / "injected.json")
    with pytest.raises(ConfigurationError, match="leave one out"):
        inject(bundle=str(bundle), data=data, unseen=True, run=few.cache.parent)


def test_the_report_leaves_out_what_the_run_of_its_bundle_has_seen(
    few: Prepared, bundle: Path, tmp_path: Path
) -> None:
    run, data = few.cache.parent, tmp_path / "part.parquet"
    rows = pq.read_table(run / FILE)
    pq.write_table(rows.slice(0, len(rows) - 3), data)
    names = {f"css:{each}" for each in pq.read_table(data, columns=["id"])["id"].to_pylist()}
    seen = seen_stars(run).names & names
    subject = open_subject(str(bundle), data, run=run)
    assert subject.left_out == len(seen)
    assert not seen & set(subject.stars.stars.star_id.tolist())
    assert f"made from them: {len(seen)} stars" in subject.remarks[0]
    # Of a bundle that is of another run, or of no run, nothing is known but its references.
    assert open_subject("default", data, run=run).left_out == 0
    assert open_subject(str(bundle), data).left_out == 0


def test_stars_that_were_seen_are_known_by_their_places_where_they_have_other_names(
    few: Prepared, tmp_path: Path
) -> None:
    run, renamed = few.cache.parent, tmp_path / "renamed.parquet"
    rows = pq.read_table(run / FILE)
    shifted = pa.array(rows["dec"].to_numpy() + 8.0 / 3600.0)
    moved = rows.set_column(rows.column_names.index("dec"), "dec", shifted)
    names = pa.array([f"other {n}" for n in range(len(rows))])
    pq.write_table(moved.set_column(rows.column_names.index("id"), "id", names), renamed)
    own, other = read_unsorted(run / FILE), read_unsorted(renamed)
    seen = seen_stars(run)
    expected = ~np.isin(own.stars.star_id, list(seen.names))
    assert 0 < expected.sum() < len(expected)
    assert np.array_equal(unseen_stars(other, seen, renamed).star_id, other.star_id[expected])
    subjects = read_subjects([renamed], without=seen)
    assert [each.id for each in subjects.rows] == other.stars.star_id[expected].tolist()


def test_the_report_of_a_bundle_that_has_seen_every_star_is_refused(
    few: Prepared, bundle: Path, tmp_path: Path
) -> None:
    run, data = few.cache.parent, tmp_path / "part.parquet"
    rows = pq.read_table(run / FILE)
    seen = [row for row in rows.to_pylist() if f"css:{row['id']}" in seen_stars(run).names]
    pq.write_table(pa.Table.from_pylist(seen, rows.schema), data)
    with pytest.raises(ConfigurationError, match="none is left to measure it"):
        open_subject(str(bundle), data, run=run)


def test_evaluate_refuses_to_guess(few: Prepared, bundle: Path, tmp_path: Path) -> None:
    data, out = few.cache.parent / FILE, tmp_path / "metrics.json"
    with pytest.raises(ConfigurationError, match="not what bundle default"):
        evaluate(data=data, unseen=True, out=out)
    with pytest.raises(ConfigurationError, match="leave one out"):
        evaluate(bundle=str(bundle), data=data, unseen=True, run=few.cache.parent, out=out)
    assert not out.exists()


def test_a_run_that_cannot_say_what_it_used_names_another_way(few: Prepared, tmp_path: Path) -> None:
    run = shutil.copytree(few.cache.parent, tmp_path / "run")
    (run / "cache" / "stars.npz").unlink()
    with pytest.raises(ConfigurationError, match=r"stars.npz is not there any more.*--unseen"):
        seen_stars(run)
