# SPDX-License-Identifier: BSD-3-Clause
"""The report says what was measured, on stars that were not trained on, in a page that needs nothing else."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from html import escape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from broker_plugin.bundle import ModalityModel, open_bundle
from broker_plugin.engine.scorer import Scorer
from broker_plugin.errors import ConfigurationError
from broker_plugin.records import Attachment
from tests.trainer.synthetic import write_catalogue
from trainer.bundle_evaluation import measures_of
from trainer.data.catalina import FILE
from trainer.predictions import (
    MERGED,
    PredictionFile,
    Predictions,
    predictions_table,
    write_predictions,
)
from trainer.report.command import PAGE, RECORD, report
from trainer.report.comparison import MEASURES, Contender, compare
from trainer.report.inputs import FILES, find_inputs
from trainer.report.rendering import SECTIONS, render_report
from trainer.report.seeds import seeds_record
from trainer.report.subject import kept_predictions, open_subject
from trainer.report.withheld import fewer_modalities, without
from trainer.star_settings import EVERY_SETTING, SETTINGS, alerts_of

LINKS = ("src", "href", "action", "data", "poster", "srcset")


class Page(HTMLParser):
    """What a page loads, which anchors it has, and its open elements."""

    EMPTY = frozenset({"meta", "br", "path", "rect", "circle", "hr", "link", "img"})

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.open: list[str] = []
        self.links: list[str] = []
        self.anchors: set[str] = set()
        self.unlabelled: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.tags.append(tag)
        if tag not in self.EMPTY:
            self.open.append(tag)
        self.links += [value for name, value in attrs if name in LINKS and value]
        self.anchors.add(given.get("id") or "")
        if tag == "svg" and not (given.get("aria-label") or given.get("aria-hidden")):
            self.unlabelled.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.EMPTY:
            assert self.open.pop() == tag


def read_page(text: str) -> Page:
    page = Page()
    page.feed(text)
    assert page.open == []
    return page


@pytest.fixture(scope="module")
def catalogue(tmp_path_factory: pytest.TempPathFactory) -> Path:
    data = tmp_path_factory.mktemp("few")
    write_catalogue(data, stars_per_class=2)
    return data / FILE


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, catalogue: Path) -> Path:
    """A folder like a run's, with baselines that guess and results of other commands."""
    folder = tmp_path_factory.mktemp("run")
    rng = np.random.default_rng(6)
    ids = np.sort(np.array(pq.read_table(catalogue, columns=["id"])["id"].to_pylist()))
    guesses = {setting: guessed(rng, len(ids)) for setting in EVERY_SETTING}
    path = folder / "baselines" / "random_forest.parquet"
    write_predictions(path, predictions_table(ids, guesses, about={"budget": "none: it <guesses>"}))
    of_other_stars = folder / "seeds" / "seed1.parquet"
    others = predictions_table(ids + 100_000, guesses, about={"bundle": "another"})
    write_predictions(of_other_stars, others)
    pair = {"n": 7, "recall@1": {"value": 0.5, "chance": 0.1}}
    retrieval = {"objects": {"split": "test", "simulated": True}, "pairs": {"a->b": pair}}
    (folder / "retrieval.json").write_text(json.dumps(retrieval))
    return folder


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory, catalogue: Path, run: Path) -> Path:
    out = tmp_path_factory.mktemp("report")
    report(run=run, bundle=["default"], data=catalogue, out=out)
    return out


@pytest.fixture(scope="module")
def record(written: Path) -> Any:
    return json.loads((written / RECORD).read_text())


def guessed(rng: np.random.Generator, n: int) -> Predictions:
    return Predictions(
        probability=rng.dirichlet(np.ones(len(MERGED)), n),
        anomaly_score=rng.random(n),
        anomaly_p_value=np.full(n, np.nan),
    )


@contextmanager
def no_bar(what: str, total: int) -> Iterator[Callable[[int], None]]:
    yield lambda n: None


