# SPDX-License-Identifier: BSD-3-Clause
"""What a stream is like when a bundle is fitted to it, so that drift from that can be told later."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from broker_plugin.bundle import Bundle
from broker_plugin.engine.providers import choose
from broker_plugin.engine.scorer import Scorer
from broker_plugin.records import Alert, AlertBatch
from broker_plugin.stream_reference import InputSums, StreamReference, scaled_columns

__all__ = ["stream_references"]

BATCH = 256
"""Alerts that are scored together: what a run of an encoder takes."""


def stream_references(bundle: Bundle, alerts: Sequence[Alert]) -> dict[str, dict[str, Any]]:
    """Return a `StreamReference` for each survey, as JSON can hold it, from one alert of each object."""
    scorer = Scorer(bundle, choose("cpu"))
    return {
        survey: _reference(scorer, [alert for alert in alerts if alert.survey == survey]).model_dump(
            mode="json"
        )
        for survey in sorted({alert.survey for alert in alerts})
    }


def _reference(scorer: Scorer, alerts: Sequence[Alert]) -> StreamReference:
    classes = scorer.bundle.manifest.classes
    columns = scaled_columns(scorer.bundle.manifest)
    probabilities: list[NDArray[np.float64]] = []
    sums: dict[str, list[InputSums]] = defaultdict(list)
    for start in range(0, len(alerts), BATCH):
        verdicts, scores = scorer.examine(AlertBatch.from_alerts(alerts[start : start + BATCH]))
        probabilities += [
            np.array([verdict.class_probabilities[name] for name in classes])
            for verdict in verdicts
            if verdict.class_applies
        ]
        for name, n in columns.items():
            if len(scores.tokens[name].values):
                sums[name].append(InputSums(scores.tokens[name].values, n))
    shares = (
        dict(zip(classes, np.mean(probabilities, axis=0).tolist(), strict=True)) if probabilities else None
    )
    return StreamReference(
        n=len(alerts),
        classes=shares,
        inputs={name: sum(parts[1:], parts[0]).reference() for name, parts in sums.items()},
    )
