# SPDX-License-Identifier: BSD-3-Clause
"""Alerts encoded by a bundle's own graphs, whole and with modalities left out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from broker_plugin.bundle import Bundle
from broker_plugin.engine.encoders import FUSED, Encoder, Forest, Head
from broker_plugin.engine.providers import cpu_choice
from broker_plugin.features.period import find_periods
from broker_plugin.records import Alert, AlertBatch
from trainer.model import EPOCH_MODALITIES

__all__ = ["Encoded", "Engine", "View"]

Float32Array = NDArray[np.float32]

CHUNK = 1024
"""Alerts encoded at a time; bounds the memory of their tokens."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoded:
    """Columns over alerts (N,), embeddings (N, K, D) and where they are real (N, K)."""

    survey: NDArray[np.str_]
    context: NDArray[np.str_]
    n_epochs: NDArray[np.int64]
    embeddings: Float32Array
    present: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.survey)

    def take(self, rows: NDArray[np.intp]) -> Encoded:
        """Return the alerts at `rows`."""
        return Encoded(**{column.name: getattr(self, column.name)[rows] for column in fields(self)})

    def modalities(self, names: Sequence[str]) -> list[tuple[str, ...]]:
        """Return which of the modalities, in the order of `names`, each alert has."""
        return [tuple(name for name, there in zip(names, row, strict=True) if there) for row in self.present]


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """Alerts as if they had these modalities, one at least, and no others.

    Parameters
    ----------
    modalities
        Their names, in the bundle's order.
    rows
        The alerts that have them, (V,).
    natural
        Which of those have no others, so that nothing was left out, (V,).
    n_epochs
        Number of epochs that is left, (V,).
    embeddings
        By source of anomaly scores, (V, D).
    """

    modalities: tuple[str, ...]
    rows: NDArray[np.intp]
    natural: NDArray[np.bool_]
    n_epochs: NDArray[np.int64]
    embeddings: dict[str, Float32Array]

    @property
    def counted(self) -> bool:
        """Whether the light curve is among them, so that there are epochs to count."""
        return not EPOCH_MODALITIES.isdisjoint(self.modalities)


class Engine:
    """The encoders, the head and the common forests of a bundle on the CPU."""

    def __init__(self, bundle: Bundle) -> None:
        manifest, choice = bundle.manifest, cpu_choice()
        self.bundle = bundle
        self._n_surprise = len(manifest.head.surprise) or manifest.embedding_dim
        self.modalities = tuple(model.name for model in manifest.modalities)
        self._encoders = [Encoder(bundle, model, choice, threads=1) for model in manifest.modalities]
        self._head = Head(bundle, manifest.head, choice, threads=1)
        self.forests = {
            model.source: Forest(bundle, model, threads=1)
            for model in manifest.forests
            if model.survey is None
        }

    def encode(self, alerts: Sequence[Alert]) -> Encoded:
        """Return the alerts' embeddings, as the service computes them."""
        starts = range(0, len(alerts), CHUNK)
        parts = [self._encode(AlertBatch.from_alerts(alerts[start : start + CHUNK])) for start in starts]
        return Encoded(
            survey=np.array([alert.survey for alert in alerts], np.str_),
            context=np.array([str(alert.source_context) for alert in alerts], np.str_),
            n_epochs=np.array([len(alert.light_curve) for alert in alerts], np.int64),
            embeddings=np.concatenate([embeddings for embeddings, _ in parts]),
            present=np.concatenate([present for _, present in parts]),
        )

    def views(self, encoded: Encoded, *, natural_only: bool = False) -> Iterator[View]:
        """Yield the alerts with every subset of their modalities, or as they are only."""
        n = len(self.modalities)
        for size in range(n, 0, -1):
            for subset in combinations(range(n), size):
                wanted = np.isin(np.arange(n), subset)
                rows = np.flatnonzero(np.all(encoded.present[:, wanted], axis=1))
                natural: NDArray[np.bool_] = np.all(~encoded.present[rows][:, ~wanted], axis=1)
                if natural_only:
                    rows, natural = rows[natural], natural[natural]
                if len(rows):
                    yield self._view(encoded, wanted, rows, natural)

    def sources(self, encoded: Encoded) -> dict[str, Float32Array]:
        """Return the embeddings (N, D) of the alerts as they are, by source; zero where one is missing."""
        found = {name: encoded.embeddings[:, position] for position, name in enumerate(self.modalities)}
        fused = np.zeros((len(encoded), self._n_surprise), np.float32)
        for view in self.views(encoded, natural_only=True):
            fused[view.rows] = view.embeddings[FUSED]
        return {FUSED: fused} | found

    def _encode(self, batch: AlertBatch) -> tuple[Float32Array, NDArray[np.bool_]]:
        periods = find_periods(batch)
        tokens = [encoder.modality.tokens(batch, periods) for encoder in self._encoders]
        embeddings = [encoder.encode(part) for encoder, part in zip(self._encoders, tokens, strict=True)]
        present = np.stack([part.lengths > 0 for part in tokens], axis=1)
        return np.stack(embeddings, axis=1), present

    def _view(
        self,
        encoded: Encoded,
        wanted: NDArray[np.bool_],
        rows: NDArray[np.intp],
        natural: NDArray[np.bool_],
    ) -> View:
        embeddings = encoded.embeddings[rows] * wanted[None, :, None]
        present = np.broadcast_to(wanted, (len(rows), len(wanted)))
        fused = self._head.fuse(embeddings.astype(np.float32), np.ascontiguousarray(present)).surprise
        names = tuple(name for name, there in zip(self.modalities, wanted, strict=True) if there)
        of_source = {FUSED: fused} | {
            name: encoded.embeddings[rows, self.modalities.index(name)] for name in names
        }
        counted = not EPOCH_MODALITIES.isdisjoint(names)
        return View(
            modalities=names,
            rows=rows,
            natural=natural,
            n_epochs=encoded.n_epochs[rows] if counted else np.zeros(len(rows), np.int64),
            embeddings=of_source,
        )
