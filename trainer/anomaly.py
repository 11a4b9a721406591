# SPDX-License-Identifier: BSD-3-Clause
"""Isolation forests on the embeddings: one global, and if wanted one for each class.

With class forests, an alert's anomaly score is the least over them (multi-class isolation forest, Gupta et
al. 2024, RASTI 4, rzae054): strange is what resembles no class, not what is merely rare among all of them.

The forests are grown on alerts with epochs enough to be told apart. Short light curves lie between the
classes where nothing is decided; a forest that has them calls that place ordinary, and odd ones land there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import IsolationForest

from trainer.inference import Encoded
from trainer.model import subsets
from trainer.sets import ExampleSet

__all__ = [
    "FUSED",
    "GLOBAL_TREES",
    "MODALITY_TREES",
    "ForestArrays",
    "ForestSet",
    "adversarial_neighbours",
    "fit_by_class",
    "fit_fused",
    "fit_single",
    "read_forests",
    "write_forests",
]

Float32Array = NDArray[np.float32]

FUSED = "fused"
"""Name of the fusion among the sources of scores."""

GLOBAL_TREES = 200
"""Trees of a global forest. Scores of single runs scatter by about 1 / sqrt(trees); the graph grows along."""

CLASS_TREES = 64
"""Trees of each class forest; nine of them make up most of a bundle."""

MODALITY_TREES = 100
"""Trees of the forest of a single modality, whose score only explains."""

MAX_SAMPLES = 256
"""Objects a tree is grown on, as Liu et al. (2008) recommend: more hides anomalies among their like."""

FEW_AXES = 8
FEW_AXES_SAMPLES = 1024
"""The same where the space has so few axes. Almost all objects then lie in one corner, and among 256 there
are hardly two or three of the strangest percent: the order among these would be chance. With more it is the
same."""

CLASS_MAX_SAMPLES = 128
"""The same for a class: the rarest has 72 stars, so more would be the same stars again."""

N_PROBES = 2000
"""Embeddings kept with scikit-learn's scores, against which the exported graph is checked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ForestArrays:
    """Trees as arrays: columns over nodes (N,), roots and target of each tree.

    Parameters
    ----------
    feature
        Feature that a node splits on, -1 for a leaf.
    threshold
        Rows with a value not above it go left. Rounded down to float32, which for float32 rows decides
        exactly as the float64 threshold does; rounding to nearest would not.
    left, right
        Children, as positions in these columns.
    weight
        Of a leaf: its path length over the number of trees and the mean path length, so that the score is
        2 to the minus sum over the trees of a target.
    """

    feature: NDArray[np.int32]
    threshold: Float32Array
    left: NDArray[np.int32]
    right: NDArray[np.int32]
    weight: NDArray[np.float64]
    roots: NDArray[np.int32]
    target: NDArray[np.int32]
    n_features: int
    n_targets: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ForestSet:
    """The global forest and the class forests of one source of embeddings."""

    members: tuple[IsolationForest, ...]

    def targets(self, embedding: Float32Array) -> NDArray[np.float64]:
        """Return scikit-learn's scores (B, 1 + G): global, then each class; larger is stranger."""
        return np.stack([-forest.score_samples(embedding) for forest in self.members], axis=1)

    def score(self, embedding: Float32Array) -> NDArray[np.float64]:
        """Return the anomaly scores (B,): the least over the class forests, or the global one's."""
        targets = self.targets(embedding)
        return targets[:, 0] if targets.shape[1] == 1 else targets[:, 1:].min(axis=1)

    def arrays(self) -> ForestArrays:
        """Return all trees as arrays."""
        return _arrays(self.members)


def fit_fused(
    encoded: Sequence[Encoded],
    examples: Sequence[ExampleSet],
    n_classes: int,
    *,
    space: Callable[[Float32Array], Float32Array],
    seed: int,
) -> ForestSet:
    """Fit the forests of the fusion, on alerts with every subset of the modalities.

    Parameters
    ----------
    space
        Takes fused embeddings to what the forests see of them.
    n_classes
        How many class forests to fit besides the global one; 0 for none.
    """
    rng = np.random.default_rng((seed, 5))
    embeddings, labels = [], []
    n_modalities = encoded[0].present.shape[1]
    every = [subset for subset in subsets(n_modalities) if subset]
    for part, example in zip(encoded, examples, strict=True):
        chosen = rng.integers(0, len(every), len(example))
        for code, subset in enumerate(every):
            reduced = part.only(subset)
            rows = np.flatnonzero((chosen == code) & reduced.present.any(dim=1).numpy())
            embeddings.append(space(reduced.fused()[rows]))
            labels.append(example.label[rows])
    return fit_by_class(np.concatenate(embeddings), np.concatenate(labels), range(n_classes), seed=seed)


def fit_by_class(
    embedding: Float32Array, label: NDArray[np.int64], classes: Iterable[int], *, seed: int
) -> ForestSet:
    """Fit a global forest of embeddings (B, D), and one of each of these classes."""
    members = [_fit_global(embedding, trees=GLOBAL_TREES, seed=seed)]
    for each in classes:
        of_class = embedding[label == each]
        members.append(_fit(of_class, trees=CLASS_TREES, samples=CLASS_MAX_SAMPLES, seed=seed + 1 + each))
    return ForestSet(members=tuple(members))


