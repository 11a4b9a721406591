# SPDX-License-Identifier: BSD-3-Clause
"""The graphs of a bundle, run at fixed shapes.

ONNX Runtime's CPU kernels give other last bits at other shapes, so every graph only ever sees the shapes that
the manifest names: alerts are gathered by the smallest length that holds them and the last batch is padded.
An alert's numbers then depend neither on its neighbours nor on how many there are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from broker_plugin.bundle import Bundle, ForestModel, HeadModel, ModalityModel
from broker_plugin.engine.providers import ProviderChoice, cpu_choice
from broker_plugin.engine.session import FixedShapeSession, open_session
from broker_plugin.errors import BundleError
from broker_plugin.features.base import Modality, Tokens, build_modality, pad

__all__ = ["FUSED", "Encoder", "Forest", "Fusion", "Head"]


FUSED = "fused"
"""Name of the fusion among the sources of anomaly scores."""


class Encoder:
    """One modality's encoder: tokens to unit embeddings."""

    def __init__(self, bundle: Bundle, model: ModalityModel, choice: ProviderChoice, *, threads: int) -> None:
        self.model = model
        self.modality: Modality = build_modality(model.name, model.spec)
        self.dim = bundle.manifest.embedding_dim
        self._session = open_session(bundle.graph(model.file), choice, threads=threads)

    def encode(self, tokens: Tokens) -> NDArray[np.float32]:
        """Return the embeddings (B, D), zero where an alert lacks the modality."""
        longest = self.model.shapes[-1][0]
        if tokens.lengths.max(initial=0) > longest:
            raise BundleError(
                f"the bundle's {self.model.name} encoder takes {longest} tokens and its spec gives more",
                remedy="export it again",
            )
        embeddings = np.zeros((len(tokens.lengths), self.dim), np.float32)
        for rows, length, batch in self._buckets(tokens.lengths):
            values, mask = pad(tokens, rows, batch=batch, length=length)
            output = self._session.run({"tokens": values, "mask": mask})["embedding"]
            embeddings[rows] = output[: len(rows)]
        return embeddings

    def warm_up(self) -> None:
        """Run every shape once, so that the first alert does not wait for it."""
        width = self.modality.width
        self._session.warm_up(
            {"tokens": (batch, length, width), "mask": (batch, length)} for length, batch in self.model.shapes
        )

    def _buckets(self, lengths: NDArray[np.int64]) -> Iterator[tuple[NDArray[np.intp], int, int]]:
        shorter = 0
        for length, batch in self.model.shapes:
            rows = np.flatnonzero((lengths > shorter) & (lengths <= length))
            for chunk in _chunks(len(rows), batch):
                yield rows[chunk], length, batch
            shorter = length


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
        self._n_modalities = len(bundle.manifest.modalities)
        self._dim = bundle.manifest.embedding_dim
        self._session = open_session(bundle.graph(model.file), choice, threads=threads)

    def fuse(self, embeddings: NDArray[np.float32], present: NDArray[np.bool_]) -> Fusion:
        """Return the fusion of embeddings (B, K, D), of which `present` (B, K) are real."""
        outputs = _run_in_chunks(
            self._session, {"embeddings": embeddings, "present": present}, batch=self.model.batch
        )
        return Fusion(
            fused=outputs["fused"],
            logits=outputs["logits"],
            similarity=outputs["similarity"],
            neighbour=outputs["neighbour"],
            oddity=outputs["oddity"] if self.model.oddities else np.zeros((len(present), 0), np.float32),
            surprise=outputs["surprise"] if self.model.surprise else outputs["fused"],
        )

    def warm_up(self) -> None:
        """Run the fixed shape once."""
        shape = (self.model.batch, self._n_modalities)
        self._session.warm_up([{"embeddings": (*shape, self._dim), "present": shape}])


class Forest:
    """Isolation forests over one space; they run on the CPU, since trees have no CUDA kernel."""

    def __init__(self, bundle: Bundle, model: ForestModel, *, threads: int) -> None:
        self.model = model
        of_surprise = model.source == FUSED and bundle.manifest.head.surprise
        self._dim = len(bundle.manifest.head.surprise) if of_surprise else bundle.manifest.embedding_dim
        self._session = open_session(bundle.graph(model.file), cpu_choice(), threads=threads)

    def score(self, embedding: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return the anomaly scores (B,) of rows (B, D or S): the least over the class forests, if any."""
        scores = _run_in_chunks(self._session, {"embedding": embedding}, batch=self.model.batch)["score"]
        strangest = scores[:, 0] if scores.shape[1] == 1 else scores[:, 1:].min(axis=1)
        return strangest.astype(np.float64)

    def warm_up(self) -> None:
        """Run the fixed shape once."""
        self._session.warm_up([{"embedding": (self.model.batch, self._dim)}])


def _chunks(n: int, size: int) -> Iterator[slice]:
    return (slice(start, min(start + size, n)) for start in range(0, n, size))


def _run_in_chunks(
    session: FixedShapeSession, inputs: Mapping[str, NDArray[Any]], *, batch: int
) -> dict[str, NDArray[Any]]:
    n = len(next(iter(inputs.values())))
    parts: list[dict[str, NDArray[Any]]] = []
    for rows in _chunks(n, batch):
        padded = {name: _pad_rows(values[rows], batch) for name, values in inputs.items()}
        outputs = session.run(padded)
        parts.append({name: values[: rows.stop - rows.start] for name, values in outputs.items()})
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _pad_rows(values: NDArray[Any], batch: int) -> NDArray[Any]:
    padded = np.zeros((batch, *values.shape[1:]), values.dtype)
    padded[: len(values)] = values
    return padded
