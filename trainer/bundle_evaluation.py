# SPDX-License-Identifier: BSD-3-Clause
"""A finished bundle measured on catalogued stars it has never seen, through the scorer that the stream uses.

Each star is seen in several settings: with all its epochs and the catalogue's period, with all its epochs,
and with its first 100, 30, 10, 3 and 1; as `packet` it is cut into an alert as a survey would send it. Only
the epochs of a setting reach the scorer. Classes of the catalogue that the bundle does not know are the
anomalies to be found.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, fields
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from sklearn.metrics import confusion_matrix, f1_score, recall_score

from broker_plugin.bundle import open_bundle
from broker_plugin.codec.verdict import Tense, Verdict
from broker_plugin.engine.scorer import Scorer
from broker_plugin.records import Alert, SourceContext
from trainer.augment import imitate
from trainer.data.catalina import Unsorted, read_unsorted
from trainer.metrics import auroc, calibration_error
from trainer.windows import first_windows, window_alerts

__all__ = [
    "CHUNK",
    "MERGED",
    "SETTINGS",
    "Predictions",
    "Score",
    "evaluate_bundle",
    "measures_of",
    "predict",
    "scoring",
    "summary_lines",
]

MERGED: Mapping[str, tuple[str, ...]] = {
    "ECL": ("EW", "EB", "Ecl_contact_semidetached"),
    "EA": ("EA", "EA_detached"),
    "RRAB": ("RRAB", "RRab", "Blazhko"),
    "RRC": ("RRC", "RRc"),
    "ROT": ("ROT",),
    "LPV": ("LPV", "M", "SR"),
    "DSCT": ("DSCT", "HADS"),
}
"""Classes that are measured, and the spellings of bundles and of the catalogue that fall into each."""

NEAR_ANOMALIES = ("RRd", "CEPII", "ACEP")
"""Published classes of pulsating stars that resemble known ones; the bundle must not have learned them."""

SETTINGS: Mapping[str, tuple[int | None, bool]] = {
    "period": (None, True),
    "all": (None, False),
    "100": (100, False),
    "30": (30, False),
    "10": (10, False),
    "3": (3, False),
    "1": (1, False),
}
"""Number of first epochs, None for all, and whether the catalogue's period is given."""

PACKET = "packet"

PACKET_EPOCHS_MAX = 100
"""Most epochs of a `packet`; their number is uniform in the logarithm."""

Score = Callable[[Sequence[Sequence[Alert]]], Iterable["Predictions"]]
"""Chunks of alerts to the predictions for each."""

