# SPDX-License-Identifier: BSD-3-Clause
"""Output files that appear under their names when they are complete, and never at the cost of an input."""

from __future__ import annotations

import io
import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, cast

from broker_plugin.errors import ConfigurationError
from broker_plugin.signals import unbroken

__all__ = [
    "cannot_write",
    "check_outputs",
    "complete_file",
    "complete_files",
    "make_folder",
    "prepare_folder",
]


def check_outputs(outputs: Sequence[Path], inputs: Sequence[Path]) -> None:
    """Make sure that no output is another one or an input, under whatever name.

    Raises
    ------
    ConfigurationError
        If one is, or cannot be made.
    """
    for number, output in enumerate(outputs):
        for other in outputs[:number]:
            if _is_same(output, other):
                raise ConfigurationError(f"{other} and {output} are one file; give each output its own")
        for source in inputs:
            if _is_same(output, source):
                raise ConfigurationError(f"{output} is an input as well ({source}); choose another output")


@contextmanager
def complete_files(*paths: Path, all_written: Callable[[], None] = lambda: None) -> Iterator[list[BinaryIO]]:
    """Open files for writing that appear under their names, all of them, when the block ends well.

    Until then each is `<name>.<random>.part` in the same folder, so that two runs never share one; if the
    block fails, nothing is left and older files are as they were. A link is followed. What is no regular
    file, as `/dev/null`, is written through.

    Parameters
    ----------
    all_written
        Is called when nothing but the names is missing.

    Raises
    ------
    ConfigurationError
        If a file cannot be made or written.
    """
    with ExitStack() as stack:
        outputs = [_Output(path) for path in paths]
        for output in outputs:
            stack.callback(output.discard)  # before there is a file: a signal may come at any moment
        yield [output.open() for output in outputs]
        for output in outputs:
            output.finish()
        all_written()
        with unbroken():
            for output in outputs:
                output.appear()


def make_folder(folder: Path) -> None:
    """Make a folder where there is none.

    Raises
    ------
    ConfigurationError
        If it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise cannot_write(folder, error) from error


def prepare_folder(folder: Path) -> None:
    """Make a folder and try to write to it, not to find out after the work that nothing can be.

    Raises
    ------
    ConfigurationError
        If it cannot be made, or nothing can be written.
    """
    make_folder(folder)
    try:
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise cannot_write(folder, error) from error


@contextmanager
def complete_file(path: Path) -> Iterator[BinaryIO]:
    """Open one file as `complete_files` does, in a folder that is made where there is none.

    Raises
    ------
    ConfigurationError
        If it cannot be made or written.
    """
    make_folder(path.parent)
    with complete_files(path) as (file,):
        yield file


def cannot_write(path: Path, error: OSError) -> ConfigurationError:
    """Return the error of a file that cannot be written, with what to do."""
    return ConfigurationError(
        f"cannot write {path}: {error.strerror or error}; make room or permit it, or choose another place"
    )


class _Output:
    """One output: where it is to appear, and where it is written until then."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._target = _resolved(path)
        if not self._target.parent.is_dir():
            raise ConfigurationError(f"{path.parent} is not a directory; make it first")
        if self._target.is_dir():
            raise ConfigurationError(f"{path} is a directory; name a file in it")
        is_file = self._target.is_file() or not self._target.exists()
        self._part = (
            self._target.with_name(f"{self._target.name}.{uuid.uuid4().hex[:8]}.part") if is_file else None
        )
        self._handle: io.BufferedWriter | None = None

    def open(self) -> BinaryIO:
        """Make the file and return what to write to."""
        try:
            raw = _Raw(self._part or self._target, "x" if self._part is not None else "w")
            raw.shown = self._path
        except OSError as error:
            raise cannot_write(self._path, error) from error
        self._handle = io.BufferedWriter(raw)
        return cast("BinaryIO", self._handle)

    def finish(self) -> None:
        """Write what is still held back."""
        try:
            self._close()
        except OSError as error:
            raise cannot_write(self._path, error) from error

    def appear(self) -> None:
        """Take the place of an older file, with its permissions."""
        if self._part is None:
            return
        try:
            if self._target.exists():
                shutil.copymode(self._target, self._part)
            self._part.replace(self._target)
        except OSError as error:
            raise cannot_write(self._path, error) from error

    def discard(self) -> None:
        """Leave nothing behind of what has not appeared."""
        with suppress(ConfigurationError, OSError):  # what could not be written is thrown away here
            self._close()
        if self._part is not None:
            self._part.unlink(missing_ok=True)

    def _close(self) -> None:
        if self._handle is not None:
            self._handle.close()


class _Raw(io.FileIO):
    """A file whose failure to take more says which file it is and what to do."""

    shown: Path

    def write(self, content: Any, /) -> int:
        try:
            return super().write(content)
        except OSError as error:
            raise cannot_write(self.shown, error) from error


def _is_same(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except OSError:  # one of them is not there yet
        return _resolved(one) == _resolved(other)


def _resolved(path: Path) -> Path:
    try:
        return path.resolve()
    except (OSError, RuntimeError) as error:
        raise ConfigurationError(f"{path} is a link to itself; choose another output") from error
