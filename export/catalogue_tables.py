# SPDX-License-Identifier: BSD-3-Clause
"""Tables of a model card on catalogued stars: confusion, anomalies by class, levels of p-values."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from export.tables import table
from trainer.predictions import MERGED
from trainer.star_settings import PACKET

__all__ = ["catalogue_tables"]

CONFUSED = {"all": "with all epochs", "30": "with the first 30 epochs"}
"""Settings whose confusion is shown: the most that is known of a star, and what an alert has."""

_CONFUSION = """\
Stars of each published class (rows) by their most probable class (columns), {seen}:

{rows}"""

_NEAR = """\
Near anomalies by published class: area under the ROC curve of the anomaly score against all ordinary test
stars.

{rows}"""

_EXCEEDANCE = """\
Shares of the ordinary test stars with an anomaly p-value at or below a level, beside what is due and the
binomial error of so many stars; the calibration's own error comes on top. `packet` is not among them: its
alerts are compared with those that ZTF and LSST really sent, of which Catalina's stars are no sample.

{rows}"""


def catalogue_tables(measures: Mapping[str, Any]) -> str:
    """Return the tables that the measures of a bundle allow, each with its text.

    Parameters
    ----------
    measures
        As `trainer evaluate` writes them.
    """
    return "\n\n".join(
        part for part in (*_confusions(measures), _near(measures), _exceedance(measures)) if part
    )


def _confusions(measures: Mapping[str, Any]) -> list[str]:
    return [
        _CONFUSION.format(seen=seen, rows=_confusion(measures["confusion"][setting]))
        for setting, seen in CONFUSED.items()
        if measures["confusion"].get(setting) is not None
    ]


def _confusion(counts: list[list[int]]) -> str:
    rows = [
        [name, *(f"{count:,}" for count in row)] for name, row in zip(MERGED, counts, strict=True) if sum(row)
    ]
    return table(["published", *MERGED], rows)


def _near(measures: Mapping[str, Any]) -> str:
    by_class = {
        setting: found for setting, found in measures["near_ood_auroc_by_class"].items() if found is not None
    }
    if not by_class:
        return ""
    names = list(next(iter(by_class.values())))
    rows = [[setting, *(f"{found[name]:.3f}" for name in names)] for setting, found in by_class.items()]
    return _NEAR.format(rows=table(["setting", *names], rows))


def _exceedance(measures: Mapping[str, Any]) -> str:
    shares = {
        setting: found
        for setting, found in measures["p_value_exceedance"].items()
        if found is not None and setting != PACKET
    }
    if not shares:
        return ""
    levels = list(next(iter(shares.values())))
    rows = [
        [setting, *(cell for level in levels for cell in _share(found[level], float(level), n))]
        for setting, found in shares.items()
        if (n := measures["n"][setting])
    ]
    header = [cell for level in levels for cell in (f"p <= {level}", "due")]
    return _EXCEEDANCE.format(rows=table(["setting", *header], rows))


def _share(share: float, level: float, n: int) -> tuple[str, str]:
    return f"{share:.4f}", f"{level:g} +- {math.sqrt(level * (1 - level) / n):.4f}"
