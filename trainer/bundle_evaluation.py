# SPDX-License-Identifier: BSD-3-Clause
"""A finished bundle measured on catalogued stars it has never seen, through the scorer that the stream uses.

Each star is seen in several settings: with all its epochs and the catalogue's period, with all its epochs,
and with its first 100, 30, 10, 3 and 1; as `packet` it is cut into an alert as a survey would send it
(`trainer.survey_cut`). Only the epochs of a setting reach the scorer. Classes of the catalogue that the
bundle does not know are the anomalies to be found.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray
from sklearn.metrics import confusion_matrix, f1_score, recall_score

from broker_plugin.bundle import Bundle, open_bundle
from broker_plugin.codec.verdict import Tense, Verdict
from broker_plugin.engine.scorer import Scorer
from broker_plugin.records import Alert
from broker_plugin.streams.output_files import check_outputs, complete_files, make_folder
from trainer.data.unsorted import Unsorted, read_unsorted
from trainer.data.used import NO_STARS, UsedStars
from trainer.metrics import auroc, calibration_error
from trainer.predictions import (
    MERGED,
    Predictions,
    joined_predictions,
    merged_label,
    near_anomaly,
    predictions_table,
    unlearned,
)
from trainer.processes import processes
from trainer.remarks import remarks_on
from trainer.rules import RULE_MEASURES, Rule, decision_rules
from trainer.seen import unseen_stars
from trainer.star_settings import EVERY_SETTING, alerts_of

__all__ = [
    "CHUNK",
    "MERGED",
    "Predictions",
    "Score",
    "evaluate_bundle",
    "measures_of",
    "predict",
    "predictions_of",
    "score_settings",
    "scoring",
    "summary_lines",
]

Score = Callable[[Sequence[Sequence[Alert]]], Iterable[Predictions]]
"""Chunks of alerts to the predictions for each."""

CHUNK = 250
"""Stars that a worker scores at once."""


def evaluate_bundle(
    bundle: str,
    data: Path,
    out: Path,
    predictions: Path | None,
    *,
    seen: UsedStars = NO_STARS,
    workers: int = 1,
    advance: Callable[[int], None] = lambda n: None,
    begin: Callable[[int], None] = lambda n: None,
) -> dict[str, Any]:
    """Score every star of a file in every setting, write the measures and the predictions, return the former.

    Parameters
    ----------
    seen
        Stars to leave out, since the bundle was trained on them.
    out
        JSON file of the measures: each a mapping from the setting.
    predictions
        Parquet file of a row for each star and setting, from which the measures can be computed again.
    begin, advance
        Told the number of stars times settings, and of those done since the last call.

    Raises
    ------
    ConfigurationError
        If the file cannot be read or holds no other stars, or the outputs cannot be written.
    """
    outputs = [out] if predictions is None else [out, predictions]
    check_outputs(outputs, [data])
    opened = open_bundle(bundle)
    every = read_unsorted(data)
    measured = unseen_stars(every, seen, data)
    n_seen = len(every.star_id) - len(measured.star_id)
    begin(len(measured.star_id) * len(EVERY_SETTING))
    for path in outputs:
        make_folder(path.parent)
    with complete_files(*outputs) as (metrics, *rows):
        by_setting = score_settings(bundle, measured, EVERY_SETTING, workers=workers, advance=advance)
        measures = {
            **_measures(by_setting, measured.published, opened),
            "remarks": remarks_on(measured, opened, n_seen=n_seen),
        }
        metrics.write(f"{json.dumps(measures, indent=1)}\n".encode())
        for handle in rows:
            about = {"bundle": measures["bundle"], "bundle_digest": opened.digest}
            pq.write_table(predictions_table(measured.star_id, by_setting, about=about), handle)
    return measures


def _measures(
    by_setting: Mapping[str, Predictions], published: NDArray[np.str_], bundle: Bundle
) -> dict[str, Any]:
    """Return the measures by name and setting, and those of decision rules."""
    published = unlearned(published, bundle.manifest.classes)
    results = {setting: measures_of(found, published) for setting, found in by_setting.items()}
    names = next(iter(results.values())).keys()
    return {
        "bundle": f"{bundle.manifest.name} {bundle.manifest.version}",
        "stars": len(published),
        "near_anomalies": int(near_anomaly(published).sum()),
        **{name: {setting: found[name] for setting, found in results.items()} for name in names},
        "decision_rules": {
            name: _by_rule(rule, by_setting, published)
            for name, rule in decision_rules(bundle.manifest).items()
        },
    }


def score_settings(
    bundle: str,
    unsorted: Unsorted,
    settings: Sequence[str],
    *,
    workers: int = 1,
    advance: Callable[[int], None] = lambda n: None,
) -> dict[str, Predictions]:
    """Return what a bundle says of every star in some settings."""
    with scoring(bundle, workers) as score:
        return {setting: predict(score, unsorted, setting, advance=advance) for setting in settings}


def predict(
    score: Score, unsorted: Unsorted, setting: str, *, advance: Callable[[int], None] = lambda n: None
) -> Predictions:
    """Return what `score` says of every star in one setting.

    Parameters
    ----------
    score
        Takes chunks of alerts and yields the predictions for each, in order.
    """
    chunks = [alerts_of(unsorted, setting, rows) for rows in _chunks(len(unsorted.star_id))]
    parts: list[Predictions] = []
    for alerts, part in zip(chunks, score(chunks), strict=True):
        parts.append(part)
        advance(len(alerts))
    return joined_predictions(parts)


def measures_of(found: Predictions, published: NDArray[np.str_]) -> dict[str, Any]:
    """Return the measures of one setting, None where classes, probabilities or p-values do not allow one."""
    label = merged_label(published)
    known, near = label >= 0, near_anomaly(published)
    measures: dict[str, Any] = dict.fromkeys(
        ("n", "accuracy", "macro_f1", "balanced_accuracy", "ece", "f1_by_class", "confusion")
    )
    if known.any() and found.classifies:
        truth, probability = label[known], found.probability[known]
        predicted = probability.argmax(axis=1)
        measures |= {
            "n": int(known.sum()),
            **_class_measures(truth, predicted),
            "ece": calibration_error(probability, truth),
            "confusion": confusion_matrix(truth, predicted, labels=range(len(MERGED))).tolist(),
        }
    return measures | _anomaly_measures(found, published, known, near)


def summary_lines(measures: Mapping[str, Any]) -> list[str]:
    """Return the measures as tables to print, a line a setting: of the most probable class, and by rule."""
    lines = _table(measures, ("macro_f1", "balanced_accuracy", "ece", "near_ood_auroc"))
    for rule, found in measures["decision_rules"].items():
        lines += ["", f"named by the rule {rule}:", *_table(found, ("macro_f1", "balanced_accuracy"))]
    return lines


def _table(measures: Mapping[str, Any], names: Sequence[str]) -> list[str]:
    lines = [f"{'setting':<8}" + "".join(f"{name:>18}" for name in names)]
    for setting in EVERY_SETTING:
        values = [measures[name].get(setting) for name in names]
        cells = "".join(f"{'-' if value is None else format(value, '.3f'):>18}" for value in values)
        lines.append(f"{setting:<8}{cells}")
    return lines


def _class_measures(truth: NDArray[np.int64], named: NDArray[np.int64]) -> dict[str, Any]:
    """Return what follows from the named classes alone; classes that no star has do not count."""
    present = np.unique(truth)
    by_class = f1_score(truth, named, labels=present, average=None, zero_division=0)
    names = list(MERGED)
    return {
        "accuracy": float((named == truth).mean()),
        "macro_f1": float(by_class.mean()),
        "balanced_accuracy": float(recall_score(truth, named, labels=present, average="macro")),
        "f1_by_class": {names[k]: float(f1) for k, f1 in zip(present, by_class, strict=True)},
    }


def _by_rule(
    rule: Rule, by_setting: Mapping[str, Predictions], published: NDArray[np.str_]
) -> dict[str, dict[str, float]]:
    """Return the measures of the classes that a decision rule names, by measure and setting."""
    label = merged_label(published)
    known = label >= 0
    named = {setting: rule(predictions) for setting, predictions in by_setting.items() if known.any()}
    found = {
        setting: _class_measures(label[known], each[known])
        for setting, each in named.items()
        if each is not None
    }
    return {name: {each: found[each][name] for each in found} for name in RULE_MEASURES}


def _anomaly_measures(
    found: Predictions, published: NDArray[np.str_], known: NDArray[np.bool_], near: NDArray[np.bool_]
) -> dict[str, Any]:
    measures: dict[str, Any] = dict.fromkeys(
        ("near_ood_auroc", "near_ood_auroc_by_class", "near_ood_auroc_of_confidence", "p_value_exceedance")
    )
    p = found.anomaly_p_value[known]
    if known.any() and np.isfinite(p).all():
        measures["p_value_exceedance"] = {f"{level:g}": float((p <= level).mean()) for level in (0.1, 0.01)}
    if known.any() and near.any():
        score = found.anomaly_score
        measures["near_ood_auroc"] = auroc(score[known], score[near])
        measures["near_ood_auroc_by_class"] = {
            each: auroc(score[known], score[published == each])
            for each in np.unique(published[near]).tolist()
        }
    if known.any() and near.any() and found.classifies:
        doubt = 1 - found.probability.max(axis=1)
        measures["near_ood_auroc_of_confidence"] = auroc(doubt[known], doubt[near])
    return measures


@contextmanager
def scoring(bundle: str, workers: int) -> Iterator[Score]:
    """Open the bundle, in this process or in several of its own; yields what scores chunks of alerts."""
    if workers == 1:
        scorer = Scorer.open(bundle, device="cpu")
        yield lambda chunks: (predictions_of(scorer, alerts) for alerts in chunks)
        return
    with processes(workers, begin=_open, given=(bundle,)) as pool:
        yield lambda chunks: pool.map(_score_in_worker, chunks)


_WORKER_SCORER: list[Scorer] = []


def _open(bundle: str) -> None:
    _WORKER_SCORER.append(Scorer.open(bundle, device="cpu"))


def _score_in_worker(alerts: Sequence[Alert]) -> Predictions:
    return predictions_of(_WORKER_SCORER[0], alerts)


def predictions_of(scorer: Scorer, alerts: Sequence[Alert]) -> Predictions:
    """Return what a scorer says of alerts."""
    verdicts = scorer.score(alerts, tense=Tense.TEST)
    return Predictions(
        probability=np.array([_merged(verdict) for verdict in verdicts]),
        anomaly_score=np.array([verdict.anomaly_score for verdict in verdicts]),
        anomaly_p_value=np.array([verdict.anomaly_p_value for verdict in verdicts]),
        decided=merged_label(np.array([verdict.top_class or "" for verdict in verdicts])),
        stratum=np.array([verdict.calibration_stratum for verdict in verdicts]),
        calibration_n=np.array([verdict.calibration_n for verdict in verdicts]),
        oddity=np.array(
            [max(verdict.oddities, key=verdict.oddities.__getitem__, default="") for verdict in verdicts]
        ),
    )


def _merged(verdict: Verdict) -> list[float]:
    found = verdict.class_probabilities
    return [sum(found.get(name, 0.0) for name in spellings) for spellings in MERGED.values()]


def _chunks(n: int) -> Iterator[NDArray[np.int64]]:
    return (np.arange(start, min(start + CHUNK, n)) for start in range(0, n, CHUNK))
