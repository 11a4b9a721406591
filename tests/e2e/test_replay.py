# SPDX-License-Identifier: BSD-3-Clause
"""Every real packet becomes exactly one verdict through `broker-plugin replay`, the same in every run."""

from __future__ import annotations

import base64
import io
import json
import math
import subprocess
import sys
import tarfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import fastavro
import pyarrow.parquet as pq
import pytest

from tests.support.artefacts import REPOSITORY

N_ZTF = 2116
N_NATIVE = 198
N_LSST_CONTAINERS = 39 + 1 + 87 + 229 + 137
N_LSST_RAW = 35 + 7
"""Packets of their own, and the records of a part file of another broker."""


def replay(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "broker_plugin", "replay", *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=REPOSITORY,
        check=False,
        timeout=280,
    )


def verdicts_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def without_clock(verdicts: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{k: v for k, v in verdict.items() if not k.endswith("_at")} for verdict in verdicts]


def assert_sound(verdicts: Sequence[dict[str, Any]]) -> None:
    def refuse(token: str) -> None:
        raise AssertionError(f"{token} in a verdict")

    for verdict in verdicts:
        json.loads(json.dumps(verdict), parse_constant=refuse)
        # Nine float64 terms are good to a few units of the last place.
        assert math.isclose(sum(verdict["class_probabilities"].values()), 1.0, abs_tol=1e-12)
        assert isinstance(verdict["alert_id"], int)
        assert 0 < verdict["anomaly_p_value"] <= 1


