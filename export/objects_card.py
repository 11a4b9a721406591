# SPDX-License-Identifier: BSD-3-Clause
"""The model card of a bundle that was trained on a multimodal dataset, built or simulated."""

from __future__ import annotations

from broker_plugin.bundle import Manifest
from export.tables import calibration_table, column_text, results_table, table
from trainer.checkpoint import Run

__all__ = ["GROWN_ON", "SIMULATED", "objects_card"]

SIMULATED = """\
> **SIMULATED DATA.** Every object that this bundle was trained, calibrated and measured on was made up from
> stellar parameters by `trainer simulate`. It serves to run the whole way with several modalities. It is no
> evidence for anything about real stars, and must not be pointed at a survey's alerts.
"""

GROWN_ON = """\
The catalogue's forests are grown on the very {things} that the encoders were trained on, not on a part of
their own: what encoders have learned lies closer together than what is new to them, so that new {things}
score as stranger than those. That makes no p-value wrong: the {things} it is counted against are apart from
both, as new to encoders and forests as those of a later alert, and their scores are raised alike."""
"""What is said of the objects behind the forests."""

_TEXT = """\
# Model card: {name} {version}

{banner}
{description}. Licence of the weights: BSD-3-Clause.

## What it does

One encoder for each modality ({modalities}) gives embeddings of {dim} dimensions in one
space (trained contrastively and on classes, after AstroM3, arXiv:2411.08842). Any subset of them is fused; a
classifier gives probabilities of {n_classes} classes, isolation forests say how strange the embedding is.

* Light curve: 1 to {max_epochs} epochs.
* Catalogue values: {columns}.

## Training data

The dataset `{file}`, {n_objects:,} objects ({n_unlabelled:,} without a label, which take part in the
contrastive loss only), {splits}. SHA-256 of the file: `{digest}`.

{class_table}

An alert of an object is its light curve up to some epoch, thinned, with its spectrum and catalogue values
where it has them. It looks into the future a little, in calibration and test too: the flux that differences
are taken from is the median of the object's whole light curve, epochs after the alert among them, and
catalogue values are of any time; a survey knows only what came before. Probabilities hold for the class
frequencies of the training split (prior `{prior}`).

## Results on the test split

{results}

Shares of ordinary test alerts with a p-value below a level (it should be the level), and coverage of the
90 % class sets:

{calibration}

{grown_on}

Odd light curves are told from ordinary ones only by the photometry encoder; see the evaluation in the
manifest.
"""


def objects_card(run: Run, manifest: Manifest) -> str:
    """Return the card as Markdown."""
    evaluation = manifest.training["evaluation"]
    data = run.data
    everything = "+".join(run.specs)
    columns = run.specs.get("metadata", {}).get("columns", ())
    unmeasured = "Not measured for this bundle."
    return _TEXT.format(
        name=manifest.name,
        version=manifest.version,
        banner=SIMULATED if data["simulated"] else "",
        description=manifest.description,
        modalities=", ".join(run.specs),
        dim=manifest.embedding_dim,
        n_classes=len(run.classes),
        max_epochs=run.settings.max_epochs,
        columns=", ".join(column_text(column) for column in columns) or "none",
        file=data["file"],
        n_objects=data["objects"],
        n_unlabelled=data["unlabelled"],
        splits=", ".join(f"{count:,} {name}" for name, count in data["objects_by_split"].items()),
        digest=data["sha256"],
        class_table=table(
            ["class", "training objects"],
            [[name, f"{count:,}"] for name, count in data["train_objects_by_class"].items()],
        ),
        prior=run.class_prior,
        grown_on=GROWN_ON.format(things="objects"),
        results=results_table(evaluation["imitated"], everything) if evaluation else unmeasured,
        calibration=calibration_table(evaluation["imitated"], everything) if evaluation else unmeasured,
    )
