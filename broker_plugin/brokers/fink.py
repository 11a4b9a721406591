# SPDX-License-Identifier: BSD-3-Clause
"""Fink: columns of its LSST tables in, a column of booleans (filter) or of scores (science module) out.

Fink calls a function with the columns that its arguments name: a struct comes as a data frame, an array of
structs as a series of lists of rows. Files to submit are in `deploy/brokers/fink`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd

from broker_plugin.brokers.scoring import Decision, decision_of, opened
from broker_plugin.codec.verdict import Revision
from broker_plugin.errors import RejectedAlert
from broker_plugin.surveys.base import Packet
from broker_plugin.surveys.packets import Row, lsst_packet

__all__ = ["NOTHING", "lsst_packets", "lsst_scores", "lsst_strange"]

NOTHING: Decision = {
    "class": "",
    "class_probability": 0.0,
    "anomaly_score": 0.0,
    "anomaly_p_value": 1.0,
    "revision": "",
}
"""What is written of an alert that cannot have a verdict: nothing strange, no class."""


def lsst_scores(
    dia_source: pd.DataFrame,
    previous: pd.Series[Any],
    forced: pd.Series[Any],
    dia_object: pd.DataFrame,
    *,
    bundle: str = "default",
) -> pd.DataFrame:
    """Return the columns of `NOTHING` for a batch of LSST alerts.

    Parameters
    ----------
    dia_source, previous, forced, dia_object
        Columns `diaSource`, `prvDiaSources`, `prvDiaForcedSources` and `diaObject`.
    bundle
        As for `Scorer.open`.
    """
    found = opened(bundle).judge(lsst_packets(dia_source, previous, forced, dia_object))
    decisions = [NOTHING if isinstance(each, RejectedAlert) else decision_of(each) for each in found]
    rows = [{name: decision[name] for name in NOTHING} for decision in decisions]
    return pd.DataFrame(rows, columns=list(NOTHING), index=dia_source.index)


def lsst_strange(
    dia_source: pd.DataFrame,
    previous: pd.Series[Any],
    forced: pd.Series[Any],
    dia_object: pd.DataFrame,
    *,
    max_p_value: float = 0.01,
    bundle: str = "default",
) -> pd.Series[bool]:
    """Return which LSST alerts have an anomaly p-value at or below the limit, and are not withdrawn."""
    scores = lsst_scores(dia_source, previous, forced, dia_object, bundle=bundle)
    return (scores["anomaly_p_value"] <= max_p_value) & (scores["revision"] != Revision.RETRACTION)


def lsst_packets(
    dia_source: pd.DataFrame, previous: pd.Series[Any], forced: pd.Series[Any], dia_object: pd.DataFrame
) -> list[Packet]:
    """Return the packets of a batch."""
    sources, objects = dia_source.to_dict("records"), dia_object.to_dict("records")
    return [
        lsst_packet(source, previous=_rows(seen), forced=_rows(looked), dia_object=owner)
        for source, seen, looked, owner in zip(sources, previous, forced, objects, strict=True)
    ]


def _rows(rows: Any) -> Iterator[Row]:
    """Yield the rows of an array of structs; null, which pandas spells in several ways, has none."""
    for row in rows if hasattr(rows, "__len__") else ():
        yield row if isinstance(row, Mapping) else row.asDict()
