# SPDX-License-Identifier: BSD-3-Clause
"""Nightly tar archives, plain or gzipped, read in one pass and found out when they were cut."""

from __future__ import annotations

import gzip
import io
import tarfile
import zlib
from collections.abc import Iterator
from typing import BinaryIO

from broker_plugin.codec.packets import MESSAGE_MAX_BYTES
from broker_plugin.errors import RejectedAlert, RejectReason

__all__ = ["TAR_SUFFIXES", "read_members"]

TAR_SUFFIXES = (".tar", ".tar.gz", ".tgz")

GZIP_MAGIC = b"\x1f\x8b"
"""First bytes of a gzip stream."""


def read_members(handle: BinaryIO) -> Iterator[tuple[str, bytes | None]]:
    """Yield name and content of every file in an archive, in order; no content of what no message can hold.

    Raises
    ------
    RejectedAlert
        If the archive is cut or corrupt. What came before it was whole.
    """
    name = ""
    try:
        stream = _TarStream(handle)
        with tarfile.open(fileobj=stream, mode="r|") as archive:
            for member in archive:
                archive.members = []  # type: ignore[attr-defined]  # it would remember them all
                name = member.name
                if member.isfile():
                    yield name, _content(archive, member) if member.size <= MESSAGE_MAX_BYTES else None
        stream.require_end()
    except (tarfile.TarError, EOFError, OSError, zlib.error) as error:
        place = f"after member {name!r}" if name else "at its beginning"
        detail = f"the archive cannot be read {place}: {_cause(error)}"
        raise RejectedAlert(RejectReason.UNDECODABLE, detail) from error


class _TarStream(io.RawIOBase):
    """The bytes of a tar archive, plain or gzipped, that knows whether it was cut.

    `tarfile` takes a stream that breaks off between two members for one that ends there.
    """

    def __init__(self, handle: BinaryIO) -> None:
        is_gzip = handle.read(len(GZIP_MAGIC)) == GZIP_MAGIC
        handle.seek(0)
        self._source = gzip.GzipFile(fileobj=handle) if is_gzip else handle
        self._tail = b""

    def read(self, size: int = -1) -> bytes:
        """Read like a file."""
        content = self._source.read(size)
        self._tail = (self._tail + content)[-tarfile.BLOCKSIZE :]
        return content

    def require_end(self) -> None:
        """Raise EOFError unless the archive ended with a block of zeros, as every tar archive does."""
        while self.read(tarfile.RECORDSIZE):
            pass
        if self._tail != bytes(tarfile.BLOCKSIZE):
            raise EOFError("the archive has no end")


def _content(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = archive.extractfile(member)
    content = b"" if file is None else file.read()
    if len(content) != member.size:
        raise EOFError(f"{len(content)} of {member.size} bytes")
    return content


def _cause(error: Exception) -> str:
    """Return an error as a person says it; the library's name for it would tell nobody anything."""
    match error:
        case EOFError():
            return "it was cut short"
        case zlib.error() | gzip.BadGzipFile():
            return "the compressed data are damaged"
        case tarfile.TarError():
            return "it is no tar archive from here on, or was cut short"
        case _:
            return "the disk does not give it back"