def test_the_page_loads_nothing_and_every_drawing_has_words(written: Path) -> None:
    text = (written / PAGE).read_text()
    page = read_page(text)
    assert all(link.startswith("#") for link in page.links)
    assert not {"script", "link", "img", "iframe"} & set(page.tags)
    assert "url(" not in text
    assert "@import" not in text
    assert page.unlabelled == []
    assert set(SECTIONS) <= page.anchors
    assert {link.removeprefix("#") for link in page.links} <= page.anchors
    assert "it &lt;guesses&gt;" in text


def test_the_numbers_are_those_of_trainer_evaluate(record: Any, catalogue: Path, written: Path) -> None:
    subject = open_subject("default", catalogue)
    file = kept_predictions(subject, EVERY_SETTING, written / "cache")
    classes = np.array([subject.published[each] for each in file.star_id.tolist()])
    for setting, found in record["classification"]["contenders"]["bundle"]["settings"].items():
        expected = measures_of(file.by_setting[setting], classes)
        for measure in MEASURES:
            assert found[measure][0] == pytest.approx(expected[measure], abs=1e-12)
            assert found[measure][1] <= found[measure][2]
        assert found["confusion"] == expected["confusion"]
        assert sum(each["n"] for each in found["reliability"]) == found["n"]


def test_a_run_that_is_not_there_is_refused_before_anything_is_scored(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"no run in .*nowhere"):
        report(run=tmp_path / "nowhere", out=tmp_path / "report")
    assert not (tmp_path / "report").exists()


def test_stars_of_one_id_are_refused_before_anything_is_scored(catalogue: Path, tmp_path: Path) -> None:
    rows = pq.read_table(catalogue)
    pq.write_table(pa.concat_tables([rows, rows.slice(0, 1)]), tmp_path / "twice.parquet")
    name = rows["id"][0].as_py()
    with pytest.raises(ConfigurationError, match=f"2 rows have the id {name}; give every row one of its own"):
        report(data=tmp_path / "twice.parquet", out=tmp_path / "report")
    assert not (tmp_path / "report").exists()


def test_a_baseline_of_other_stars_is_left_out_with_a_remark(
    catalogue: Path, run: Path, tmp_path: Path
) -> None:
    data = tmp_path / "fewer.parquet"
    pq.write_table(pq.read_table(catalogue).slice(0, 17), data)
    report(run=run, bundle=["default"], data=data, out=tmp_path / "report")
    found = json.loads((tmp_path / "report" / RECORD).read_text())
    assert set(found["classification"]["contenders"]) == {"bundle"}
    said = f"left out: the baseline random_forest, since {data} lacks 2 stars of it; "
    assert [line for line in found["remarks"] if line.startswith(said)]
    assert said in (tmp_path / "report" / PAGE).read_text()


def test_predictions_of_other_stars_are_refused_before_anything_is_scored(
    catalogue: Path, run: Path, tmp_path: Path
) -> None:
    others = run / "seeds" / "seed1.parquet"
    with pytest.raises(ConfigurationError, match=r"lacks 19 stars of the predictions seed1; give --data"):
        report(data=catalogue, predictions=[others], out=tmp_path / "report")
    assert not (tmp_path / "report").exists()


def test_what_was_scored_is_not_scored_again(written: Path, catalogue: Path, run: Path) -> None:
    before = {path.name: path.stat().st_mtime_ns for path in (written / "cache").iterdir()}
    first = (written / RECORD).read_bytes()
    report(run=run, bundle=["default"], data=catalogue, out=written)
    assert {path.name: path.stat().st_mtime_ns for path in (written / "cache").iterdir()} == before
    assert (written / RECORD).read_bytes() == first


def test_what_must_be_known_of_the_stars_is_on_the_page(record: Any, written: Path) -> None:
    (remark,) = record["remarks"]
    assert remark.startswith("left out: 1 of the file's")
    assert f"<li>{escape(remark)}</li>" in (written / PAGE).read_text()


