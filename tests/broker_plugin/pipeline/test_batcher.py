# SPDX-License-Identifier: BSD-3-Clause
"""A batch closes by number, size or age, and loses nothing."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from broker_plugin.pipeline.batcher import Batcher
from broker_plugin.streams.base import Message


def numbered(first: int, sizes: list[int]) -> list[Message]:
    return [
        Message(topic="t", partition=0, offset=first + n, value=bytes(size)) for n, size in enumerate(sizes)
    ]


@given(
    arrivals=st.lists(st.tuples(st.floats(0.0, 3.0), st.lists(st.integers(0, 50), max_size=7)), max_size=30),
    batch_max=st.integers(1, 10),
    batch_max_bytes=st.integers(1, 120),
    batch_age_s=st.floats(0.0, 2.0),
)
def test_batches_keep_order_and_limits(
    arrivals: list[tuple[float, list[int]]], batch_max: int, batch_max_bytes: int, batch_age_s: float
) -> None:
    batcher = Batcher(batch_max=batch_max, batch_max_bytes=batch_max_bytes, batch_age_s=batch_age_s)
    now, offered, taken = 0.0, 0, []
    for pause_s, sizes in arrivals:
        waited_s = batcher.wait_s(now)
        now += min(pause_s, waited_s)
        if not batcher.is_due(now):
            fitting = numbered(offered, sizes[: batcher.room])
            batcher.add(fitting, now=now)
            offered += len(fitting)
        if batcher.is_due(now):
            batch = batcher.take()
            assert 1 <= len(batch) <= batch_max
            taken += batch
        assert batcher.room >= 1
    taken += batcher.take()
    assert [message.offset for message in taken] == list(range(offered))


def test_the_oldest_message_decides_the_age() -> None:
    batcher = Batcher(batch_max=100, batch_age_s=1.0)
    assert not batcher.is_due(10.0)
    batcher.add(numbered(0, [1]), now=10.0)
    batcher.add(numbered(1, [1]), now=10.9)
    assert batcher.wait_s(10.75) == 0.25
    assert not batcher.is_due(10.75)
    assert batcher.is_due(11.0)


def test_a_large_message_closes_its_batch() -> None:
    batcher = Batcher(batch_max=100, batch_max_bytes=1000, batch_age_s=60.0)
    batcher.add(numbered(0, [10]), now=0.0)
    assert not batcher.is_due(0.0)
    batcher.add(numbered(1, [5000]), now=0.0)
    assert batcher.is_due(0.0)
