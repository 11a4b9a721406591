# SPDX-License-Identifier: BSD-3-Clause
"""Puts a finished bundle in its place: whole or not at all, whatever stops it and whoever does the same."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import uuid
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from glob import escape
from pathlib import Path

from broker_plugin.bundle import MANIFEST, Manifest, open_bundle
from broker_plugin.signals import unbroken
from broker_plugin.streams.output_files import cannot_write
from trainer.bundle_folder import require_bundle_folder

__all__ = ["put_bundle"]


def put_bundle(files: Mapping[str, bytes], manifest: Manifest, out: Path) -> Path:
    """Write a bundle beside its place, open it as a reader would, and swap the folders.

    Raises
    ------
    ConfigurationError
        If it cannot be written, or would replace anything but a bundle. What is there stays then.
    """
    text = json.dumps(manifest.model_dump(mode="json"), indent=1) + "\n"
    try:
        require_bundle_folder(out)
        with _one_at_a_time(out.parent) as alone:
            if alone:
                _remove_leftovers(out)
            _put({**files, MANIFEST: text.encode()}, out)
    except OSError as error:
        raise cannot_write(out, error) from error
    return out


@contextmanager
def _one_at_a_time(folder: Path) -> Iterator[bool]:
    """Wait until no other export puts anything into a folder; tell whether that can be known here."""
    with ExitStack() as stack:
        try:
            place = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
            stack.callback(os.close, place)
            fcntl.flock(place, fcntl.LOCK_EX)
            alone = True
        except OSError:  # a file system without locks of folders, as NFS is, or a folder that none may list
            alone = False
        yield alone


def _remove_leftovers(out: Path) -> None:
    """Remove what exports have left that were killed before their swap."""
    for folder in out.parent.glob(f".{escape(out.name)}.*.new"):
        shutil.rmtree(folder, ignore_errors=True)


def _remove(old: Path) -> None:
    """Remove an older bundle, or the link to it that stood in its place."""
    if old.is_symlink():
        old.unlink()
    else:
        shutil.rmtree(old, ignore_errors=True)


def _put(files: Mapping[str, bytes], out: Path) -> None:
    # The new folder's name is random: without locks two exports may be at work. The old one's is not, so that
    # the next export finds it.
    new, old = out.with_name(f".{out.name}.{uuid.uuid4().hex[:8]}.new"), out.with_name(f".{out.name}.old")
    if old.exists() and not out.exists():
        old.rename(out)  # an export was killed in the middle of its swap, and this may be the only bundle
    with ExitStack() as stack:
        # Before there is a folder: a signal may come at any moment.
        stack.callback(shutil.rmtree, new, ignore_errors=True)
        new.mkdir(parents=True)
        for name, content in files.items():
            (new / name).write_bytes(content)
        open_bundle(new)
        if out.exists():
            _remove(old)  # of an export that was killed after its swap
        with unbroken():
            if out.exists():
                out.rename(old)
            try:
                new.rename(out)
            except OSError:
                if old.exists():
                    old.rename(out)
                raise
            stack.callback(_remove, old)