CHUNK = 250
"""Stars that a worker scores at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Predictions:
    """What the bundle says in one setting; columns over stars (S,), probabilities (S, len(MERGED)).

    Parameters
    ----------
    stratum, calibration_n
        Name and size of the stratum that the p-value rests on.
    """

    probability: NDArray[np.float64]
    anomaly_score: NDArray[np.float64]
    anomaly_p_value: NDArray[np.float64]
    stratum: NDArray[np.str_]
    calibration_n: NDArray[np.int64]

    @classmethod
    def joined(cls, parts: Sequence[Predictions]) -> Predictions:
        """Return the predictions of all parts behind one another."""
        return cls(
            **{
                column.name: np.concatenate([getattr(part, column.name) for part in parts])
                for column in fields(cls)
            }
        )


def evaluate_bundle(
    bundle: str,
    data: Path,
    out: Path,
    predictions: Path | None,
    *,
    seen: Container[str] = frozenset(),
    workers: int = 1,
    advance: Callable[[int], None] = lambda n: None,
    begin: Callable[[int], None] = lambda n: None,
) -> dict[str, Any]:
    """Score every star of a file in every setting, write the measures and the predictions, return the former.

    Parameters
    ----------
    seen
        Identifiers (`css:<id>`) of stars to leave out, since the bundle was trained on them.
    out
        JSON file of the measures: each a mapping from the setting.
    predictions
        Parquet file of a row for each star and setting, from which the measures can be computed again.
    begin, advance
        Told the number of stars times settings, and of those done since the last call.

    Raises
    ------
    ConfigurationError
        If the file cannot be read.
    """
    unsorted = read_unsorted(data)
    unsorted = unsorted.take(
        np.flatnonzero([str(each) not in seen for each in unsorted.stars.star_id]).astype(np.int64)
    )
    begin(len(unsorted.star_id) * (len(SETTINGS) + 1))
    with scoring(bundle, workers) as score:
        by_setting = {
            setting: predict(score, unsorted, setting, advance=advance) for setting in (*SETTINGS, PACKET)
        }
    results = {setting: measures_of(found, unsorted.published) for setting, found in by_setting.items()}
    names = next(iter(results.values())).keys()
    by_name = {name: {setting: found[name] for setting, found in results.items()} for name in names}
    manifest = open_bundle(bundle).manifest
    named = f"{manifest.name} {manifest.version}"
    measures = {"bundle": named, "stars": len(unsorted.star_id), **by_name}
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(measures, indent=1) + "\n")
    if predictions is not None:
        _write(by_setting, unsorted, predictions)
    return measures


def predict(
    score: Score, unsorted: Unsorted, setting: str, *, advance: Callable[[int], None] = lambda n: None
) -> Predictions:
    """Return what `score` says of every star in one setting.

    Parameters
    ----------
    score
        Takes chunks of alerts and yields the predictions for each, in order.
    """
    chunks = [_alerts(unsorted, setting, rows) for rows in _chunks(len(unsorted.star_id))]
    parts: list[Predictions] = []
    for alerts, part in zip(chunks, score(chunks), strict=True):
        parts.append(part)
        advance(len(alerts))
    return Predictions.joined(parts)


def measures_of(found: Predictions, published: NDArray[np.str_]) -> dict[str, Any]:
    """Return the measures of one setting, None where the published classes do not allow one."""
    names = list(MERGED)
    spelling = {each: names.index(name) for name, spellings in MERGED.items() for each in spellings}
    label = np.array([spelling.get(str(each), -1) for each in published])
    known, near = label >= 0, np.isin(published, NEAR_ANOMALIES)
    measures: dict[str, Any] = dict.fromkeys(
        ("n", "accuracy", "macro_f1", "balanced_accuracy", "ece", "f1_by_class", "confusion")
    )
    if known.any():
        truth, probability = label[known], found.probability[known]
        predicted = probability.argmax(axis=1)
        present = np.unique(truth)
        by_class = f1_score(truth, predicted, labels=present, average=None, zero_division=0)
        measures |= {
            "n": int(known.sum()),
            "accuracy": float((predicted == truth).mean()),
            "macro_f1": float(by_class.mean()),
            "balanced_accuracy": float(recall_score(truth, predicted, labels=present, average="macro")),
            "ece": calibration_error(probability, truth),
            "f1_by_class": {names[k]: float(f1) for k, f1 in zip(present, by_class, strict=True)},
            "confusion": confusion_matrix(truth, predicted, labels=range(len(names))).tolist(),
        }
    return measures | _anomaly_measures(found, published, known, near)


def summary_lines(measures: Mapping[str, Any]) -> list[str]:
    """Return the measures as a table to print, a line a setting."""
    columns = ("macro_f1", "balanced_accuracy", "ece", "near_ood_auroc")
    lines = [f"{'setting':<8}" + "".join(f"{name:>19}" for name in columns)]
    for setting in (*SETTINGS, PACKET):
        values = [measures[name][setting] for name in columns]
        cells = "".join(f"{'-' if value is None else format(value, '.3f'):>19}" for value in values)
        lines.append(f"{setting:<8}{cells}")
    return lines


def _anomaly_measures(
    found: Predictions, published: NDArray[np.str_], known: NDArray[np.bool_], near: NDArray[np.bool_]
) -> dict[str, Any]:
    measures: dict[str, Any] = dict.fromkeys(
        ("near_ood_auroc", "near_ood_auroc_by_class", "near_ood_auroc_of_confidence", "p_value_exceedance")
    )
    if known.any():
        p = found.anomaly_p_value[known]
        measures["p_value_exceedance"] = {f"{level:g}": float((p <= level).mean()) for level in (0.1, 0.01)}
    if known.any() and near.any():
        score, doubt = found.anomaly_score, 1 - found.probability.max(axis=1)
        measures["near_ood_auroc"] = auroc(score[known], score[near])
        measures["near_ood_auroc_of_confidence"] = auroc(doubt[known], doubt[near])
        measures["near_ood_auroc_by_class"] = {
            each: auroc(score[known], score[published == each])
            for each in NEAR_ANOMALIES
            if (published == each).any()
        }
    return measures


def _alerts(unsorted: Unsorted, setting: str, rows: NDArray[np.int64]) -> list[Alert]:
    if setting != PACKET:
        n_epochs, given = SETTINGS[setting]
        return window_alerts(unsorted.stars, rows, first_windows(unsorted.stars, rows, n_epochs, given=given))
    return [_packet(unsorted, int(row)) for row in rows]


def _packet(unsorted: Unsorted, row: int) -> Alert:
    """Return a star cut into an alert from its own epochs, by its name alone."""
    stars = unsorted.stars
    if stars.offsets[row] == stars.offsets[row + 1]:
        return window_alerts(
            stars, np.array([row]), first_windows(stars, np.array([row]), None, given=False)
        )[0]
    rng = np.random.default_rng((20241108, abs(int(unsorted.star_id[row]))))
    n_epochs = int(np.exp(rng.uniform(0.0, np.log(PACKET_EPOCHS_MAX + 1))))
    alert = imitate(stars, row, rng, n_epochs=max(1, n_epochs), alert_id=row, observed_share=1.0)
    return Alert(
        **{name: getattr(alert, name) for name in alert.__dataclass_fields__ if name != "source_context"},
        source_context=SourceContext.STELLAR,
    )


@contextmanager
def scoring(bundle: str, workers: int) -> Iterator[Score]:
    """Open a bundle, in this process or in several of its own; yields what scores chunks of alerts."""
    if workers == 1:
        scorer = Scorer.open(bundle, device="cpu")
        yield lambda chunks: (_predictions(scorer, alerts) for alerts in chunks)
        return
    context = get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context, initializer=_open, initargs=(bundle,)) as pool:
        yield lambda chunks: pool.map(_score_in_worker, chunks)


_WORKER_SCORER: list[Scorer] = []


def _open(bundle: str) -> None:
    _WORKER_SCORER.append(Scorer.open(bundle, device="cpu"))


def _score_in_worker(alerts: Sequence[Alert]) -> Predictions:
    return _predictions(_WORKER_SCORER[0], alerts)


def _predictions(scorer: Scorer, alerts: Sequence[Alert]) -> Predictions:
    verdicts = scorer.score(alerts, tense=Tense.TEST)
    return Predictions(
        probability=np.array([_merged(verdict) for verdict in verdicts]),
        anomaly_score=np.array([verdict.anomaly_score for verdict in verdicts]),
        anomaly_p_value=np.array([verdict.anomaly_p_value for verdict in verdicts]),
        stratum=np.array([verdict.calibration_stratum for verdict in verdicts]),
        calibration_n=np.array([verdict.calibration_n for verdict in verdicts]),
    )


def _merged(verdict: Verdict) -> list[float]:
    found = verdict.class_probabilities
    return [sum(found.get(name, 0.0) for name in spellings) for spellings in MERGED.values()]


def _chunks(n: int) -> Iterator[NDArray[np.int64]]:
    return (np.arange(start, min(start + CHUNK, n)) for start in range(0, n, CHUNK))


def _write(by_setting: Mapping[str, Predictions], unsorted: Unsorted, path: Path) -> None:
    tables = [
        pa.table(
            {
                "id": unsorted.star_id,
                "setting": [setting] * len(unsorted.star_id),
                **{f"p_{name}": found.probability[:, k] for k, name in enumerate(MERGED)},
                "anomaly_score": found.anomaly_score,
                "anomaly_p_value": found.anomaly_p_value,
            }
        )
        for setting, found in by_setting.items()
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.concat_tables(tables), path)