def fit_single(embedding: Float32Array, *, seed: int, trees: int = MODALITY_TREES) -> ForestSet:
    """Fit one forest of embeddings (B, D): those of a modality, by its number of trees."""
    return ForestSet(members=(_fit_global(embedding, trees=trees, seed=seed),))


def adversarial_neighbours(forest: ForestArrays, embedding: Float32Array, *, seed: int) -> Float32Array:
    """Return embeddings moved onto thresholds of the forest, and to the float32 values beside them.

    A threshold rounded the wrong way sends just these rows to the other side.
    """
    rng = np.random.default_rng((seed, 6))
    splits = np.flatnonzero(forest.feature >= 0)
    moved = embedding.copy()
    for row in range(len(moved)):
        for node in rng.choice(splits, 8):
            value = forest.threshold[node]
            step = int(rng.integers(-1, 2))
            moved[row, forest.feature[node]] = (
                np.nextafter(value, np.float32(step * np.inf)) if step else value
            )
    return moved


def write_forests(
    forests: Mapping[str, ForestSet], embeddings: Mapping[str, Float32Array], folder: Path
) -> None:
    """Write the forests of each source, with probes: embeddings and scikit-learn's scores for them."""
    for source, forest in forests.items():
        arrays = forest.arrays()
        ordinary = embeddings[source][:N_PROBES]
        probes = np.concatenate([ordinary, adversarial_neighbours(arrays, ordinary, seed=0)])
        with (folder / f"forest-{source}.npz").open("wb") as file:
            np.savez(
                file,
                allow_pickle=False,
                probes=probes,
                probe_scores=forest.targets(probes),
                **{column.name: np.asarray(getattr(arrays, column.name)) for column in fields(ForestArrays)},
            )


def read_forests(source: str, folder: Path) -> tuple[ForestArrays, Float32Array, NDArray[np.float64]]:
    """Return a source's forest, its probes and their scores."""
    with np.load(folder / f"forest-{source}.npz", allow_pickle=False) as archive:
        columns = {column.name: archive[column.name] for column in fields(ForestArrays)}
        columns |= {name: int(columns[name]) for name in ("n_features", "n_targets")}
        return ForestArrays(**columns), archive["probes"], archive["probe_scores"]


def _fit_global(embedding: Float32Array, *, trees: int, seed: int) -> IsolationForest:
    samples = FEW_AXES_SAMPLES if embedding.shape[1] <= FEW_AXES else MAX_SAMPLES
    return _fit(embedding, trees=trees, samples=samples, seed=seed)


def _fit(embedding: Float32Array, *, trees: int, samples: int, seed: int) -> IsolationForest:
    forest = IsolationForest(n_estimators=trees, max_samples=min(samples, len(embedding)), random_state=seed)
    # The features are float32 before the fit, so that rounding thresholds down loses nothing.
    return forest.fit(np.ascontiguousarray(embedding, np.float32))


def _arrays(members: Sequence[IsolationForest]) -> ForestArrays:
    columns: dict[str, list[NDArray[np.generic]]] = {
        name: [] for name in ("feature", "threshold", "left", "right", "weight")
    }
    roots, targets, start = [], [], 0
    for target, forest in enumerate(members):
        norm = len(forest.estimators_) * float(_mean_path_length(np.array([forest._max_samples]))[0])
        for tree in forest.estimators_:
            nodes = tree.tree_
            leaf = nodes.children_left < 0
            path = nodes.compute_node_depths() - 1.0 + _mean_path_length(nodes.n_node_samples)
            columns["feature"].append(np.where(leaf, -1, nodes.feature).astype(np.int32))
            columns["threshold"].append(_rounded_down(np.where(leaf, 0.0, nodes.threshold)))
            columns["left"].append(np.where(leaf, -1, nodes.children_left + start).astype(np.int32))
            columns["right"].append(np.where(leaf, -1, nodes.children_right + start).astype(np.int32))
            columns["weight"].append(np.where(leaf, path / norm, 0.0))
            roots.append(start)
            targets.append(target)
            start += len(leaf)
    return ForestArrays(
        **{name: np.concatenate(parts) for name, parts in columns.items()},
        roots=np.array(roots, np.int32),
        target=np.array(targets, np.int32),
        n_features=int(members[0].n_features_in_),
        n_targets=len(members),
    )


def _rounded_down(threshold: NDArray[np.float64]) -> Float32Array:
    nearest = threshold.astype(np.float32)
    below = np.nextafter(nearest, np.float32(-np.inf))
    return np.where(nearest.astype(np.float64) > threshold, below, nearest)


def _mean_path_length(n: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the mean path length of a failed search in a binary tree of n objects (Liu et al. 2008)."""
    count = np.maximum(n.astype(np.float64), 2.0)
    length = 2.0 * (np.log(count - 1.0) + np.euler_gamma) - 2.0 * (count - 1.0) / count
    return np.where(n <= 1, 0.0, np.where(n == 2, 1.0, length))
