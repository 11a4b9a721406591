# SPDX-License-Identifier: BSD-3-Clause
"""The same stars with modalities withheld: what a verdict is worth that rests on fewer of them.

What is withheld is taken out of the alert before it is scored, so the bundle does what it does with any alert
that came without: other fusion, other calibration.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np

from broker_plugin.bundle import Manifest, ModalityModel
from broker_plugin.engine.scorer import Scorer
from broker_plugin.records import Alert, LightCurve
from trainer.bundle_evaluation import CHUNK, predictions_of
from trainer.data.unsorted import Unsorted
from trainer.model import EPOCH_MODALITIES
from trainer.predictions import (
    PredictionFile,
    Predictions,
    joined_predictions,
    predictions_table,
    read_predictions,
    write_predictions,
)
from trainer.report.comparison import Contender, Record, compare
from trainer.report.subject import Bar, Subject
from trainer.star_settings import alerts_of

__all__ = ["SETTINGS", "fewer_modalities", "score_withheld", "withheld_record", "without"]

SETTINGS = ("all", "30", "10")
"""Settings in which modalities are withheld: much, some and little of a light curve."""

SPECTRUM, METADATA = "spectrum", "metadata"


def without(alert: Alert, modality: ModalityModel) -> Alert:
    """Return an alert that came without a modality.

    A light curve's absence leaves no epoch, a spectrum's no spectrum; of catalogue values those go that the
    bundle reads; anything else is an attachment of its modality's name.
    """
    if modality.name in EPOCH_MODALITIES:
        return replace(alert, light_curve=LightCurve.empty())
    if modality.name == SPECTRUM:
        return replace(alert, spectrum=None)
    if modality.name == METADATA:
        read = {column.get(key) for column in modality.spec.get("columns", ()) for key in ("name", "minus")}
        kept = {name: value for name, value in alert.metadata.items() if name not in read}
        return replace(alert, metadata=kept)
    kept_attachments = {name: each for name, each in alert.attachments.items() if name != modality.name}
    return replace(alert, attachments=kept_attachments)


def fewer_modalities(manifest: Manifest) -> Iterator[tuple[str, ...]]:
    """Yield every subset of a bundle's modalities but the whole and the empty one, the larger first.

    Modalities of epochs come and go together.
    """
    names = [model.name for model in manifest.modalities]
    of_epochs = set(names) & EPOCH_MODALITIES
    for size in range(len(names) - 1, 0, -1):
        for subset in combinations(names, size):
            if of_epochs & set(subset) in (set(), of_epochs):
                yield subset


def score_withheld(
    scorer: Scorer,
    stars: Unsorted,
    kept: Sequence[str],
    setting: str,
    *,
    advance: Callable[[int], None] = lambda n: None,
) -> Predictions:
    """Return what is said of stars in a setting with no other modalities than those `kept`."""
    withheld = [model for model in scorer.bundle.manifest.modalities if model.name not in kept]
    parts = []
    for start in range(0, len(stars.star_id), CHUNK):
        rows = np.arange(start, min(start + CHUNK, len(stars.star_id)))
        alerts = alerts_of(stars, setting, rows)
        for modality in withheld:
            alerts = [without(alert, modality) for alert in alerts]
        parts.append(predictions_of(scorer, alerts))
        advance(len(alerts))
    return joined_predictions(parts)


def withheld_record(
    subject: Subject, whole: PredictionFile, cache: Path, *, seed: int, bar: Bar
) -> Record | None:
    """Return the measures with every smaller set of modalities, and what the whole set is ahead by.

    None for a bundle of a single modality. What was scored is kept in the cache.
    """
    subsets = list(fewer_modalities(subject.bundle.manifest))
    if not subsets:
        return None
    total = len(subsets) * len(SETTINGS) * len(subject.stars.star_id)
    with bar("stars with modalities withheld", total) as advance:
        fewer = [
            Contender(name="+".join(kept), budget="", file=_kept_or_scored(subject, kept, cache, advance))
            for kept in subsets
        ]
    names = "+".join(model.name for model in subject.bundle.manifest.modalities)
    return compare(
        Contender(name=names, budget="", file=whole), fewer, subject.published, SETTINGS, seed=seed
    )


def _kept_or_scored(
    subject: Subject, kept: Sequence[str], cache: Path, advance: Callable[[int], None]
) -> PredictionFile:
    path = cache / f"{subject.key(SETTINGS)}-{'+'.join(kept)}.parquet"
    if path.is_file():
        advance(len(SETTINGS) * len(subject.stars.star_id))
        return read_predictions(path)
    scorer = Scorer.open(subject.name, device="cpu")
    by_setting = {
        setting: score_withheld(scorer, subject.stars, kept, setting, advance=advance) for setting in SETTINGS
    }
    write_predictions(
        path, predictions_table(subject.stars.star_id, by_setting, about={"kept": "+".join(kept)})
    )
    return read_predictions(path)
