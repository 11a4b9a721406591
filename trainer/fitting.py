# SPDX-License-Identifier: BSD-3-Clause
"""What comes after the encoders: forests, calibration, references and results, written into the run."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trainer.anomaly import FUSED, ForestSet, fit_fused, fit_single, write_forests
from trainer.baseline import fit_forest
from trainer.calibrate import Calibration, calibrate
from trainer.checkpoint import load_model
from trainer.data.catalina import file_digest
from trainer.evaluate import evaluate
from trainer.inference import encode, surprise_of
from trainer.model import AlertModel
from trainer.preparation import Prepared, calibration_set, natural_sets
from trainer.references import choose_references
from trainer.training_sets import ordinary_sets

__all__ = ["CALIBRATION", "CATALOGUE", "EVALUATION", "REFERENCES", "STRATA", "Fitted", "fit", "measure"]

STRATA, CALIBRATION, REFERENCES = "strata.json", "calibration.npz", "references.npz"
EVALUATION, CATALOGUE = "evaluation.json", "catalogue.json"

N_SETS = 2
"""Training sets that the forests and the references are taken from."""

N_BASELINE_SETS = 3
"""Training sets that the baseline is grown on: more alerts than its limit of rows can hold."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitted:
    """Model, forests and calibration of a run."""

    model: AlertModel
    forests: dict[str, ForestSet]
    calibration: Calibration


def fit(prepared: Prepared, out: Path, *, say: Callable[[str], None]) -> Fitted:
    """Fit forests and calibration, choose the references, and write them; all follows from the seed."""
    run, model = prepared.run, load_model(prepared.run, out)
    forests, embeddings = _forests(prepared, model, class_forests=run.settings.anomaly.class_forests)
    say(f"fitted the forests of {', '.join(forests)}")
    calibration = calibrate(
        model,
        forests,
        list(run.settings.calibration.epoch_edges),
        partial(calibration_set, prepared),
        objective=run.settings.calibration.decision_rule,
    )
    say(f"calibrated {len(calibration.strata)} strata")
    references = choose_references(prepared, model, ordinary_sets(prepared, N_SETS), seed=run.settings.seed)
    say(f"chose {len(references.object_id):,} reference stars")
    before = _digests(out)
    write_forests(forests, embeddings, out)
    (out / STRATA).write_text(json.dumps([each.model_dump() for each in calibration.strata], indent=1) + "\n")
    with (out / CALIBRATION).open("wb") as file:
        np.savez(file, allow_pickle=False, **calibration.scores)
    with (out / REFERENCES).open("wb") as file:
        np.savez(
            file,
            allow_pickle=False,
            object_id=references.object_id,
            label=references.label,
            embedding=references.embedding,
            profile=references.profile,
            period_day=references.period_day,
        )
    if _digests(out) != before:
        # Results of another fit describe another bundle.
        for results in (EVALUATION, CATALOGUE):
            (out / results).unlink(missing_ok=True)
    return Fitted(model=model, forests=forests, calibration=calibration)


def _digests(out: Path) -> dict[str, str]:
    """Return the digest of each fitted file in a folder."""
    paths = [*out.glob("forest-*.npz"), *(out / name for name in (STRATA, CALIBRATION, REFERENCES))]
    return {path.name: file_digest(path) for path in paths if path.is_file()}


def measure(prepared: Prepared, fitted: Fitted, out: Path, *, say: Callable[[str], None]) -> None:
    """Measure on the test split and write the results."""
    baseline = fit_forest(ordinary_sets(prepared, N_BASELINE_SETS), seed=prepared.run.settings.seed)
    say("grew the baseline's random forest")
    rival = rival_forest(prepared, fitted.model)
    results = evaluate(prepared, fitted.model, fitted.forests, fitted.calibration, baseline, rival=rival)
    (out / EVALUATION).write_text(json.dumps(results, indent=1) + "\n")


def rival_forest(prepared: Prepared, model: AlertModel) -> ForestSet:
    """Return the forest of the fused embedding of the other kind than the run's, to compare with."""
    other = not prepared.run.settings.anomaly.class_forests
    return _forests(prepared, model, class_forests=other)[0][FUSED]


def _forests(
    prepared: Prepared, model: AlertModel, *, class_forests: bool
) -> tuple[dict[str, ForestSet], dict[str, NDArray[np.float32]]]:
    """Return the forest of each source, and the embeddings that it was grown on.

    Where there are observed epochs, classes have their natural shares among the alerts: what is rare is
    strange, so a forest that saw rare classes as often as common ones would call them ordinary.

    They are the encoders' own training stars: a part for the forests alone would leave fewer to both, and
    p-values do not need one, since the calibration's stars are apart from encoders and forests alike.
    """
    settings = prepared.run.settings
    least = settings.anomaly.min_epochs
    sets = natural_sets(prepared) or ordinary_sets(prepared, N_SETS)
    observed = [part.take(np.flatnonzero(part.n_epochs >= least)) for part in sets]
    encoded = [encode(model, part.tokens) for part in observed]
    n_classes = len(prepared.run.classes) if class_forests else 0
    space = partial(surprise_of, model)
    forests = {FUSED: fit_fused(encoded, observed, n_classes, space=space, seed=settings.training_seed)}
    embeddings = {FUSED: np.concatenate([space(part.fused()) for part in encoded])}
    for position, name in enumerate(model.modalities):
        embeddings[name] = np.concatenate(
            [part.embeddings[part.present[:, position], position].numpy() for part in encoded]
        )
        forests[name] = fit_single(embeddings[name], seed=settings.training_seed + 100 + position)
    return forests, embeddings
