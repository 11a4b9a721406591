# SPDX-License-Identifier: BSD-3-Clause
"""How a bundle does on each of the other surveys, as the report shows it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import confusion_matrix

from broker_plugin.engine.scorer import Scorer
from broker_plugin.records import Alert, SourceContext
from trainer.bundle_evaluation import CHUNK, predictions_of
from trainer.cross_survey.asas import SETTINGS, alerts_in, read_asas
from trainer.cross_survey.classes import ASAS, ZTF, Kind, Mapped
from trainer.cross_survey.ztf import read_labelled
from trainer.predictions import MERGED, Predictions, joined_predictions
from trainer.report.comparison import interval_list, interval_lists, resampled_measures
from trainer.resampling import resamples

__all__ = ["measure_asas", "measure_ztf"]

SEED = 1

EPOCHS_MIN = (4, 16)
"""Fewest epochs of the alerts of ZTF that are also looked at apart: with fewer little can be known."""

Advance = Callable[[int], None]


def measure_asas(scorer: Scorer, data: Path, *, advance: Advance = lambda n: None) -> dict[str, Any]:
    """Return the results on the ASAS training set."""
    stars = read_asas(data)
    rows = np.arange(len(stars.star_id))
    found = {setting: _said(scorer, alerts_in(stars, setting, rows), advance) for setting in SETTINGS}
    every = np.ones(len(rows), np.bool_)
    return _record(
        "ASAS, training set of Richards et al. (2012)",
        "Light curves in V of bright stars, whole or their first epochs in time. They come without "
        "positions, so nothing keeps a star of the training survey out of them but its brightness.",
        ASAS,
        stars.published.tolist(),
        {setting: (predictions, every) for setting, predictions in found.items()},
        left_out={},
    )


def measure_ztf(
    scorer: Scorer, data: Path, trained_on: Path | None, *, advance: Advance = lambda n: None
) -> dict[str, Any]:
    """Return the results on labelled alerts of ZTF, and on those with epochs enough or in stellar context."""
    labelled = read_labelled(data, trained_on)
    alerts = list(labelled.alerts)
    said = _said(scorer, alerts, advance)
    n_epochs = np.array([len(alert.light_curve) for alert in alerts])
    stellar = np.array([alert.source_context is SourceContext.STELLAR for alert in alerts], np.bool_)
    parts = {
        "every object": np.ones(len(alerts), np.bool_),
        "stellar by its packet": stellar,
        **{f"{least} epochs or more": n_epochs >= least for least in EPOCHS_MIN},
    }
    return _record(
        "ZTF, alerts of catalogued objects",
        "The last alert of each object with a label, as it came, in ZTF's own bands and cadence. Outside "
        "stellar context a verdict names no class; it is counted here by its most probable one all the same.",
        ZTF,
        labelled.labels,
        {name: (said, rows) for name, rows in parts.items()},
        left_out=labelled.left_out,
    )


def _said(scorer: Scorer, alerts: Sequence[Alert], advance: Advance) -> Predictions:
    parts = []
    for start in range(0, len(alerts), CHUNK):
        part = alerts[start : start + CHUNK]
        parts.append(predictions_of(scorer, part))
        advance(len(part))
    return joined_predictions(parts)


def _record(
    title: str,
    about: str,
    mapped: Mapped,
    published: Sequence[str],
    settings: Mapping[str, tuple[Predictions, NDArray[np.bool_]]],
    *,
    left_out: Mapping[str, int],
) -> dict[str, Any]:
    kinds = [mapped.kind(label) for label in published]
    open_labels = Counter(
        label for label, kind in zip(published, kinds, strict=True) if kind is Kind.LEFT_OUT
    )
    names = np.array(list(MERGED))
    label = mapped.positions(published)
    return {
        "title": title,
        "about": about,
        "classes": list(MERGED),
        "mapping": {name: list(labels) for name, labels in mapped.measured.items()},
        "n_by_class": dict(Counter(names[label[label >= 0]].tolist()).most_common()),
        "n_by_anomaly": dict(
            Counter(
                each for each, kind in zip(published, kinds, strict=True) if kind is Kind.ODD
            ).most_common()
        ),
        "left_out": {**left_out, **{f"objects labelled {name}": n for name, n in open_labels.items()}},
        "settings": {
            name: _measures(found.take(np.flatnonzero(rows)), label[rows], np.array(kinds)[rows])
            for name, (found, rows) in settings.items()
        },
    }


def _measures(found: Predictions, label: NDArray[np.int64], kinds: NDArray[np.str_]) -> dict[str, Any]:
    odd = kinds == str(Kind.ODD)
    known = label >= 0
    measures = resampled_measures(found, label, odd, resamples(len(label), seed=SEED))
    record: dict[str, Any] = {"n": int(known.sum()), "n_odd": int(odd.sum())}
    record |= interval_lists(measures)
    if known.any():
        named = found.probability[known].argmax(axis=1)
        record["confusion"] = confusion_matrix(label[known], named, labels=range(len(MERGED))).tolist()
        record["f1_by_class"] = {
            name: interval_list(measures["f1_by_class"][:, k]) for k, name in enumerate(MERGED)
        }
    return record
