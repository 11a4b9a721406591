# SPDX-License-Identifier: BSD-3-Clause
"""A map of embeddings in two dimensions, by UMAP. It is to be looked at: nothing is measured on it."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

from broker_plugin.errors import ConfigurationError

__all__ = ["MIN_DIST", "NEIGHBOURS", "map_of"]

NEIGHBOURS, MIN_DIST = 45, 0.7
"""As in the paper's notebooks: fewer neighbours tear classes into islands that no other seed has."""


def map_of(
    vectors: NDArray[np.float32], *, neighbours: int = NEIGHBOURS, min_dist: float = MIN_DIST, seed: int = 42
) -> NDArray[np.float32]:
    """Return places (N, 2) of embeddings (N, D) whose cosines are kept near by; the same for the same seed.

    Raises
    ------
    ConfigurationError
        If umap-learn is not installed.
    """
    umap = _library()
    n = len(vectors)
    with warnings.catch_warnings():
        # Groups that are apart from all others make it start from noise, and say so.
        warnings.simplefilter("ignore", UserWarning)
        model = umap.UMAP(
            n_neighbors=min(neighbours, n - 1),
            min_dist=min_dist,
            metric="cosine",
            random_state=seed,
            n_jobs=1,
            init="spectral" if n > 10 else "random",
        )
        return np.asarray(model.fit_transform(vectors), np.float32)


def _library() -> Any:
    try:
        with warnings.catch_warnings():
            # It warns of an optional library of its own that is not used here.
            warnings.simplefilter("ignore", ImportWarning)
            import umap
    except ImportError as error:
        raise ConfigurationError(
            f"a map needs umap-learn ({error}); pip install '.[map]', or use --measure, which needs no map"
        ) from error
    return umap
