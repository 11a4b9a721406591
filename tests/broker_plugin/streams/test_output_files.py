# SPDX-License-Identifier: BSD-3-Clause
"""An output appears whole or not at all, and nothing that was there is lost before."""

from __future__ import annotations

import io
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from broker_plugin.errors import ConfigurationError
from broker_plugin.streams import output_files
from broker_plugin.streams.output_files import check_outputs, complete_files
from tests.support.full_disk import full_disk

ROOM = 1_000_000
"""Bytes that a file may have on the full disk, which is imitated by a limit of the process."""


def test_files_appear_together_when_the_block_ends_well(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    with complete_files(one, two) as (first, second):
        first.write(b"1")
        second.write(b"2")
        assert not one.exists()
    assert (one.read_bytes(), two.read_bytes()) == (b"1", b"2")
    assert sorted(tmp_path.iterdir()) == [one, two]


def test_a_failure_leaves_everything_as_it_was(tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    old.write_bytes(b"before")

    def stopped() -> None:
        with complete_files(old, new) as (first, _):
            first.write(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stopped()
    assert old.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [old]


def test_a_signal_while_the_files_are_made_leaves_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Interrupted(io.FileIO):
        def __init__(self, *place: Any) -> None:
            super().__init__(*place)
            assert list(tmp_path.iterdir())
            self.close()
            raise KeyboardInterrupt

    monkeypatch.setattr(output_files, "_Raw", Interrupted)
    with pytest.raises(KeyboardInterrupt), complete_files(tmp_path / "out"):
        pytest.fail("the signal came before")
    assert not list(tmp_path.iterdir())


def test_a_link_is_followed_and_permissions_are_kept(tmp_path: Path) -> None:
    target, link = tmp_path / "target", tmp_path / "link"
    target.write_bytes(b"before")
    target.chmod(0o640)
    link.symlink_to(target)
    with complete_files(link) as (handle,):
        handle.write(b"after")
    assert link.is_symlink()
    assert target.read_bytes() == b"after"
    assert stat.S_IMODE(target.stat().st_mode) == 0o640


def test_a_new_file_has_the_permissions_of_any_new_file(tmp_path: Path) -> None:
    (tmp_path / "other").touch()
    with complete_files(tmp_path / "new"):
        pass
    assert (tmp_path / "new").stat().st_mode == (tmp_path / "other").stat().st_mode


def test_a_pipe_is_written_through(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    with complete_files(pipe) as (handle,):
        handle.write(b"through")
    assert os.read(reader, 100) == b"through"
    os.close(reader)
    assert stat.S_ISFIFO(pipe.stat().st_mode)


@pytest.mark.parametrize("size", [ROOM + 1_000_000, ROOM + 10], ids=["at once", "in the end"])
def test_a_full_disk_says_what_to_do_and_leaves_nothing(tmp_path: Path, size: int) -> None:
    out, other = tmp_path / "out", tmp_path / "other"
    with full_disk(ROOM), pytest.raises(ConfigurationError, match=r"cannot write .*out: .*make room"):
        write_all(other, out, content=b"x" * size)
    assert not list(tmp_path.iterdir())


def write_all(*paths: Path, content: bytes) -> None:
    with complete_files(*paths) as handles:
        for position in range(0, len(content), 1000):
            handles[-1].write(content[position : position + 1000])


def test_two_writers_of_one_file_do_not_meet_and_a_users_part_file_is_left_alone(tmp_path: Path) -> None:
    out, part = tmp_path / "w.jsonl", tmp_path / "w.jsonl.part"
    part.write_bytes(b"the user's own")
    with complete_files(out) as (first,):
        first.write(b"first")
        with complete_files(out) as (second,):
            second.write(b"second")
        assert out.read_bytes() == b"second"
    assert out.read_bytes() == b"first"
    assert part.read_bytes() == b"the user's own"
    assert sorted(tmp_path.iterdir()) == [out, part]


@pytest.mark.parametrize("how", ["itself", "symlink", "hard link", "relative"])
def test_an_output_that_is_an_input_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    source, output = tmp_path / "a.avro", tmp_path / "b.avro"
    source.write_bytes(b"packet")
    monkeypatch.chdir(tmp_path)
    match how:
        case "itself":
            output = source
        case "symlink":
            output.symlink_to(source)
        case "hard link":
            output.hardlink_to(source)
        case _:
            output = Path("./a.avro")
    with pytest.raises(ConfigurationError, match="is an input as well"):
        check_outputs([tmp_path / "other", output], [source])


def test_two_outputs_that_are_one_file_are_refused(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "out")
    with pytest.raises(ConfigurationError, match="each output its own"):
        check_outputs([tmp_path / "out", tmp_path / "link"], [])


def test_a_folder_and_a_missing_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="is a directory"), complete_files(tmp_path):
        pass
    with pytest.raises(ConfigurationError, match="not a directory"), complete_files(tmp_path / "no" / "out"):
        pass
