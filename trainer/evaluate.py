# SPDX-License-Identifier: BSD-3-Clause
"""Measurement on the test split, with baselines on the same alerts and a spread over seeds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import RandomForestClassifier

from broker_plugin.bundle import Stratum, stratum_name
from broker_plugin.calibration import p_value, softmax
from broker_plugin.records import AlertBatch
from trainer.anomaly import FUSED, ForestSet
from trainer.baseline import summary
from trainer.calibrate import Calibration
from trainer.data.splits import Split
from trainer.inference import encode, logits_of, surprise_of
from trainer.metrics import auroc, classification
from trainer.model import AlertModel, possible_subsets
from trainer.odd import KINDS, odd_alert
from trainer.preparation import Prepared, bin_limits, set_of_bin
from trainer.sets import ExampleSet, tokens_of

__all__ = ["evaluate"]

N_ODD = 150
"""Odd alerts of each kind and bin: enough to know an AUROC to about 0.02."""

P_VALUES = (0.01, 0.05, 0.1, 0.5)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Trained:
    model: AlertModel
    forests: Mapping[str, ForestSet]
    calibration: Calibration
    baseline: RandomForestClassifier
    rival: ForestSet

    def stratum(self, name: str) -> Stratum:
        return next(stratum for stratum in self.calibration.strata if stratum.name == name)


def evaluate(
    prepared: Prepared,
    model: AlertModel,
    forests: Mapping[str, ForestSet],
    calibration: Calibration,
    baseline: RandomForestClassifier,
    *,
    rival: ForestSet,
    advance: Callable[[int], None] = lambda n: None,
) -> dict[str, Any]:
    """Return results against the number of epochs, each with mean and spread over the seeds.

    `imitated` holds alerts made in both ways, `observed_epochs` only such as are made of observed epochs, in
    which the catalogue's period plays no part at all. All of them look into the future a little: the star's
    usual light that they come with (the flux that differences are taken from, the reference's magnitude) is
    the median of its whole light curve, epochs after the alert among them.
    """
    trained = _Trained(model=model, forests=forests, calibration=calibration, baseline=baseline, rival=rival)
    settings = prepared.run.settings
    result: dict[str, Any] = {"imitated": {}, "observed_epochs": {}, "anomaly": {}}
    for bin_ in range(1, len(settings.calibration.epoch_edges)):
        low, _ = bin_limits(settings, bin_)
        name = stratum_name((), low, list(settings.calibration.epoch_edges)).partition("/")[2]
        for kind, share in (("imitated", None), ("observed_epochs", 1.0)):
            runs = []
            for seed in settings.evaluation.seeds:
                examples = set_of_bin(
                    prepared,
                    Split.TEST,
                    bin_,
                    n=settings.evaluation.alerts_per_bin,
                    seed=settings.seed + 50 + seed,
                    observed_share=share,
                    advance=advance,
                )
                runs.append(_measure(trained, examples, name))
            result[kind][name] = _mean_and_spread(runs)
        result["anomaly"][name] = _anomaly(trained, prepared, bin_, name)
    return result


def _measure(trained: _Trained, examples: ExampleSet, bin_name: str) -> dict[str, dict[str, float]]:
    model = trained.model
    encoded = encode(model, examples.tokens)
    measures: dict[str, dict[str, float]] = {}
    for subset in possible_subsets(model.modalities, with_epochs=True):
        if not subset:
            continue
        modalities = "+".join(model.modalities[k] for k in subset)
        stratum = trained.stratum(f"{modalities}/{bin_name}")
        having = np.flatnonzero(encoded.present[:, list(subset)].all(dim=1).numpy())
        fused, label = encoded.only(subset).fused()[having], examples.label[having]
        temperature = np.full(len(label), stratum.temperature)
        probability = softmax(logits_of(model, fused), temperature)
        balanced = softmax(logits_of(model, fused, prior=False), temperature)
        measures[modalities] = classification(probability, label, balanced)
        truth = probability[np.arange(len(label)), label]
        measures[modalities]["set_coverage"] = float((truth >= stratum.class_threshold).mean())
        measures[modalities]["set_size"] = float((probability >= stratum.class_threshold).sum(axis=1).mean())
        scores = trained.forests[FUSED].score(surprise_of(model, fused))
        p = p_value(scores, trained.calibration.scores[f"{stratum.name}/{FUSED}"])
        for level in P_VALUES:
            measures[modalities][f"share_p_below_{level:g}"] = float((p <= level).mean())
    measures["random_forest"] = _baseline(trained.baseline, model, examples)
    commonest = int(model.head.log_prior.argmax())
    measures["commonest_class"] = {
        "accuracy": float((examples.label == commonest).mean()),
        "balanced_accuracy": 1.0 / len(model.head.log_prior),
    }
    measures["n"] = {"alerts": float(len(examples))}
    return measures


def _baseline(forest: RandomForestClassifier, model: AlertModel, examples: ExampleSet) -> dict[str, float]:
    probability = forest.predict_proba(summary(examples.tokens))
    shifted = []
    for shift in (model.head.log_prior, model.head.log_even):
        weighted = probability * np.exp(shift.numpy().astype(np.float64))
        shifted.append(weighted / weighted.sum(axis=1, keepdims=True))
    return classification(shifted[0], examples.label, shifted[1])


def _anomaly(trained: _Trained, prepared: Prepared, bin_: int, bin_name: str) -> dict[str, float]:
    """Return the AUROC of odd light curves against ordinary test alerts of the same bin."""
    settings = prepared.run.settings
    ordinary = set_of_bin(
        prepared,
        Split.TEST,
        bin_,
        n=settings.evaluation.alerts_per_bin,
        seed=settings.seed + 50 + settings.evaluation.seeds[0],
    )
    scores, rival_scores = _scores(trained, ordinary.tokens)
    low, high = bin_limits(settings, bin_)
    result: dict[str, float] = {}
    rivals = []
    for number, kind in enumerate(KINDS):
        rng = np.random.default_rng((settings.seed, 7, bin_, number))
        stars = rng.choice(prepared.members(Split.TEST), N_ODD)
        alerts = [
            odd_alert(
                kind,
                prepared.stars,
                int(star),
                rng,
                n_epochs=int(np.exp(rng.uniform(np.log(low), np.log(high + 1)))),
                alert_id=position,
            )
            for position, star in enumerate(stars)
        ]
        alerts = [alert for alert in alerts if len(alert.light_curve) >= low]
        odd, rival_odd = _scores(trained, tokens_of(AlertBatch.from_alerts(alerts), prepared.run.specs))
        result[f"auroc_{kind}"] = round(auroc(scores, odd), 4)
        rivals.append(auroc(rival_scores, rival_odd))
    result["auroc_mean"] = round(float(np.mean(list(result.values()))), 4)
    name = "global_forest" if settings.anomaly.class_forests else "class_forests"
    result[f"auroc_mean_of_{name}"] = round(float(np.mean(rivals)), 4)
    return result


def _scores(trained: _Trained, tokens: Mapping[str, Any]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the anomaly scores, and those of the other kind of forest."""
    seen = surprise_of(trained.model, encode(trained.model, tokens).fused())
    return trained.forests[FUSED].score(seen), trained.rival.score(seen)


def _mean_and_spread(runs: list[dict[str, dict[str, float]]]) -> dict[str, dict[str, dict[str, float]]]:
    return {
        part: {
            measure: {
                "mean": round(float(np.mean([run[part][measure] for run in runs])), 4),
                "spread": round(float(np.ptp([run[part][measure] for run in runs]) / 2), 4),
            }
            for measure in runs[0][part]
        }
        for part in runs[0]
    }
