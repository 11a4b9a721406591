# SPDX-License-Identifier: BSD-3-Clause
"""Our accuracies beside the paper's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from rich.table import Table

from trainer.astrom3.model import Modality
from trainer.astrom3.paper import ARXIV_V1, CAVEATS, JOURNAL, Published
from trainer.astrom3.recipes import MODALITIES, SUBSETS, Subset
from trainer.metrics import paired_p, spread

__all__ = ["Result", "rich_table", "summarise"]

PERCENT: Mapping[Subset, int] = {"sub10": 10, "sub25": 25, "sub50": 50, "full": 100}

Result = Mapping[str, Any]
"""The content of one cell's file: `modality`, `subset`, `clip`, `seed`, and `test` with `accuracy`."""


def summarise(results: Sequence[Result]) -> dict[str, Any]:
    """Return means and population spreads in per cent over the seeds, gains, and the paper's numbers.

    A gain and its p (paired t-test) are over the seeds that have both arms.
    """
    rows = []
    for modality in MODALITIES:
        for subset in SUBSETS:
            without, with_clip = (_by_seed(results, modality, subset, clip) for clip in (False, True))
            if not without and not with_clip:
                continue
            seeds = sorted(without.keys() & with_clip.keys())
            gains = np.array([with_clip[seed] - without[seed] for seed in seeds])
            rows.append(
                {
                    "modality": modality,
                    "labels_percent": PERCENT[subset],
                    "without": spread(without),
                    "with_clip": spread(with_clip),
                    "gain": round(float(gains.mean()), 3) if len(gains) else None,
                    "p": paired_p(gains),
                    "journal": _as_dict(JOURNAL[modality, subset]),
                    "arxiv_v1": _as_dict(ARXIV_V1[modality, subset]),
                }
            )
    trial = any(result["trial"] for result in results)
    shortened = ("Settings were changed for a trial: these numbers reproduce nothing.",) if trial else ()
    return {"unit": "test accuracy, per cent", "rows": rows, "caveats": [*shortened, *CAVEATS]}


def rich_table(summary: Mapping[str, Any]) -> Table:
    """Return the summary as a table for the terminal."""
    title = "Test accuracy in per cent, without -> with contrastive pre-training"
    table = Table("modality", "labels", "ours", "gain", "p", "journal", "arXiv v1", title=title)
    for row in summary["rows"]:
        table.add_row(
            row["modality"],
            f"{row['labels_percent']} %",
            f"{_shown(row['without'])} -> {_shown(row['with_clip'])}",
            "" if row["gain"] is None else f"{row['gain']:+.2f}",
            "" if row["p"] is None else f"{row['p']:.3f}",
            f"{row['journal']['without']:.2f} -> {row['journal']['with_clip']:.2f}",
            f"{row['arxiv_v1']['without']:.2f} -> {row['arxiv_v1']['with_clip']:.2f}",
        )
    return table


def _by_seed(results: Sequence[Result], modality: Modality, subset: Subset, clip: bool) -> dict[int, float]:
    return {
        result["seed"]: 100 * result["test"]["accuracy"]
        for result in results
        if (result["modality"], result["subset"], result["clip"]) == (modality, subset, clip)
    }


def _as_dict(published: Published) -> dict[str, float | None]:
    return {
        "without": published.without,
        "without_std": published.without_std,
        "with_clip": published.with_clip,
        "with_clip_std": published.with_std,
        "p": published.p,
    }


def _shown(found: Mapping[str, Any] | None) -> str:
    if found is None:
        return "-"
    return f"{found['mean']:.2f} ± {found['std']:.2f} ({len(found['seeds'])})"
