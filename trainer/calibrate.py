# SPDX-License-Identifier: BSD-3-Clause
"""Calibration on stars held out for it: one stratum for each subset of modalities and bin of epochs.

Every star gives a stratum one alert, in the catalogue's proportions of the classes, so that the alerts of a
stratum are exchangeable with one another, as conformal statements ask for.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from broker_plugin.bundle import Stratum, stratum_name
from broker_plugin.calibration import softmax
from broker_plugin.errors import ConfigurationError
from trainer.anomaly import FUSED, ForestSet
from trainer.config import STRATUM_MIN
from trainer.decision import Objective, choose_weights
from trainer.inference import Encoded, encode, logits_of, surprise_of
from trainer.model import AlertModel, possible_subsets
from trainer.sets import ExampleSet

__all__ = ["MISCOVERAGE", "Calibration", "calibrate", "class_threshold", "fit_temperature"]

MISCOVERAGE = 0.1
"""Share of alerts whose true class may lie outside their class set."""

TEMPERATURES = np.geomspace(0.3, 6.0, 301)
"""Temperatures that are tried: steps of 1 %, finer than 400 alerts can tell apart."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """Strata, and the sorted scores of ordinary alerts as `<stratum>/<source>`."""

    strata: list[Stratum]
    scores: dict[str, NDArray[np.float32]]


def calibrate(
    model: AlertModel,
    forests: Mapping[str, ForestSet],
    edges: list[int],
    bin_set: Callable[[int], ExampleSet],
    *,
    objective: Objective = "argmax",
) -> Calibration:
    """Calibrate every stratum that an alert can fall into.

    Parameters
    ----------
    bin_set
        Gives held-out alerts whose number of epochs lies in a bin of `edges`.
    objective
        What the decision rule of each stratum is chosen for.

    Raises
    ------
    ConfigurationError
        If a stratum has fewer than `STRATUM_MIN` alerts.
    """
    result = Calibration(strata=[], scores={})
    for bin_, low in enumerate(edges):
        examples = bin_set(max(bin_, 1))
        encoded = encode(model, examples.tokens)
        for subset in possible_subsets(model.modalities, with_epochs=low > 0):
            reduced = encoded.only(subset)
            rows = np.flatnonzero(reduced.present[:, list(subset)].all(dim=1).numpy())
            name = stratum_name(tuple(model.modalities[k] for k in subset), low, edges)
            _calibrate_one(result, name, subset, reduced, rows, examples, model, forests, objective=objective)
    return result


def fit_temperature(logits: NDArray[np.float32], label: NDArray[np.int64]) -> float:
    """Return the temperature of the best likelihood.

    Examples
    --------
    >>> logits = np.array([[4.0, 0.0]] * 3 + [[4.0, 0.0]], np.float32)
    >>> 2.5 < fit_temperature(logits, np.array([0, 0, 0, 1])) < 4.5
    True
    """
    losses = [
        -np.mean(np.log(softmax(logits, np.full(len(label), each))[np.arange(len(label)), label] + 1e-300))
        for each in TEMPERATURES
    ]
    return float(TEMPERATURES[int(np.argmin(losses))])


def class_threshold(true_probability: NDArray[np.float64]) -> float:
    """Return the probability that the true class reaches in all but `MISCOVERAGE` of the cases.

    The finite-sample quantile of split conformal prediction: sets of the classes above it hold the true
    class with probability 1 - `MISCOVERAGE` at least.

    Examples
    --------
    >>> class_threshold(np.arange(1, 20) / 20)
    0.1
    """
    n = len(true_probability)
    rank = math.floor(MISCOVERAGE * (n + 1))
    return float(np.sort(true_probability)[rank - 1]) if rank else 0.0


def _calibrate_one(
    result: Calibration,
    name: str,
    subset: tuple[int, ...],
    encoded: Encoded,
    rows: NDArray[np.intp],
    examples: ExampleSet,
    model: AlertModel,
    forests: Mapping[str, ForestSet],
    *,
    objective: Objective,
) -> None:
    if len(rows) < STRATUM_MIN:
        raise ConfigurationError(
            f"stratum {name} has {len(rows)} alerts, {STRATUM_MIN} are needed",
            remedy="train on more stars, or raise calibration.alerts_per_stratum or the calibration's share "
            "of data.split_fractions",
        )
    fused = encoded.fused()[rows]
    logits, label = logits_of(model, fused), examples.label[rows]
    temperature = fit_temperature(logits, label) if subset else 1.0
    probability = softmax(logits, np.full(len(rows), temperature))
    result.strata.append(
        Stratum(
            name=name,
            n=len(rows),
            temperature=temperature,
            class_threshold=class_threshold(probability[np.arange(len(rows)), label]),
            class_weights=choose_weights(probability, label, objective) if subset else None,
        )
    )
    scores = {FUSED: forests[FUSED].score(surprise_of(model, fused))}
    for modality in subset:
        source = model.modalities[modality]
        scores[source] = forests[source].score(encoded.embeddings[rows, modality].numpy())
    for source, values in scores.items():
        result.scores[f"{name}/{source}"] = np.sort(values).astype(np.float32)
