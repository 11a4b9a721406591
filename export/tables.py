# SPDX-License-Identifier: BSD-3-Clause
"""Tables of a model card, in Markdown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["calibration_table", "column_text", "results_table", "table"]


def table(header: list[str], rows: list[list[str]]) -> str:
    """Return a table.

    Examples
    --------
    >>> print(table(["a", "b"], [["1", "2"]]))
    | a | b |
    | --- | --- |
    | 1 | 2 |
    """
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def column_text(column: Mapping[str, Any]) -> str:
    """Return a metadata column as a reader knows it.

    Examples
    --------
    >>> column_text({"name": "ps1_g_mag", "minus": "ps1_r_mag", "transform": "identity"})
    '`ps1_g_mag - ps1_r_mag`'
    """
    name = " - ".join(part for part in (column["name"], column.get("minus")) if part)
    return f"`{name}`" if column["transform"] == "identity" else f"`{name}` as {column['transform']}"


def results_table(bins: Mapping[str, Any], everything: str) -> str:
    """Return classification by number of epochs, for each subset of the modalities and the baselines.

    Parameters
    ----------
    bins
        Measures by model and bin, as the trainer's evaluation writes them.
    everything
        Name of the model with all modalities, which comes first.
    """
    measures = ("balanced_accuracy", "accuracy", "macro_f1", "ece")
    rows = []
    for name, parts in bins.items():
        others = [part for part in parts if part not in (everything, "n")]
        for part in (everything, *others):
            cells = [_cell(parts[part].get(measure)) for measure in measures]
            rows.append([name, part.replace("_", " "), *cells])
    return table(["epochs", "model", *(measure.replace("_", " ") for measure in measures)], rows)


def calibration_table(bins: Mapping[str, Any], everything: str) -> str:
    """Return shares of small p-values and coverage of the class sets by number of epochs."""
    measures = [
        *(f"share_p_below_{level}" for level in ("0.01", "0.05", "0.1", "0.5")),
        "set_coverage",
        "set_size",
    ]
    rows = [
        [name, *(_cell(parts[everything][measure]) for measure in measures)] for name, parts in bins.items()
    ]
    return table(["epochs", "p 0.01", "p 0.05", "p 0.1", "p 0.5", "coverage", "classes in set"], rows)


def _cell(measure: Mapping[str, float] | None) -> str:
    return "-" if measure is None else f"{measure['mean']:.3f} ({measure['spread']:.3f})"
