# SPDX-License-Identifier: BSD-3-Clause
"""A bundle is put in its place whole or not at all, and nothing is left beside it."""

import errno
import fcntl
import os
import shutil
import signal
import threading
from pathlib import Path

import pytest

from broker_plugin.bundle import Bundle, open_bundle
from broker_plugin.errors import ConfigurationError
from broker_plugin.signals import InterruptedBySignal, interrupt_on_signal
from export import placing
from export.placing import put_bundle
from tests.support.full_disk import full_disk

DEFAULT = open_bundle("default")


def put(out: Path) -> Path:
    """The default bundle, put into a place as any other is."""
    files = {name: DEFAULT.contents[name] for name in DEFAULT.manifest.files}
    return put_bundle(files, DEFAULT.manifest, out)


ROOM = 200_000
"""Bytes that a file may have: fewer than those of a bundle's largest."""


def placed(folder: Path) -> Path:
    """A bundle's place, with an older one in it."""
    shutil.copytree(DEFAULT.path, folder / "bundle")
    return folder / "bundle"


def test_a_full_disk_says_what_to_do_and_leaves_the_older_bundle(tmp_path: Path) -> None:
    place = placed(tmp_path)
    with full_disk(ROOM), pytest.raises(ConfigurationError, match=r"cannot write .*bundle: .*make room"):
        put(place)
    assert [*tmp_path.iterdir()] == [place]
    assert open_bundle(place).digest == DEFAULT.digest


def test_what_an_export_set_aside_that_was_killed_comes_back_before_anything_else(tmp_path: Path) -> None:
    place = placed(tmp_path)
    place.rename(tmp_path / ".bundle.old")
    with full_disk(ROOM), pytest.raises(ConfigurationError, match="make room"):
        put(place)
    assert [*tmp_path.iterdir()] == [place]
    assert open_bundle(place).digest == DEFAULT.digest


def test_what_an_export_left_that_was_killed_after_its_swap_is_removed(tmp_path: Path) -> None:
    place = placed(tmp_path)
    shutil.copytree(place, tmp_path / ".bundle.old")
    put(place)
    assert [*tmp_path.iterdir()] == [place]


def test_a_link_in_its_place_is_replaced_and_what_it_led_to_stays(tmp_path: Path) -> None:
    place = tmp_path / "bundle"
    place.symlink_to(shutil.copytree(DEFAULT.path, tmp_path / "older"))
    put(place)
    assert {*tmp_path.iterdir()} == {place, tmp_path / "older"}
    assert not place.is_symlink()
    assert open_bundle(tmp_path / "older").digest == DEFAULT.digest


def test_what_an_export_left_that_was_killed_before_its_swap_is_removed(tmp_path: Path) -> None:
    place = placed(tmp_path)
    for stem in ("bundle", "other"):
        shutil.copytree(place, tmp_path / f".{stem}.0123abcd.new")
    put(place)
    assert {*tmp_path.iterdir()} == {place, tmp_path / ".other.0123abcd.new"}


def test_an_export_waits_for_another_to_the_same_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = placed(tmp_path)
    second = threading.Thread(target=put, args=(place,))

    def open_late(path: Path) -> Bundle:
        monkeypatch.undo()
        second.start()
        second.join(0.5)
        assert second.is_alive()
        return open_bundle(path)

    monkeypatch.setattr(placing, "open_bundle", open_late)
    put(place)
    second.join()
    assert [*tmp_path.iterdir()] == [place]
    assert open_bundle(place).manifest == DEFAULT.manifest


def test_where_folders_have_no_locks_two_exports_cost_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = placed(tmp_path)
    stale = shutil.copytree(place, tmp_path / ".bundle.0123abcd.new")

    def refused(descriptor: int, operation: int) -> None:
        raise OSError(errno.EBADF, os.strerror(errno.EBADF))

    def open_late(path: Path) -> Bundle:
        monkeypatch.setattr(placing, "open_bundle", open_bundle)
        put(place)  # another export, while the first one is about to swap
        return open_bundle(path)

    monkeypatch.setattr(fcntl, "flock", refused)
    monkeypatch.setattr(placing, "open_bundle", open_late)
    put(place)
    assert {*tmp_path.iterdir()} == {place, stale}, "whose that is cannot be known"
    assert open_bundle(place).manifest == DEFAULT.manifest


def test_a_signal_waits_until_the_folders_are_swapped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = placed(tmp_path)
    (place / "head.onnx").unlink()
    rename = Path.rename

    def interrupted(path: Path, target: Path) -> Path:
        done = rename(path, target)
        if path == place:
            signal.raise_signal(signal.SIGTERM)
        return done

    monkeypatch.setattr(Path, "rename", interrupted)
    with interrupt_on_signal(), pytest.raises(InterruptedBySignal):
        put(place)
    assert [*tmp_path.iterdir()] == [place]
    assert open_bundle(place).digest == DEFAULT.digest


def test_nothing_but_a_bundle_is_replaced(tmp_path: Path) -> None:
    file = tmp_path / "note.txt"
    file.write_text("mine")
    run = placed(tmp_path)
    (run / "model.safetensors").write_bytes(b"weights")
    (run / "cache").mkdir()
    bare = tmp_path / "bare"
    bare.mkdir()
    (bare / "a.json").write_text("{}")
    other = tmp_path / "other"
    other.mkdir()
    (other / "manifest.json").write_text('{"name": "my page", "files": {"manifest.json": ""}}')
    noted = shutil.copytree(DEFAULT.path, tmp_path / "noted")
    (noted / "NOTES.md").write_text("mine")
    for place, named in (
        (file, "note.txt"),
        (run, "cache, model.safetensors"),
        (bare, "a.json"),
        (other, "manifest.json"),
        (noted, "it holds NOTES.md, which no manifest of a bundle names"),
    ):
        with pytest.raises(ConfigurationError, match=f"no bundle that another may replace: .*{named}"):
            put(place)
    assert file.read_text() == "mine"
    assert (run / "model.safetensors").read_bytes() == b"weights"
    assert (noted / "NOTES.md").read_text() == "mine"
    assert {*tmp_path.iterdir()} == {file, run, bare, other, noted}


def test_a_damaged_bundle_and_an_empty_folder_are_replaced(tmp_path: Path) -> None:
    place = placed(tmp_path)
    (place / "head.onnx").unlink()
    (place / "MODEL_CARD.md").write_text("cut")
    assert open_bundle(put(place)).digest == DEFAULT.digest
    (tmp_path / "empty").mkdir()
    assert open_bundle(put(tmp_path / "empty")).digest == DEFAULT.digest
