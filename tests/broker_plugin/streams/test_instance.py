# SPDX-License-Identifier: BSD-3-Clause
"""A name belongs to one living process of a group."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from broker_plugin.errors import ConfigurationError
from broker_plugin.streams.instance import runtime_dir, take_instance
from tests.support.artefacts import REPOSITORY

HOLD = """
import sys, pathlib
from broker_plugin.streams.instance import take_instance
instance = take_instance("group", sys.argv[2], folder=pathlib.Path(sys.argv[1]))
print(instance.name, flush=True)
sys.stdin.read()
"""


def holder(folder: Path, name: str = "") -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder), name],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=REPOSITORY,
    )


def held_name(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def test_processes_take_the_lowest_free_slots(tmp_path: Path) -> None:
    instances = [take_instance("group", folder=tmp_path) for _ in range(3)]
    stem = instances[0].name.removesuffix("-0")
    assert [instance.name for instance in instances] == [f"{stem}-{slot}" for slot in range(3)]
    instances[1].release()
    with take_instance("group", folder=tmp_path) as again:
        assert again.name == f"{stem}-1"
        assert again.member_id == f"group-{stem}-1"
    with take_instance("other group", folder=tmp_path) as other:
        assert other.name == f"{stem}-0"
    for instance in instances:
        instance.release()


def test_a_killed_process_gives_its_name_back(tmp_path: Path) -> None:
    with holder(tmp_path) as process:
        name = held_name(process)
        with take_instance("group", folder=tmp_path) as second:
            assert second.name != name
        process.kill()
        process.wait()
        with take_instance("group", folder=tmp_path) as successor:
            assert successor.name == name


def test_a_given_name_is_refused_while_it_is_held(tmp_path: Path) -> None:
    with holder(tmp_path, "one/two") as process:
        assert held_name(process) == "one/two"
        with pytest.raises(ConfigurationError, match="give each its own name"):
            take_instance("group", "one/two", folder=tmp_path)
        process.kill()
        process.wait()
    with take_instance("group", "one/two", folder=tmp_path) as instance:
        assert instance.member_id == "group-one/two"


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "file"))
    assert runtime_dir().parent == tmp_path / "file"
    with pytest.raises(ConfigurationError, match="XDG_RUNTIME_DIR"):
        take_instance("group")
