# SPDX-License-Identifier: BSD-3-Clause
from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support.artefacts import cache_dir, java_version, kafka_classpath, made_once
from tests.support.process import ServerUnavailableError


@pytest.fixture(autouse=True)
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASTROM3_TEST_CACHE", str(tmp_path / "cache"))


def test_an_entry_is_made_once_by_many_at_once() -> None:
    made: list[Path] = []

    def make(folder: Path) -> None:
        made.append(folder)
        (folder / "first").touch()
        time.sleep(0.05)  # long enough for the others to come upon the unfinished entry
        (folder / "second").touch()

    with ThreadPoolExecutor(8) as pool:
        entries = list(pool.map(lambda _: made_once("thing", make), range(8)))
    assert len(made) == 1
    assert set(entries) == {cache_dir() / "thing"}
    assert sorted(path.name for path in entries[0].iterdir()) == ["first", "second"]


def test_a_failure_leaves_nothing_and_is_tried_again() -> None:
    def fail(folder: Path) -> None:
        (folder / "half").touch()
        raise ServerUnavailableError("no network")

    with pytest.raises(ServerUnavailableError, match="no network"):
        made_once("thing", fail)
    assert [path.name for path in cache_dir().iterdir()] == ["locks"]
    assert (made_once("thing", lambda folder: (folder / "whole").touch()) / "whole").exists()


@pytest.mark.parametrize(
    ("report", "major"),
    [
        ('openjdk version "17.0.15" 2025-04-15', 17),
        ('java version "1.8.0_392"', 8),
        ('openjdk version "25" 2025-09-16', 25),
        ("no such thing", 0),
    ],
)
def test_the_java_version_is_read_in_both_spellings(tmp_path: Path, report: str, major: int) -> None:
    program = tmp_path / "java"
    program.write_text(f"#!/bin/sh\necho '{report}' >&2\n")
    program.chmod(0o755)
    assert java_version(str(program)) == major


def test_kafka_home_is_taken_only_if_a_broker_is_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KAFKA_HOME", str(tmp_path))
    with pytest.raises(ServerUnavailableError, match="correct or unset it"):
        kafka_classpath()
    (tmp_path / "libs").mkdir()
    (tmp_path / "libs" / "kafka_2.13-4.1.0.jar").touch()
    assert kafka_classpath() == f"{tmp_path}/libs/*"