@pytest.fixture(scope="module")
def everything(data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """The verdicts on every real packet there is, in one run."""
    out = tmp_path_factory.mktemp("replay") / "all.jsonl"
    alerts = data_dir / "alerts"
    result = replay(alerts / "ztf/nocutouts.avro", alerts / "ztf/native", alerts / "lsst", "--out", out)
    assert result.returncode == 0, result.stderr
    assert (out.parent / "all.jsonl.dead.jsonl").read_text() == ""
    return verdicts_of(out)


def test_every_packet_is_one_verdict(everything: list[dict[str, Any]]) -> None:
    counts = Counter(verdict["survey"] for verdict in everything)
    assert counts == {"ztf": N_ZTF + N_NATIVE, "lsst": N_LSST_CONTAINERS + N_LSST_RAW}
    assert_sound(everything)


def test_a_native_packet_scores_like_its_re_encoded_form(everything: list[dict[str, Any]]) -> None:
    re_encoded = {verdict["alert_id"]: verdict for verdict in without_clock(everything[:N_ZTF])}
    # A few native files have a schema with null alone for the history's fields, and their verdicts say so.
    native = [
        verdict
        for verdict in without_clock(everything[N_ZTF : N_ZTF + N_NATIVE])
        if "degraded_schema" not in verdict["quality_flags"]
    ]
    assert len(native) > 0.9 * N_NATIVE
    assert [re_encoded[verdict["alert_id"]] for verdict in native] == native


@pytest.mark.parametrize("suffix", ["jsonl", "avro", "parquet"])
def test_every_format_holds_the_same_verdicts(
    data_dir: Path, tmp_path: Path, everything: list[dict[str, Any]], suffix: str
) -> None:
    out = tmp_path / f"verdicts.{suffix}"
    result = replay(data_dir / "alerts/ztf/native", "--out", out)
    assert result.returncode == 0, result.stderr
    match suffix:
        case "jsonl":
            verdicts = verdicts_of(out)
        case "avro":
            with out.open("rb") as handle:
                verdicts = list(fastavro.reader(handle))  # type: ignore[arg-type]
        case _:
            table = pq.read_table(out)
            verdicts = table.to_pylist(maps_as_pydicts="strict")
            assert table.schema.field("ra_deg").metadata[b"unit"] == b"deg"
    assert without_clock(verdicts) == without_clock(everything[N_ZTF : N_ZTF + N_NATIVE])


def test_workers_change_nothing(data_dir: Path, tmp_path: Path, everything: list[dict[str, Any]]) -> None:
    out = tmp_path / "two.jsonl"
    result = replay(data_dir / "alerts/ztf/nocutouts.avro", "--out", out, "--workers", 2)
    assert result.returncode == 0, result.stderr
    assert without_clock(verdicts_of(out)) == without_clock(everything[:N_ZTF])


@pytest.mark.parametrize("workers", [1, 2])
def test_a_name_that_is_no_text_is_written_with_escapes(data_dir: Path, tmp_path: Path, workers: int) -> None:
    packet = next((data_dir / "alerts/ztf/native").glob("*.avro")).read_bytes()
    night = tmp_path / "night.tar"
    with tarfile.open(night, "w") as archive:
        for name, content in (("junk\udcff.avro", b"no alert"), ("packet\udcff.avro", packet)):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    junk = tmp_path / "junk\udcfe.avro"
    junk.write_bytes(b"no alert")
    out = tmp_path / "verdicts.jsonl"
    result = replay(night, junk, "--out", out, "--workers", workers)
    assert result.returncode == 0, result.stderr
    assert len(verdicts_of(out)) == 1
    dead = verdicts_of(tmp_path / "verdicts.jsonl.dead.jsonl")
    assert [Path(letter["topic"]).name for letter in dead] == ["junk\\udcff.avro", "junk\\udcfe.avro"]
    assert "auto took" in result.stderr  # cpu or cuda, and why


@pytest.mark.parametrize("workers", [1, 2])
def test_a_nightly_archive_with_bad_members_loses_only_those(
    data_dir: Path, tmp_path: Path, workers: int
) -> None:
    night = tmp_path / "ztf_public_20260301.tar.gz"
    packets = sorted((data_dir / "alerts/ztf/native").glob("*.avro"))[:5]
    junk = tmp_path / "junk.avro"
    junk.write_bytes(b"no alert")
    cut = tmp_path / "cut.avro"
    cut.write_bytes(packets[0].read_bytes()[:40_000])
    with tarfile.open(night, "w:gz") as archive:
        for path in (*packets[:2], junk, cut, *packets[2:]):
            archive.add(path, path.name)
    out = tmp_path / "verdicts.jsonl"
    result = replay(night, "--out", out, "--workers", workers)
    assert result.returncode == 0, result.stderr
    assert len(verdicts_of(out)) == 5
    dead = verdicts_of(tmp_path / "verdicts.jsonl.dead.jsonl")
    assert [letter["reason"] for letter in dead] == ["undecodable", "undecodable"]
    assert dead[0]["topic"].endswith("junk.avro")
    assert base64.b64decode(dead[0]["value_base64"]) == b"no alert"
    assert base64.b64decode(dead[1]["value_base64"]) == cut.read_bytes()
    assert "2 dead letters" in result.stderr


def test_bytes_that_nobody_could_decode_are_kept_from_public_dead_letters(
    data_dir: Path, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.avro"
    broken.write_bytes(b"?" + next((data_dir / "alerts/ztf/native").glob("*.avro")).read_bytes())
    out = tmp_path / "verdicts.jsonl"
    result = replay(broken, "--out", out, "--dead-letters-access", "public")
    assert result.returncode == 4, result.stderr  # nothing there is a packet
    (letter,) = verdicts_of(tmp_path / "verdicts.jsonl.dead.jsonl")
    assert letter["redacted"]
    assert letter["value_base64"] == ""
    assert "sha256" not in letter


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--out", "x.csv", "."], "must end in"),
        (["--out", "x.jsonl"], "nothing to read"),
        (["--out", "x.jsonl", "nowhere"], "does not exist"),
        (["--out", "x.jsonl", "--bundle", "nowhere", "{data}"], "no bundle"),
        (["--out", "nowhere/x.jsonl", "{data}"], "not a directory"),
        (["--out", "x.jsonl", "--store", "oracle", "{data}"], "choose none, memory, sqlite"),
        (["--out", "x.jsonl", "--store", "memory", "--workers", "2", "{data}"], "leave out --workers"),
        (["--out", "x.jsonl", "--access", "everyone", "{data}"], "access class"),
    ],
)
def test_a_wrong_argument_says_what_to_do(
    tmp_path: Path, data_dir: Path, arguments: list[str], message: str
) -> None:
    given = [a.replace("{data}", str(data_dir / "alerts/ztf/native")) for a in arguments]
    result = subprocess.run(
        [sys.executable, "-m", "broker_plugin", "replay", *given],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={"PYTHONPATH": str(REPOSITORY), "PATH": ""},
        check=False,
    )
    assert result.returncode == 2
    assert message in result.stderr
    assert "Traceback" not in result.stderr
    assert not list(tmp_path.glob("*.jsonl*"))