def test_stars_cut_to_alerts_are_not_held_against_other_strata(record: Any) -> None:
    assert set(record["p_values"]) == set(SETTINGS)


def test_the_cache_is_of_its_settings_and_of_the_code_that_made_it(
    catalogue: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    subject = open_subject("default", catalogue)
    keys = {subject.key(EVERY_SETTING), subject.key(["all"])}
    for version in ("CUT_VERSION", "FEATURE_SPEC_VERSION"):
        with monkeypatch.context() as patch:
            patch.setattr(f"trainer.report.subject.{version}", "other")
            keys.add(subject.key(["all"]))
    assert len(keys) == 4
    assert subject.key(["all"]) in keys


def test_the_same_alerts_get_the_same_numbers(record: Any) -> None:
    for differences in record["determinism"]["largest_difference"].values():
        assert set(differences.values()) == {0.0}


def test_what_is_missing_names_its_command(record: Any, written: Path, run: Path) -> None:
    text = (written / PAGE).read_text()
    for section in ("injected", "limited_labels", "cross_survey", "astrom3", "seeds"):
        command = record["missing"][section]
        assert command.startswith("trainer ")
        assert command.replace("&", "&amp;") in text
    assert "One training only on these stars (the run has 1 that were measured on others)" in text
    assert "retrieval" not in record["missing"]
    assert "SIMULATED objects" in text
    given = find_inputs(None, {}, bundle="b", data=Path("d"))
    assert set(given.missing) == {*FILES, "baselines", "seeds"}
    assert not any("RUN" in command for command in [*record["missing"].values(), *given.missing.values()])
    assert given.missing["injected"] == "trainer inject --bundle b --data d --out injected.json"
    assert given.missing["seeds"] == "give --run, a training run"


def test_a_modality_that_is_withheld_is_not_in_the_verdict(catalogue: Path) -> None:
    scorer = Scorer.open("default", device="cpu")
    stars = open_subject("default", catalogue).stars
    alert = alerts_of(stars, "30", np.array([0]))[0]
    for model in scorer.bundle.manifest.modalities:
        (whole, fewer) = scorer.score([alert, without(alert, model)])
        assert model.name in whole.modalities
        assert set(fewer.modalities) == set(whole.modalities) - {model.name}
    stamped = dataclasses.replace(alert, attachments={"stamp": Attachment(values=np.zeros((2, 2)))})
    model = ModalityModel(name="stamp", file="", spec={}, shapes=[])
    assert without(stamped, model).attachments == {}
    assert without(stamped, model).light_curve is alert.light_curve


def test_every_smaller_set_of_modalities_is_withheld_once(record: Any) -> None:
    manifest = open_bundle("default").manifest
    subsets = list(fewer_modalities(manifest))
    assert sorted("+".join(each) for each in subsets) == ["light_curve", "metadata"]
    assert set(record["withheld"]["lead"]) == {"light_curve", "metadata"}


def test_a_rival_that_says_the_same_is_not_led(record: Any, catalogue: Path, written: Path) -> None:
    subject = open_subject("default", catalogue)
    file = kept_predictions(subject, EVERY_SETTING, written / "cache")
    same = Contender(name="same", budget="", file=file)
    found = compare(dataclasses.replace(same, name="bundle"), [same], subject.published, ["all"], seed=1)
    for measure in MEASURES:
        assert found["lead"]["same"]["all"][measure] == [0.0, 0.0, 0.0]


def test_a_lead_is_over_the_stars_that_both_answered_on(rng: np.random.Generator) -> None:
    published = {each: "RRab" if each % 2 else "ROT" for each in range(40)}
    right = np.array([list(MERGED).index(name) for name in ("ROT", "RRAB")])[np.arange(40) % 2]
    sure = np.eye(len(MERGED))[right]
    file = PredictionFile(
        star_id=np.arange(40),
        by_setting={"all": dataclasses.replace(guessed(rng, 40), probability=sure)},
        about={},
    )
    other = PredictionFile(star_id=np.arange(20, 60), by_setting={"all": guessed(rng, 40)}, about={})
    published |= dict.fromkeys(range(40, 60), "RRab")
    found = compare(
        Contender(name="bundle", budget="", file=file),
        [Contender(name="rival", budget="", file=other)],
        published,
        ["all"],
        seed=1,
    )
    lead = found["lead"]["rival"]["all"]
    assert lead["n"] == 20
    wrong = (other.by_setting["all"].probability[:20].argmax(axis=1) != right[20:]).mean()
    assert lead["accuracy"][0] == pytest.approx(wrong)


def test_the_spread_is_over_trainings(rng: np.random.Generator, catalogue: Path) -> None:
    subject = open_subject("default", catalogue)
    ids = subject.stars.star_id
    files = [
        PredictionFile(star_id=ids, by_setting={"all": guessed(rng, len(ids))}, about={}) for _ in range(3)
    ]
    trained = [(f"seed {k}", file) for k, file in enumerate(files)]
    assert seeds_record(trained[:1], subject.published, ["all"]) is None
    found = seeds_record(trained, subject.published, ["all"])
    assert found is not None
    values = [each["measures"]["accuracy"]["all"] for each in found["bundles"]]
    assert found["spread"]["accuracy"]["all"]["mean"] == pytest.approx(np.mean(values))
    assert found["spread"]["accuracy"]["all"]["std"] == pytest.approx(np.std(values, ddof=1))
    assert found["same_stars"]


def test_a_bundle_is_not_measured_on_the_stars_that_trained_it(data_dir: Path) -> None:
    subject = open_subject("default", data_dir / FILE, limit=30)
    manifest = open_bundle("default").manifest
    counts = manifest.training["data"]["stars_by_split"]
    assert subject.left_out == sum(counts.values()) - counts["test"]
    assert len(subject.stars.star_id) == 30


def test_results_of_every_other_command_are_shown(record: Any) -> None:
    """Records as those commands write them, whole; the page must take each."""
    whole = record | {
        "cross_survey": {
            "surveys": [
                {
                    "title": "A & B",
                    "about": "Stars.",
                    "classes": ["X", "Y"],
                    "mapping": {"X": ["x"]},
                    "n_by_class": {"X": 3},
                    "n_by_anomaly": {"Z": 1},
                    "left_out": {"near": 2},
                    "settings": {"all": {"n": 3, "macro_f1": [0.5, 0.4, 0.6], "confusion": [[2, 1], [0, 0]]}},
                }
            ]
        },
        "limited_labels": {
            "caveats": ["no evidence"],
            "simulated": False,
            "unit": "per cent",
            "rows": [
                {
                    "setting": "all",
                    "measure": "macro_f1",
                    "labels_percent": 10.0,
                    "random": {"mean": 50.0, "std": 1.0},
                    "pretrained": {"mean": 51.0, "std": 2.0},
                    "gain": 1.0,
                    "p": None,
                }
            ],
        },
        "decision_rules": {
            "tempered": {"all": {"macro_f1": {"by_rule": [0.6, 0.5, 0.7], "lead": [0.1, 0.05, 0.15]}}},
        },
        "injected": {
            "bundle": "default 2",
            "priors": "1",
            "stars": {"hosts": 10, "ordinary": 200},
            "settings": {
                "all": {
                    "anomaly_score": {
                        "recall": {
                            "0.01": {
                                "recall": 0.5,
                                "interval": [0.4, 0.6],
                                "by_kind": {"flare": {"recall": 0.5, "interval": [0.4, 0.6]}},
                                "artefacts": {"jump": {"recall": 0.2, "interval": [0.1, 0.3]}},
                            },
                            "0.001": {"too_few": "200 ordinary stars; this level needs 999"},
                        }
                    }
                }
            },
        },
        "missing": {},
    }
    text = render_report(whole)
    read_page(text)
    for shown in ("A &amp; B", "51.000", "flare", "+0.100", "near: 2"):
        assert shown in text
    assert 'class="missing"' not in text
