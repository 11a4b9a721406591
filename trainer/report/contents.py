# SPDX-License-Identifier: BSD-3-Clause
"""Everything that the report says, as one record: what the JSON file holds and the page shows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from broker_plugin import __version__
from broker_plugin.engine.explanation import counted
from broker_plugin.errors import ConfigurationError
from broker_plugin.records import Alert
from trainer.data.catalina import file_digest
from trainer.predictions import PredictionFile, merged_label, near_anomaly
from trainer.report.comparison import Contender, Record, compare
from trainer.report.determinism import SCORINGS, measure_determinism
from trainer.report.inputs import Inputs
from trainer.report.ordinary import median_epochs, p_value_record, stream_record
from trainer.report.rule import rule_record
from trainer.report.seeds import seeds_record
from trainer.report.subject import Bar, Subject, kept_predictions
from trainer.report.withheld import withheld_record
from trainer.rules import decision_rules
from trainer.star_settings import EVERY_SETTING, SETTINGS, alerts_of

__all__ = ["BUNDLE", "Asked", "assemble", "require_known_stars"]

BUNDLE = "bundle"
"""Name of the bundle among the contenders."""

DETERMINISM_ALERTS = 25
"""Alerts of each setting that are scored again and again."""

RESAMPLING_SEED = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What the report is of.

    Parameters
    ----------
    others
        Further bundles: other seeds, to be seen beside the first.
    predictions
        Of further ones, by a name.
    cache
        Folder for what the bundles said.
    """

    subject: Subject
    others: Sequence[Subject]
    predictions: Mapping[str, PredictionFile]
    inputs: Inputs
    cache: Path
    workers: int


def require_known_stars(asked: Asked) -> None:
    """Refuse predictions of stars whose classes the file does not tell.

    Raises
    ------
    ConfigurationError
        If some that were given are of such stars.
    """
    for name, file in asked.predictions.items():
        if number := _n_unknown(file, asked.subject):
            raise ConfigurationError(
                f"{asked.subject.data} lacks {counted(number, 'star')} of the predictions {name}; give "
                "--data the file that they were made from"
            )


def assemble(asked: Asked, *, bar: Bar) -> Record:
    """Measure what has not been measured yet and return the whole report."""
    subject, seed = asked.subject, RESAMPLING_SEED
    manifest, missing = subject.bundle.manifest, dict(asked.inputs.missing)
    own = _scored(asked, subject, bar)
    baselines = [each for each in asked.inputs.baselines if not _n_unknown(each.file, subject)]
    trained = [(subject.title, own)]
    trained += [(each.title, _scored(asked, each, bar)) for each in asked.others]
    trained += [*asked.predictions.items(), *_comparable(asked.inputs.trainings, own)]
    record: dict[str, object | None] = {
        "about": _about(subject),
        "remarks": _remarks(asked),
        "settings": [
            {"name": setting, "median_epochs": median_epochs(subject, setting)} for setting in EVERY_SETTING
        ],
        "classification": compare(
            Contender(name=BUNDLE, budget="", file=own),
            baselines,
            subject.published,
            EVERY_SETTING,
            seed=seed,
        ),
        "decision_rules": {
            name: rule_record(rule, own, subject.published, EVERY_SETTING, seed=seed)
            for name, rule in decision_rules(manifest).items()
        },
        "withheld": withheld_record(subject, own, asked.cache, seed=seed, bar=bar),
        "seeds": seeds_record(trained, subject.published, EVERY_SETTING),
        "p_values": p_value_record(subject, own, tuple(SETTINGS)),
        "stream": stream_record(manifest),
        "determinism": _determinism(subject, bar),
        **asked.inputs.results,
    }
    if record["seeds"] is not None:
        missing.pop("seeds", None)
    elif asked.inputs.trainings:
        # Measured on other stars than the subject, they are no spread of it.
        record["trainings_of_other_stars"] = len(asked.inputs.trainings)
        missing["seeds"] = asked.inputs.again
    if record["stream"] is None:
        missing["stream"] = f"trainer fit-anomaly --bundle {subject.name} --alerts NIGHT --out DIR"
    return {name: found for name, found in record.items() if found is not None} | {"missing": missing}


def _remarks(asked: Asked) -> list[str]:
    """Return what must be known of the stars of each bundle, and of the baselines."""
    others = (f"{each.title}: {line}" for each in asked.others for line in each.remarks)
    return [*asked.subject.remarks, *others, *_on_baselines(asked)]


def _on_baselines(asked: Asked) -> Iterator[str]:
    subject = asked.subject
    for each in asked.inputs.baselines:
        if number := _n_unknown(each.file, subject):
            yield (
                f"left out: the baseline {each.name}, since {subject.data} lacks {counted(number, 'star')} "
                "of it; to compare with it, give --data the file that the run was made from"
            )


def _scored(asked: Asked, subject: Subject, bar: Bar) -> PredictionFile:
    total = len(EVERY_SETTING) * len(subject.stars.star_id)
    with bar(f"stars in settings, {subject.title}", total) as advance:
        return kept_predictions(subject, EVERY_SETTING, asked.cache, workers=asked.workers, advance=advance)


def _comparable(
    trainings: Mapping[str, PredictionFile], own: PredictionFile
) -> Iterator[tuple[str, PredictionFile]]:
    """Yield the trainings of other seeds that were measured on the same stars as the subject."""
    for name, file in trainings.items():
        if np.array_equal(file.star_id, own.star_id):
            yield name, file


def _n_unknown(file: PredictionFile, subject: Subject) -> int:
    """Return how many stars of predictions the file of the subject does not hold."""
    return len(set(file.star_id.tolist()) - set(subject.published))


def _about(subject: Subject) -> Record:
    manifest = subject.bundle.manifest
    return {
        "plugin_version": __version__,
        "bundle": manifest.name,
        "version": manifest.version,
        "digest": subject.bundle.digest,
        "description": manifest.description,
        "modalities": [model.name for model in manifest.modalities],
        "class_prior": manifest.class_prior,
        "class_frequencies": dict(zip(manifest.classes, manifest.class_frequencies, strict=True)),
        "decision_rule": manifest.decision_rule,
        "data": subject.data.name,
        "data_sha256": file_digest(subject.data),
        "stars": len(subject.stars.star_id),
        "stars_of_known_classes": int((merged_label(subject.stars.published) >= 0).sum()),
        "near_anomalies": int(near_anomaly(subject.stars.published).sum()),
        "stars_left_out_as_seen": subject.left_out,
        "simulated": bool(manifest.training.get("data", {}).get("simulated", False)),
    }


def _determinism(subject: Subject, bar: Bar) -> Record:
    rng = np.random.default_rng((RESAMPLING_SEED, 42))
    alerts: list[Alert] = []
    for setting in EVERY_SETTING:
        rows = rng.permutation(len(subject.stars.star_id))[:DETERMINISM_ALERTS]
        alerts += alerts_of(subject.stars, setting, rows.astype(np.int64))
    with bar("scorings of the same alerts", SCORINGS) as advance:
        return measure_determinism(subject.name, alerts, seed=RESAMPLING_SEED, advance=advance)
