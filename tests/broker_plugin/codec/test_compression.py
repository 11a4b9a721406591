# SPDX-License-Identifier: BSD-3-Clause
"""A damaged block is rejected, and nothing of it stays in memory."""

from __future__ import annotations

import os
import zlib

import psutil
import pyarrow as pa
import pytest

from broker_plugin.codec.compression import decompress

SIZE = 4_000_000
TIMES = 30


@pytest.mark.parametrize("codec", ["snappy", "zstandard"])
def test_a_damaged_block_leaves_nothing_in_memory(codec: str) -> None:
    # A reader of a damaged stream once kept what it had decompressed so far; a mutant of a packet showed it.
    content = os.urandom(SIZE)
    block = bytes(pa.Codec({"zstandard": "zstd"}.get(codec, codec)).compress(content))[: SIZE // 2]
    process = psutil.Process()
    before = 0
    for number in range(2 * TIMES):
        if number == TIMES:  # by then the allocator has what it wants
            before = process.memory_info().rss
        with pytest.raises(ValueError, match="damaged"):
            decompress(block, codec.encode(), 2 * SIZE)
    assert process.memory_info().rss - before < TIMES * SIZE / 8


def test_a_block_that_ends_early_gives_what_there_is_and_the_reader_notices() -> None:
    content = os.urandom(SIZE)
    block = zlib.compress(content)[2 : SIZE // 2]
    assert content.startswith(decompress(block, b"deflate", 2 * SIZE))
