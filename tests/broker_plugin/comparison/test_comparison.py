# SPDX-License-Identifier: BSD-3-Clause
"""Two sets of verdicts: what is the same is told as the same, what differs by how much."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

from broker_plugin.cli import main
from broker_plugin.codec.verdict import Verdict
from broker_plugin.comparison.page import comparison_page
from broker_plugin.comparison.statistics import compare_verdicts
from broker_plugin.comparison.verdicts import Seen, read_file, seen_by_key
from broker_plugin.errors import ConfigurationError
from broker_plugin.streams.verdict_files import check_format
from tests.broker_plugin.codec.test_verdict import VERDICT

N = 400
CLASSES = ("EA", "EW", "RRAB")


@pytest.fixture
def seen(rng: np.random.Generator) -> list[Seen]:
    """Verdicts of one bundle; every fourth alert has no class."""
    made = []
    for number in range(N):
        shares = rng.dirichlet(np.ones(len(CLASSES)))
        made.append(
            Seen(
                alert_key=f"ztf:{number}",
                object_id=f"ZTF{number}",
                inputs_digest=f"{number:032x}",
                class_probabilities=dict(zip(CLASSES, shares.tolist(), strict=True)),
                top_class=CLASSES[int(shares.argmax())] if number % 4 else None,
                anomaly_score=float(rng.normal()),
                anomaly_p_value=float(rng.random()),
                latency_s=0.5,
                bundle_name="old",
                bundle_digest="a" * 64,
            )
        )
    return made


def turned(seen: Sequence[Seen]) -> list[Seen]:
    """The same verdicts with classes and scores turned about."""
    others = dict(zip(CLASSES, (*CLASSES[1:], CLASSES[0]), strict=True))
    return [
        replace(
            each,
            class_probabilities={others[name]: p for name, p in each.class_probabilities.items()},
            top_class=None if each.top_class is None else others[each.top_class],
            anomaly_score=-each.anomaly_score,
            anomaly_p_value=1.0 - each.anomaly_p_value,
            bundle_name="new",
            bundle_digest="b" * 64,
        )
        for each in seen
    ]


def test_a_bundle_agrees_with_itself(seen: list[Seen]) -> None:
    found = compare_verdicts(seen_by_key(seen), seen_by_key(reversed(seen)))
    assert (found.n, found.n_classified, found.agreement, found.kappa) == (N, N - N // 4, 1.0, 1.0)
    assert found.rank_correlation == pytest.approx(1.0)
    assert set(found.distance.values()) == {0.0}
    assert (found.ks_between, found.same_inputs, found.changed) == (0.0, 1.0, [])
    assert all(each.shared == each.n for each in found.overlaps)
    assert [each.n for each in found.overlaps] == [10, 30, 100, 300]


def test_what_is_turned_about_agrees_in_nothing(seen: list[Seen]) -> None:
    found = compare_verdicts(seen_by_key(seen), seen_by_key(turned(seen)))
    assert found.agreement == 0.0
    assert found.kappa is not None
    assert found.kappa < 0.0
    assert found.rank_correlation == pytest.approx(-1.0)
    assert found.overlaps[0].shared == 0
    assert len(found.changed) == 20
    assert found.changed[0].distance == max(each.distance for each in found.changed)
    back = compare_verdicts(seen_by_key(turned(seen)), seen_by_key(seen))
    assert back.confusion == np.transpose(found.confusion).tolist()
    assert (back.first, back.second) == (found.second, found.first)


def test_only_alerts_of_both_count_and_the_last_verdict_on_each(seen: list[Seen]) -> None:
    again = [replace(seen[0], anomaly_p_value=0.5), *seen[:300]]
    found = compare_verdicts(seen_by_key(seen[100:]), seen_by_key(again))
    assert (found.n, found.first.only_here, found.second.only_here) == (200, 100, 100)
    assert (found.first.duplicates, found.second.duplicates) == (0, 1)
    with pytest.raises(ConfigurationError, match="made from the same alerts"):
        compare_verdicts(seen_by_key(seen[:10]), seen_by_key(seen[10:]))


def verdicts(seen: Sequence[Seen]) -> list[Verdict]:
    names = ("alert_key", "object_id", "class_probabilities", "top_class", "anomaly_p_value", "bundle_name")
    return [VERDICT._replace(**{name: getattr(each, name) for name in names}) for each in seen]


@pytest.mark.parametrize("suffix", [".avro", ".parquet", ".jsonl"])
def test_files_of_every_format_are_read(seen: list[Seen], tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"verdicts{suffix}"
    with path.open("wb") as handle:
        writer = check_format(path)(handle)
        writer.write(verdicts(seen[:50]))
        writer.finish()
    found = list(read_file(path))
    for one, other in zip(found, seen, strict=False):
        assert one.alert_key == other.alert_key
        assert one.class_probabilities == pytest.approx(other.class_probabilities, abs=1e-7)  # Avro's float
        assert one.top_class == other.top_class
        assert one.latency_s is None
    assert len(found) == 50


@pytest.mark.parametrize("content", [b"junk\n", b"Obj\x01junk", b"PAR1"])
@pytest.mark.parametrize("suffix", [".avro", ".parquet", ".jsonl", ".txt"])
def test_what_holds_no_verdicts_is_refused(tmp_path: Path, suffix: str, content: bytes) -> None:
    path = tmp_path / f"odd{suffix}"
    path.write_bytes(content)
    with pytest.raises(ConfigurationError, match="odd"):
        list(read_file(path))


def test_the_page_and_the_numbers_are_written(
    seen: list[Seen], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "150")
    for name, side in (("old", seen), ("new", turned(seen))):
        path = tmp_path / f"{name}.avro"
        with path.open("wb") as handle:
            writer = check_format(path)(handle)
            writer.write([each._replace(bundle_name=f"{each.bundle_name}[bold]") for each in verdicts(side)])
            writer.finish()
    page, numbers = tmp_path / "page.html", tmp_path / "numbers.json"
    files = [str(tmp_path / f"{name}.avro") for name in ("old", "new")]
    with pytest.raises(SystemExit) as ended:
        main(["bundles", "compare", *files, "--html", str(page), "--json", str(numbers)])
    assert ended.value.code in (None, 0)
    said = capsys.readouterr().out
    assert "0.0% of 300" in said
    assert "old[bold]" in said
    assert "latency" not in said + page.read_text()  # of files it says how long a replay compiled
    assert json.loads(numbers.read_text())["n_classified"] == 300
    text = page.read_text()
    assert text.count("<svg") == 3
    assert "ZTF" in text
    assert "nan" not in text.lower()


def test_names_from_a_topic_cannot_write_markup(seen: list[Seen]) -> None:
    hostile = [replace(each, object_id="<script>alert(1)</script>") for each in turned(seen)]
    first = [replace(each, object_id="<script>alert(1)</script>") for each in seen]
    page = comparison_page(compare_verdicts(seen_by_key(first), seen_by_key(hostile)))
    assert "<script" not in page
    assert json.dumps(asdict(compare_verdicts(seen_by_key(first), seen_by_key(hostile))), allow_nan=False)
