# SPDX-License-Identifier: BSD-3-Clause
"""A graph runs at sizes that leave its results alone, and at no other."""

from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from broker_plugin.engine.batching import ROWS_MAX, Arrays, BatchedGraph, cheapest_sizes
from broker_plugin.engine.providers import cpu_choice
from broker_plugin.engine.session import open_session
from tests.broker_plugin.engine.graphs import WIDTH, attention_graph, attention_inputs, crowd_graph

LENGTH = 7


def example(rng: np.random.Generator, rows: int) -> Arrays:
    return attention_inputs(rng, rows, LENGTH)


def plain_rows(rng: np.random.Generator, rows: int) -> Arrays:
    return {"tokens": rng.standard_normal((rows, WIDTH)).astype(np.float32)}


def batched(graph: bytes, *, rows_max: int = 256, of: partial[Arrays] | None = None) -> BatchedGraph:
    return BatchedGraph(open_session(graph, cpu_choice()), rows_max=rows_max, example=of or example)


def embeddings(graph: BatchedGraph, inputs: Arrays, rows: slice) -> NDArray[np.float32]:
    part = {name: values[rows] for name, values in inputs.items()}
    return graph.run(part, len(part["tokens"]))["embedding"]


def test_rows_have_the_same_bits_in_any_batch(rng: np.random.Generator) -> None:
    graph, inputs = batched(attention_graph(rng)), example(rng, 150)
    whole = embeddings(graph, inputs, slice(None))
    assert whole.shape[0] == 150
    for size in (1, 2, 3, 5, 22, 64, 65, 127):
        begin = int(rng.integers(0, 150 - size))
        some = slice(begin, begin + size)
        assert np.array_equal(embeddings(graph, inputs, some), whole[some])


def test_sizes_that_give_other_numbers_are_not_run(rng: np.random.Generator) -> None:
    """Batches of eight and more compute something else than those of fewer."""
    graph = batched(crowd_graph(from_rows=8), of=partial(plain_rows))
    assert graph.sizes == (64, 32, 16, 8)
    inputs = plain_rows(rng, 100)
    for size in (1, 5, 8, 9, 100):
        found = embeddings(graph, inputs, slice(0, size))
        assert np.array_equal(found, 2 * inputs["tokens"][:size])


def test_where_no_smaller_size_will_do_every_batch_is_padded_to_the_largest(rng: np.random.Generator) -> None:
    graph = batched(crowd_graph(from_rows=ROWS_MAX), of=partial(plain_rows))
    assert graph.sizes == (ROWS_MAX,)
    inputs = plain_rows(rng, 3)
    assert np.array_equal(embeddings(graph, inputs, slice(None)), 2 * inputs["tokens"])


def test_the_bundles_batch_is_not_exceeded(rng: np.random.Generator) -> None:
    assert batched(attention_graph(rng), rows_max=8).sizes[0] == 8


@given(
    st.integers(1, 300),
    st.lists(st.sampled_from([1, 2, 3, 4, 8, 16, 24, 64]), min_size=1, unique=True),
    st.integers(1, 30),
)
def test_the_sizes_hold_all_rows_and_nothing_costs_less(n: int, sizes: list[int], overhead: int) -> None:
    falling = tuple(sorted(sizes, reverse=True))
    found = cheapest_sizes(n, falling, overhead)
    assert set(found) <= set(sizes)
    # All runs but the last are full, so that only the last one is padded.
    assert sum(found[:-1]) < n <= sum(found)
    if n <= falling[0]:
        least = min(size for size in falling if size >= n)
        assert sum(size + overhead for size in found) <= least + overhead


@pytest.mark.parametrize("n", [1, 2, 7])
def test_few_rows_are_hardly_padded(n: int) -> None:
    assert sum(cheapest_sizes(n, (64, 32, 16, 8, 4, 2, 1), 1)) <= n + 1
