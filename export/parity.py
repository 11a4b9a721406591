# SPDX-License-Identifier: BSD-3-Clause
"""Checks of an exported bundle: every graph against the program that it was made from, within its limits.

The graphs run in ONNX Runtime on the CPU, at the shapes that the manifest names.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from broker_plugin.bundle import ModalityModel
from broker_plugin.calibration import softmax
from broker_plugin.engine.runtime import load_runtime
from broker_plugin.features.base import build_modality
from broker_plugin.parity import COSINE_MIN, FOREST_MAX, PROBABILITY_MAX, SURPRISE_MAX
from trainer.model import AlertModel, fuse

__all__ = [
    "COSINE_MIN",
    "FOREST_MAX",
    "PROBABILITY_MAX",
    "ParityError",
    "encoder_parity",
    "forest_parity",
    "head_parity",
    "session",
]

PERMUTATIONS = 3
"""Orders of the rows in which a row's bits must stay the same."""

THREADS = 2
"""Threads at which the bits must be those of one thread."""


class ParityError(RuntimeError):
    """A graph does not compute what it was made from."""


def session(graph: bytes, *, threads: int = 1) -> Any:
    """Open a graph on the CPU."""
    ort = load_runtime()
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    return ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])


def encoder_parity(
    graphs: Mapping[str, bytes], model: AlertModel, exported: ModalityModel, *, seed: int = 0
) -> dict[str, float]:
    """Compare an encoder with torch at every shape, and check that rows do not depend on one another.

    Parameters
    ----------
    graphs
        The graphs that `exported` names, by file.

    Raises
    ------
    ParityError
        If they differ by more than `COSINE_MIN` allows, or a row's bits depend on where it stands.
    """
    rng, name = np.random.default_rng(seed), exported.name
    width = build_modality(name, exported.spec).width
    worst_cosine, worst = 1.0, 0.0
    sessions = {
        file: (session(graphs[file]), session(graphs[file], threads=THREADS)) for file in exported.files
    }
    for length, batch in exported.shapes:
        open_session, threaded = sessions[exported.file_at(length)]
        tokens, mask = random_tokens(rng, batch, length, width)
        found = open_session.run(None, {"tokens": tokens, "mask": mask})[0]
        with torch.no_grad():
            expected = model.encoders[name](torch.from_numpy(tokens), torch.from_numpy(mask)).numpy()
        worst_cosine = min(worst_cosine, float((found * expected).sum(axis=1).min()))
        worst = max(worst, float(np.abs(found - expected).max()))
        also = threaded.run(None, {"tokens": tokens, "mask": mask})[0]
        _require(np.array_equal(also, found), f"{name} at {length}: bits depend on the threads")
        for _ in range(PERMUTATIONS):
            order = rng.permutation(batch)
            again = open_session.run(None, {"tokens": tokens[order], "mask": mask[order]})[0]
            _require(np.array_equal(again, found[order]), f"{name} at {length}: a row depends on its place")
    _require(worst_cosine >= COSINE_MIN, f"{name}: cosine {worst_cosine} to torch")
    return {f"{name}_cosine_min": worst_cosine, f"{name}_difference_max": worst}


def head_parity(graph: bytes, model: AlertModel, batch: int, *, seed: int = 0) -> dict[str, float]:
    """Compare the head with torch, and check that rows do not depend on one another.

    Raises
    ------
    ParityError
        If probabilities differ by more than `PROBABILITY_MAX`.
    """
    rng = np.random.default_rng(seed)
    shape = (batch, len(model.modalities), model.embedding_dim)
    embeddings = rng.normal(size=shape).astype(np.float32)
    embeddings /= np.linalg.norm(embeddings, axis=2, keepdims=True)
    present = rng.random(shape[:2]) < 0.7
    open_session = session(graph)
    found = open_session.run(None, {"embeddings": embeddings, "present": present})
    with torch.no_grad():
        fused = fuse(torch.from_numpy(embeddings), torch.from_numpy(present))
        logits = (model.head(fused) + model.head.log_prior).numpy()
        surprise = model.head.surprise(fused).numpy()
    one = np.ones(batch)
    difference = float(np.abs(softmax(found[1], one) - softmax(logits, one)).max())
    order = rng.permutation(batch)
    again = open_session.run(None, {"embeddings": embeddings[order], "present": present[order]})
    threaded = session(graph, threads=THREADS).run(None, {"embeddings": embeddings, "present": present})
    for before, after, also in zip(found, again, threaded, strict=True):
        _require(np.array_equal(after, before[order]), "the head: a row depends on its place")
        _require(np.array_equal(also, before), "the head: bits depend on the threads")
    _require(difference <= PROBABILITY_MAX, f"the head: probabilities differ by {difference} from torch")
    surprise_difference = float(np.abs(found[-1] - surprise).max()) if model.head.oddity is not None else 0.0
    _require(surprise_difference <= SURPRISE_MAX, f"the head: surprise differs by {surprise_difference}")
    return {
        "probability_difference_max": difference,
        "surprise_difference_max": surprise_difference,
        "fused_difference_max": float(np.abs(found[0] - fused.numpy()).max()),
    }


def forest_parity(
    graph: bytes, source: str, probes: NDArray[np.float32], scores: NDArray[np.float64]
) -> dict[str, float]:
    """Compare a forest with scikit-learn's scores of the probes, adversarial neighbours included.

    Raises
    ------
    ParityError
        If a score differs by more than `FOREST_MAX`.
    """
    found = session(graph).run(None, {"embedding": probes})[0]
    threaded = session(graph, threads=THREADS).run(None, {"embedding": probes})[0]
    _require(np.array_equal(threaded, found), f"the forest of {source}: bits depend on the threads")
    difference = float(np.abs(found - scores).max())
    _require(difference <= FOREST_MAX, f"the forest of {source} differs by {difference} from scikit-learn")
    return {f"forest_{source}_difference_max": difference}


def random_tokens(
    rng: np.random.Generator, batch: int, length: int, width: int
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Return tokens of every number of epochs up to a length, wild ones among them."""
    tokens = rng.normal(size=(batch, length, width)).astype(np.float32)
    tokens[:, :, 0] = np.exp(rng.uniform(-6, 8, (batch, length)))
    mask = np.arange(length) < rng.integers(1, length + 1, batch)[:, None]
    return tokens * mask[:, :, None], mask


def _require(holds: bool, what: str) -> None:
    if not holds:
        raise ParityError(f"{what}; the bundle was not written")
