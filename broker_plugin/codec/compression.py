# SPDX-License-Identifier: BSD-3-Clause
"""The codecs of Avro container files, each with a limit on what comes out: a bomb is small until opened."""

from __future__ import annotations

import bz2
import lzma
import zlib
from collections.abc import Callable

__all__ = ["BlockTooLargeError", "decompress"]

CHECKSUM_BYTES = 4
"""Avro puts a CRC-32 behind a snappy block."""

SNAPPY_LENGTH_BYTES = 5
"""Longest encoding of the length that a snappy block begins with."""


class BlockTooLargeError(ValueError):
    """More bytes would come out of a block than may."""


def decompress(content: bytes, codec: bytes, max_bytes: int) -> bytes:
    """Return the content of a block.

    Parameters
    ----------
    codec
        Name in the file's header.
    max_bytes
        Most bytes that may come out.

    Raises
    ------
    ValueError
        If the codec is unknown or the content damaged.
    BlockTooLargeError
        If more than `max_bytes` would come out.

    Examples
    --------
    >>> decompress(zlib.compress(b"abc")[2:-4], b"deflate", 10)
    b'abc'
    """
    if codec not in _CODECS:
        raise ValueError("the file's compression is none of " + ", ".join(name.decode() for name in _CODECS))
    try:
        plain = _CODECS[codec](content, max_bytes)
    except (OSError, zlib.error, lzma.LZMAError, EOFError) as error:
        raise ValueError(f"a compressed block is damaged ({type(error).__name__})") from error
    if len(plain) > max_bytes:
        raise BlockTooLargeError(f"a block holds more than {max_bytes} bytes")
    return plain


def _deflate(content: bytes, max_bytes: int) -> bytes:
    return zlib.decompressobj(wbits=-zlib.MAX_WBITS).decompress(content, max_bytes + 1)


def _bzip2(content: bytes, max_bytes: int) -> bytes:
    return bz2.BZ2Decompressor().decompress(content, max_bytes + 1)


def _xz(content: bytes, max_bytes: int) -> bytes:
    return lzma.LZMADecompressor(memlimit=max(max_bytes, 1 << 26)).decompress(content, max_bytes + 1)


def _zstandard(content: bytes, max_bytes: int) -> bytes:
    import pyarrow as pa  # takes 0.2 s, and most streams never need it

    with pa.CompressedInputStream(pa.BufferReader(content), "zstd") as stream:
        # Not `read`: that loses the memory that it took when the content is damaged.
        return bytes(stream.read_buffer(max_bytes + 1).to_pybytes())


def _snappy(content: bytes, max_bytes: int) -> bytes:
    import pyarrow as pa

    block, checksum = content[:-CHECKSUM_BYTES], content[-CHECKSUM_BYTES:]
    length = 0
    for position, byte in enumerate(block[:SNAPPY_LENGTH_BYTES]):
        length |= (byte & 0x7F) << (7 * position)
        if byte < 0x80:
            break
    if length > max_bytes:
        raise BlockTooLargeError(f"a block holds more than {max_bytes} bytes")
    plain = bytes(pa.Codec("snappy").decompress(block, decompressed_size=length))
    if zlib.crc32(plain).to_bytes(CHECKSUM_BYTES, "big") != checksum:
        raise ValueError("a compressed block is damaged (checksum)")
    return plain


def _plain(content: bytes, max_bytes: int) -> bytes:
    return content


_CODECS: dict[bytes, Callable[[bytes, int], bytes]] = {
    b"null": _plain,
    b"deflate": _deflate,
    b"snappy": _snappy,
    b"zstandard": _zstandard,
    b"bzip2": _bzip2,
    b"xz": _xz,
}
