# SPDX-License-Identifier: BSD-3-Clause
"""What the encoders alone do: light curves of one length, of which the tokens are there already."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from broker_plugin.benchmark.measuring import clock_of, effort, median_rate
from broker_plugin.engine.encoders import Encoder
from broker_plugin.engine.rehearsal import plain_alert
from broker_plugin.engine.scorer import Scorer
from broker_plugin.features.period import find_periods
from broker_plugin.records import AlertBatch

__all__ = ["EPOCHS", "measure_encoders"]

EPOCHS = 100
"""Epochs of a light curve: what published rates of encoders are for."""

DISTINCT = 32
"""Light curves that differ. A graph costs the same whatever its numbers, and a period is sought in each."""

ALERTS = 1024
"""Light curves of one measurement: several of the largest batches of a GPU."""


def measure_encoders(scorer: Scorer, *, repeats: int, least_s: float) -> dict[str, Any]:
    """Return the rate of each modality's encoder in this process, from tokens to embeddings.

    Parameters
    ----------
    scorer
        Whose bundle, on whose device.
    repeats, least_s
        Measurements, and how long each is at work.
    """
    batch = AlertBatch.from_alerts([plain_alert(EPOCHS, days=EPOCHS + row) for row in range(DISTINCT)])
    rows = np.arange(ALERTS) % DISTINCT
    periods = find_periods(batch).take(rows)
    batch, clock = batch.take(rows), clock_of(scorer.provider)
    found: dict[str, Any] = {"epochs": EPOCHS, "light_curves": ALERTS}
    for model in scorer.bundle.manifest.modalities:
        encoder = Encoder(scorer.bundle, model, scorer.provider, threads=1)
        work = partial(encoder.encode, encoder.modality.tokens(batch, periods))
        work()  # finds the sizes of its batches
        passes = max(1, round(least_s / effort(work).by(clock)))
        efforts = [effort(work, passes=passes) for _ in range(repeats)]
        found[model.name] = median_rate(ALERTS, efforts).as_json()
    return found
