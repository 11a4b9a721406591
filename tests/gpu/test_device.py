# SPDX-License-Identifier: BSD-3-Clause
"""Laws of a device that are more than one graph's: memory stays as it is, bound buffers change no bit."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from broker_plugin.bundle import open_bundle
from broker_plugin.engine.providers import ProviderChoice, choose
from broker_plugin.engine.runtime import CUDA_PROVIDER
from broker_plugin.engine.scorer import Scorer
from tests.broker_plugin.engine.environments import replayed_by_two
from tests.gpu.binding import BoundGraph, encoder_runs
from tests.gpu.memory import memory_over_batches
from tests.support.alerts import real_alerts

GROWTH_MAX_MB = 16.0
"""Room for a block of the pool that is asked for late. A pool that grew by doubling took gigabytes."""


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def choice(request: pytest.FixtureRequest) -> Iterator[ProviderChoice]:
    return choose(request.param)


def test_bound_buffers_give_the_bits_of_arrays_run_after_run(choice: ProviderChoice) -> None:
    for _, session, inputs in encoder_runs(open_bundle("default"), choice, rows=16):
        bound = BoundGraph(session, inputs)
        others = {name: np.ascontiguousarray(values[::-1]) for name, values in inputs.items()}
        first, second = bound.run(inputs), bound.run(others)
        for found, given in ((first, inputs), (second, others)):
            assert np.array_equal(found["embedding"], session.run(given)["embedding"])


@pytest.mark.gpu
def test_gpu_memory_is_flat_over_batches_of_every_size_and_length(data_dir: Path) -> None:
    scorer = Scorer.open("default", device="cuda")
    used = memory_over_batches(scorer, real_alerts(data_dir))
    assert used["ready"][0] > 0
    assert max(used["since"]) <= used["ready"][0] + GROWTH_MAX_MB


@pytest.mark.gpu
def test_two_workers_share_what_gpus_there_are(data_dir: Path, tmp_path: Path) -> None:
    said, verdicts = replayed_by_two(data_dir, tmp_path, device="cuda")
    assert "cuda was asked for" in said
    assert {verdict["provider"] for verdict in verdicts} == {CUDA_PROVIDER}
