# SPDX-License-Identifier: BSD-3-Clause
"""The graphs of a bundle: encoders, head and forests.

Alerts are gathered by the smallest length of the manifest that holds their tokens, and run in batches whose
sizes leave the results alone (`batching`).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from broker_plugin.bundle import Bundle, ForestModel, HeadModel, ModalityModel
from broker_plugin.engine.batching import Arrays, BatchedGraph
from broker_plugin.engine.providers import ProviderChoice, cpu_choice
from broker_plugin.engine.session import open_session
from broker_plugin.errors import BundleError
from broker_plugin.features.base import Modality, Tokens, build_modality, pad

__all__ = ["FUSED", "Encoder", "Forest", "Fusion", "Head"]


FUSED = "fused"
"""Name of the fusion among the sources of anomaly scores."""

USUALLY_PRESENT = 0.7
"""Share of the modalities that example alerts have: some lack one, some have all."""


class Encoder:
    """One modality's encoder: tokens to unit embeddings."""

    def __init__(self, bundle: Bundle, model: ModalityModel, choice: ProviderChoice, *, threads: int) -> None:
        self.model = model
        self.modality: Modality = build_modality(model.name, model.spec)
        self.dim = bundle.manifest.embedding_dim
        sessions = {file: open_session(bundle.graph(file), choice, threads=threads) for file in model.files}
        width = self.modality.width
        self._graphs = [
            BatchedGraph(
                sessions[model.file_at(length)],
                rows_max=batch,
                example=partial(_example_tokens, length, width),
                length=length,
            )
            for length, batch in model.shapes
        ]

    def encode(self, tokens: Tokens) -> NDArray[np.float32]:
        """Return the embeddings (B, D), zero where an alert lacks the modality."""
        longest = self.model.shapes[-1][0]
        if tokens.lengths.max(initial=0) > longest:
            raise BundleError(
                f"the bundle's {self.model.name} encoder takes {longest} tokens and its spec gives more",
                remedy="export it again",
            )
        embeddings = np.zeros((len(tokens.lengths), self.dim), np.float32)
        shorter = 0
        for graph, (length, _) in zip(self._graphs, self.model.shapes, strict=True):
            rows = np.flatnonzero((tokens.lengths > shorter) & (tokens.lengths <= length))
            if len(rows):
                values, mask = pad(tokens, rows, batch=len(rows), length=length)
                embeddings[rows] = graph.run({"tokens": values, "mask": mask}, len(rows))["embedding"]
            shorter = length
        return embeddings

    def warm_up(self) -> None:
        """Run every shape once, so that the first alert does not wait for it."""
        for graph in self._graphs:
            graph.warm_up()


@dataclass(frozen=True, slots=True, kw_only=True)
class Fusion:
    """What the head makes of a batch.

    Unit embeddings (B, D), logits (B, C), neighbours (B, R), probabilities of what is odd (B, O), and what
    the forests of the fusion see (B, S); for a bundle that knows no oddities O is 0, and they see the
    embedding.
    """

    fused: NDArray[np.float32]
    logits: NDArray[np.float32]
    similarity: NDArray[np.float32]
    neighbour: NDArray[np.int64]
    oddity: NDArray[np.float32]
    surprise: NDArray[np.float32]


class Head:
    """Fusion of the modalities, classifier and nearest labelled objects."""

    def __init__(self, bundle: Bundle, model: HeadModel, choice: ProviderChoice, *, threads: int) -> None:
        self.model = model
        session = open_session(bundle.graph(model.file), choice, threads=threads)
        shape = (len(bundle.manifest.modalities), bundle.manifest.embedding_dim)
        self._graph = BatchedGraph(session, rows_max=model.batch, example=partial(_example_embeddings, shape))

    def fuse(self, embeddings: NDArray[np.float32], present: NDArray[np.bool_]) -> Fusion:
        """Return the fusion of embeddings (B, K, D), of which `present` (B, K) are real."""
        outputs = self._graph.run({"embeddings": embeddings, "present": present}, len(present))
        return Fusion(
            fused=outputs["fused"],
            logits=outputs["logits"],
            similarity=outputs["similarity"],
            neighbour=outputs["neighbour"],
            oddity=outputs["oddity"] if self.model.oddities else np.zeros((len(present), 0), np.float32),
            surprise=outputs["surprise"] if self.model.surprise else outputs["fused"],
        )

    def warm_up(self) -> None:
        """Run every shape once."""
        self._graph.warm_up()


class Forest:
    """Isolation forests over one space; they run on the CPU, since trees have no CUDA kernel."""

    def __init__(self, bundle: Bundle, model: ForestModel, *, threads: int) -> None:
        self.model = model
        of_surprise = model.source == FUSED and bundle.manifest.head.surprise
        dim = len(bundle.manifest.head.surprise) if of_surprise else bundle.manifest.embedding_dim
        session = open_session(bundle.graph(model.file), cpu_choice(), threads=threads)
        self._graph = BatchedGraph(
            session, rows_max=model.batch, example=partial(_example_points, dim), trees=True
        )

    def score(self, embedding: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return the anomaly scores (B,) of rows (B, D or S): the least over the class forests, if any."""
        scores = self._graph.run({"embedding": embedding}, len(embedding))["score"]
        strangest = scores[:, 0] if scores.shape[1] == 1 else scores[:, 1:].min(axis=1)
        return np.asarray(strangest, np.float64)

    def warm_up(self) -> None:
        """Run every shape once."""
        self._graph.warm_up()


def _example_tokens(length: int, width: int, rng: np.random.Generator, rows: int) -> Arrays:
    mask = np.arange(length) < rng.integers(1, length + 1, rows)[:, None]
    tokens = rng.normal(size=(rows, length, width)).astype(np.float32) * mask[:, :, None]
    return {"tokens": tokens, "mask": mask}


def _example_embeddings(shape: tuple[int, int], rng: np.random.Generator, rows: int) -> Arrays:
    embeddings = _example_points(shape[1], rng, rows * shape[0])["embedding"].reshape(rows, *shape)
    return {"embeddings": embeddings, "present": rng.random((rows, shape[0])) < USUALLY_PRESENT}


def _example_points(dim: int, rng: np.random.Generator, rows: int) -> Arrays:
    points = rng.normal(size=(rows, dim))
    return {"embedding": (points / np.linalg.norm(points, axis=1, keepdims=True)).astype(np.float32)}
