# SPDX-License-Identifier: BSD-3-Clause
"""Cross-modal retrieval: how often the embedding of one modality finds another of the same object."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainer.checkpoint import load_model
from trainer.data.splits import Split
from trainer.inference import Encoded, encode
from trainer.preparation import Prepared, set_of_bin

__all__ = ["RETRIEVAL", "lines_of", "measure_retrieval", "recall_at", "retrieval"]

RETRIEVAL = "retrieval.json"

RANKS = (1, 5, 10, 50)

N_MAX = 1000
"""Objects to find among. Recall falls with their number, so it is part of every result."""


def recall_at(query: NDArray[np.float32], target: NDArray[np.float32], ranks: Sequence[int]) -> list[float]:
    """Return the share of queries whose own target is among the k nearest, for each k.

    Targets that are equally near count half against the query, so that equal embeddings give chance.

    Parameters
    ----------
    query, target
        Unit embeddings (B, D) of the same objects in the same order.

    Examples
    --------
    >>> one = np.eye(4, dtype=np.float32)
    >>> [round(each, 3) for each in recall_at(one, one[[0, 1, 3, 2]], [1, 2])]
    [0.5, 0.667]
    """
    cosines = query.astype(np.float64) @ target.astype(np.float64).T
    own = np.diag(cosines)[:, None]
    before = (cosines > own).sum(axis=1)
    equal = (cosines == own).sum(axis=1)
    # Among `equal` targets the own one stands anywhere: the chance that it comes within k.
    return [float(np.clip((k - before) / equal, 0.0, 1.0).mean()) for k in ranks]


def retrieval(encoded: Encoded, names: Sequence[str], *, ranks: Sequence[int] = RANKS) -> dict[str, Any]:
    """Return recall@k for each ordered pair of modalities, with chance beside it.

    Only objects that have both modalities count; chance is k over their number.
    """
    results: dict[str, Any] = {}
    for one, other in permutations(range(len(names)), 2):
        both = (encoded.present[:, one] & encoded.present[:, other]).numpy()
        n = min(int(both.sum()), N_MAX)
        if n < 2:
            continue
        rows = np.flatnonzero(both)[:n]
        found = recall_at(
            encoded.embeddings[rows, one].numpy(), encoded.embeddings[rows, other].numpy(), ranks
        )
        results[f"{names[one]}->{names[other]}"] = {
            "n": n,
            **{
                f"recall@{k}": {"value": round(value, 4), "chance": round(min(1.0, k / n), 4)}
                for k, value in zip(ranks, found, strict=True)
            },
        }
    return results


def measure_retrieval(prepared: Prepared, out: Path) -> dict[str, Any]:
    """Measure a trained run on its test objects, one well-observed alert each, and write the results."""
    run = prepared.run
    model = load_model(run, out)
    last = len(run.settings.calibration.epoch_edges) - 1
    examples = set_of_bin(prepared, Split.TEST, last, n=N_MAX, seed=run.settings.seed + 60)
    results = {
        "objects": {"split": "test", "simulated": bool(run.data.get("simulated", False))},
        "pairs": retrieval(encode(model, examples.tokens), model.modalities),
    }
    (out / RETRIEVAL).write_text(json.dumps(results, indent=1) + "\n")
    return results


def lines_of(results: Mapping[str, Any]) -> Iterator[str]:
    """Yield results as lines to print."""
    if results["objects"]["simulated"]:
        yield "SIMULATED objects: no evidence about real stars"
    for pair, measures in results["pairs"].items():
        cells = [
            f"{name} {each['value']:.3f} (chance {each['chance']:.3f})"
            for name, each in measures.items()
            if name != "n"
        ]
        yield f"{pair:<26} n {measures['n']:>5}  " + "  ".join(cells)
