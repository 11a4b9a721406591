# SPDX-License-Identifier: BSD-3-Clause
"""An encoder encodes whatever its shapes hold, and refuses the rest instead of passing it over."""

import resource
from pathlib import Path

import numpy as np
import pytest

from broker_plugin.bundle import open_bundle
from broker_plugin.engine.encoders import Encoder
from broker_plugin.engine.providers import cpu_choice
from broker_plugin.errors import BundleError
from broker_plugin.features.base import Tokens

STATM = Path("/proc/self/statm")


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    bundle = open_bundle("default")
    model = next(model for model in bundle.manifest.modalities if model.name == "light_curve")
    return Encoder(bundle, model, cpu_choice(), threads=1)


def tokens_of(encoder: Encoder, lengths: list[int]) -> Tokens:
    rng = np.random.default_rng(2)
    values = rng.normal(size=(sum(lengths), encoder.modality.width)).astype(np.float32)
    return Tokens(values=values, offsets=np.concatenate([[0], np.cumsum(lengths)]))


def test_every_length_up_to_the_longest_is_encoded(encoder: Encoder) -> None:
    embeddings = encoder.encode(tokens_of(encoder, [0, 1, 3, 4, 5, 7, 8]))
    norms = np.linalg.norm(embeddings, axis=1)
    # Unit vectors of 128 float32 numbers; the missing one is zero.
    np.testing.assert_allclose(norms, [0, 1, 1, 1, 1, 1, 1], atol=1e-5)


def test_more_tokens_than_any_shape_holds_are_refused(encoder: Encoder) -> None:
    with pytest.raises(BundleError, match="takes 8 tokens"):
        encoder.encode(tokens_of(encoder, [3, 9]))


@pytest.mark.skipif(not STATM.exists(), reason="no /proc to read the resident memory from")
def test_memory_stays_flat_over_batches_of_any_size_and_length(
    encoder: Encoder, rng: np.random.Generator
) -> None:
    """ONNX Runtime keeps what it has allocated, so all that any batch needs is there after the first ones."""

    def run_some(batches: int) -> float:
        for _ in range(batches):
            lengths = rng.choice([0, 1, 2, 3, 7, 8], size=int(rng.integers(1, 300)))
            encoder.encode(tokens_of(encoder, lengths.tolist()))
        return int(STATM.read_text().split()[1]) * resource.getpagesize() / 1e6

    encoder.warm_up()
    first = run_some(20)
    # A buffer for each batch would take 300 MB here.
    assert run_some(60) - first < 15.0
