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

HEADERS_MAX_BYTES = 100_000
"""Room for the headers of a member: a path takes 4 kB at most. `tarfile` reads them whole, and a chain of
them by recursion, three calls for each block of 512 bytes: with much more Python's stack would not do."""


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
                # It would remember every member, and every global header.
                archive.members, archive.pax_headers = [], {}  # type: ignore[attr-defined]
                stream.allow(archive.offset + HEADERS_MAX_BYTES)
                name = member.name
                if member.isfile():
                    yield name, _content(archive, member) if member.size <= MESSAGE_MAX_BYTES else None
        stream.require_end()
    except (tarfile.TarError, EOFError, OSError, ValueError, zlib.error) as error:
        place = f"after member {name!r}" if name else "at its beginning"
        detail = f"the archive cannot be read {place}: {_cause(error)}"
        raise RejectedAlert(RejectReason.UNDECODABLE, detail) from error


class _LongHeadersError(tarfile.ReadError):
    """A member has more headers than any has."""


class _TarStream(io.RawIOBase):
    """The bytes of a tar archive, plain or gzipped, that knows whether it was cut and how far it may be read.

    `tarfile` takes a stream that breaks off between two members for one that ends there, and within a member
    tries to skip what is not there, for years if the member says so.
    """

    def __init__(self, handle: BinaryIO) -> None:
        is_gzip = handle.read(len(GZIP_MAGIC)) == GZIP_MAGIC
        handle.seek(0)
        self._source = gzip.GzipFile(fileobj=handle) if is_gzip else handle
        self._tail = b""
        self._position, self._allowed = 0, HEADERS_MAX_BYTES

    def allow(self, position: int) -> None:
        """Let so much be read, from the beginning of the archive, and at most one more read."""
        self._allowed = position

    def read(self, size: int = -1) -> bytes:
        """Read like a file, but not beyond its end: an archive says before that it ends."""
        if self._position > self._allowed:
            raise _LongHeadersError
        content = self._next(size)
        if not content:
            raise EOFError("the archive has no end")
        return content

    def require_end(self) -> None:
        """Raise EOFError unless the archive ended with a block of zeros, as every tar archive does."""
        while self._next(tarfile.RECORDSIZE):
            pass
        if self._tail != bytes(tarfile.BLOCKSIZE):
            raise EOFError("the archive has no end")

    def _next(self, size: int) -> bytes:
        content = self._source.read(size)
        self._position += len(content)
        self._tail = (self._tail + content)[-tarfile.BLOCKSIZE :]
        return content


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
        case _LongHeadersError():
            return f"the headers of the next member are longer than {HEADERS_MAX_BYTES} bytes"
        case tarfile.TarError() | ValueError():  # the latter of numbers in extended headers
            return "it is no tar archive from here on, or was cut short"
        case _:
            return "the disk does not give it back"
