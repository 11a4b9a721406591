# SPDX-License-Identifier: BSD-3-Clause
"""The model card: what a bundle was made from, how good it is, and what it cannot do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from broker_plugin.bundle import Manifest
from broker_plugin.errors import ConfigurationError
from export.catalogue_tables import catalogue_tables
from export.imitated_card import imitated_section
from export.objects_card import GROWN_ON, objects_card
from export.tables import column_text, table
from trainer.checkpoint import Run
from trainer.config import DataSettings, Settings
from trainer.data.catalina import FILE
from trainer.specs import explained

__all__ = ["CARD", "description", "model_card", "retitled"]

CARD = "MODEL_CARD.md"
"""Its file in a bundle."""

TITLE = "# Model card: "
"""What its first line begins with; name and version of the bundle follow."""

_INPUTS = {
    "photometry": "light curves",
    "light_curve": "light curves",
    "spectrum": "spectra",
    "metadata": "catalogue values",
}

_TEXT = """\
# Model card: {name} {version}

{description}. Licence of the weights: BSD-3-Clause.

## What it does

{n_encoders} encoders, for {inputs}, give embeddings of {dim}
dimensions in one space (trained contrastively and on classes, after AstroM3, arXiv:2411.08842). Any subset of
them is fused. A classifier gives probabilities of {n_classes} classes of variable stars, isolation forests
say how strange {strange} is.{oddities}

* Light curve: 1 to {max_epochs} epochs in training and any number in use, any passbands, detections and
  forced photometry, apparent or difference flux{light_curve}.
* Catalogue values seen in training: {columns}. No colours, parallaxes or proper motions: the training
  catalogue has none, and none were invented.

## Training data

{source}. {n_stars:,} stars; split by sky position (10 arcsec) into {splits}. Labels are the published
classes. SHA-256 of the file: `{digest}`. {held_out}

{class_table}

Alerts are imitated from these light curves in two ways. 30 % are the star's own epochs in a random window.
70 % are the star's light curve folded at the catalogue's period and looked at through cadences, passbands,
depths and noise like those of ZTF and LSST, at times dimmed; epochs are detections where they differ from the
reference by five sigma, the last always is one, and in half of the alerts the others are forced photometry.
In a quarter the reference flux is unknown in some or all bands. {windows}{passes} passes over sets of
{set_size:,} alerts, {train_sets} sets in turn; classes as the square root of their numbers of
stars.

Probabilities hold for the class frequencies of the catalogue (prior `{prior}`), which no stream of alerts
has: compare them between alerts rather than believe them in absolute terms, or set another prior where
verdicts are made (`--class-prior`). {decision}

## Results on the test split

{catalogue}
{imitated}## Limits

* One survey's periodic variables: no supernovae, active nuclei, novae or asteroids are among the classes. An
  alert of another kind gets a class all the same: look at `class_applies`, the anomaly score, the class set.
* No spectra and no colours in training. Amplitudes differ from band to band at random in training, since the
  data have one band.
* The position enters as |sin b| and the brightness as a magnitude. Both carry the footprint and depth of the
  training stars ({footprint}), and a model can use that as a short cut.
* Folded light curves inherit the catalogue's period and with it its opinion of the class (an eclipsing binary
  is folded at twice the strongest peak). What was measured on observed epochs is free of this, but `period`.
* The catalogue's strata are calibrated on {calibrated_on} of its stars, not on alerts of the surveys
  themselves: where a verdict names one of them, real p-values are smaller or larger to the extent that real
  alerts differ from these. `trainer fit-anomaly --alerts` calibrates on a survey's own.
* {grown_on}
* Temperature and class threshold of a stratum are fitted on the same {alerts_per_stratum:,} alerts or fewer.
* The labels are the survey's own classification and hold its errors.

## Reproduction

`make train` with the light curves in place. Seed {seed}.
"""


_NO_SOURCE = "Stars whose source is not named (`source` of `[data]` in the settings of the training)"

_READ_AS = """. It is read as statistics of its variability, the highest Lomb-Scargle power in 40
  bins of frequency, and its fold at each of up to six candidate periods: Fourier series, mean in bins of
  phase, variance left; a period from a catalogue is one more candidate where it is known. How strange an
  alert is gets asked without that one, since no alert of the calibration has it"""

_ODDITIES = """ A second classifier tells ordinary light curves from odd ones ({names}). It learned them by
outlier exposure: {share:.0%} of the training alerts are made odd by crude, generic changes of a star's light
(another star's variation on top; its own at a period that its class does not have; one bump, dip or step of
any shape; wild exposures, lost light, shifted zero points). Forests see minus the logarithms of the
probabilities that each oddity but a fault of the instrument is absent and that the likeliest class is right,
for ordinary stars in the catalogue's proportions of the classes: rare is strange."""

_DECISIONS = {
    "argmax": "A verdict names the most probable class.",
    "macro_f1": """A verdict names the class with the largest product of its probability and a weight;
the weights were chosen for macro-F1 on the calibration stars of each stratum (`--decision-rule argmax` does
without).""",
    "balanced_accuracy": """A verdict names the class with the largest product of its probability and a
weight; the weights were chosen for balanced accuracy on the calibration stars of each stratum
(`--decision-rule argmax` does without).""",
}

_WINDOWS = """To each set come {n:,} windows of observed epochs: the first 1, 3, 10, 30,
100 or all of a star{runs}, or a random run; a quarter of them with the catalogue's period. """

_CUTS = """And {n:,} alerts
cut from other stretches of the training stars as `packet` below is from those of the test. """

_RUNS = ", or runs of about as many from any night"

_CATALOGUE = """\
### On observed epochs, by the exported graphs

{n:,} stars in the settings of `trainer evaluate`: `period` is given the catalogue's period, all others are
not; 100, 30, 10, 3 and 1 are the first epochs in time. `packet` is the alert that ZTF or LSST would have
sent of the star: 30 days of its own epochs up to one that differs from a reference by more than noise, two
exposures a night in two of the survey's bands. The reference, flux and magnitude, is from epochs before those
30 days, and nothing from after the alert enters. Nights are as rare as the catalogue's, its one band passes
for each of the survey's, and a star that never differs so ends with its last epoch. Classes merged to ECL,
EA, RRAB, RRC, ROT, LPV, DSCT; the class is the most probable one.{near}

{table}

F1 by class:

{by_class}

{further}
"""

_NEAR = """ Near
anomalies are {n} RRd, type II and anomalous Cepheids, which the model has never seen: area under the ROC
curve of the anomaly score, and of one minus the largest probability."""


def _oddities(names: Sequence[str], share: float) -> str:
    if not names:
        return ""
    return _ODDITIES.format(names=", ".join(name.replace("_", " ") for name in names[1:]), share=share)


def _held_out(classes: Sequence[str]) -> str:
    if not classes:
        return ""
    return f"Held out of everything, to be found as anomalies: {', '.join(classes)}."


def _catalogue(measures: Mapping[str, Any] | None) -> str:
    """Return the section of the results on catalogued stars."""
    if measures is None:
        return ""
    areas = ("near_ood_auroc", "near_ood_auroc_of_confidence")
    columns = ("macro_f1", "balanced_accuracy", "accuracy", "ece", *areas)
    settings = list(measures["macro_f1"])
    rows = [[setting, *(_number(measures[name][setting]) for name in columns)] for setting in settings]
    classes = list(measures["f1_by_class"][settings[0]] or ())
    by_class = [
        [setting, *(_number((measures["f1_by_class"][setting] or {}).get(name)) for name in classes)]
        for setting in settings
    ]
    known = measures["n"][settings[0]] or 0
    n_near = measures.get("near_anomalies", measures["stars"] - known)  # older measures do not count them
    return _CATALOGUE.format(
        n=measures["stars"],
        near=_NEAR.format(n=n_near) if n_near else "",
        table=table(["setting", *(name.replace("_", " ") for name in columns)], rows),
        by_class=table(["setting", *classes], by_class),
        further=catalogue_tables(measures),
    )


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def retitled(card: str, name: str, version: str) -> str:
    """Return a card under the name and version of the bundle that it is put into.

    Examples
    --------
    >>> retitled("# Model card: default 5", "default", "5.1")
    '# Model card: default 5.1'
    """
    old, newline, rest = card.partition("\n")
    if not old.startswith(TITLE):
        raise ConfigurationError(f"the bundle's {CARD} does not begin with {TITLE!r}; export it again")
    return f"{TITLE}{name} {version}{newline}{rest}"


def description(modalities: Sequence[str]) -> str:
    """Return what a bundle reads, in a line.

    Examples
    --------
    >>> description(["photometry", "metadata"])
    'Light curves and catalogue values of variable stars, for alerts of any length (astrom3-alert)'
    """
    inputs = _inputs(modalities)
    return f"{inputs[0].upper()}{inputs[1:]} of variable stars, for alerts of any length (astrom3-alert)"


def model_card(manifest: Manifest) -> str:
    """Return the card of a bundle as Markdown; it says nothing that does not follow from the manifest.

    Raises
    ------
    ConfigurationError
        If the bundle was trained by another version, whose settings are not known.
    """
    run = _run_of(manifest)
    if run.data["file"] != FILE:
        return objects_card(run, manifest)
    training = manifest.training
    evaluation = training["evaluation"]
    data, settings = run.data, run.settings
    return _TEXT.format(
        name=manifest.name,
        version=manifest.version,
        description=manifest.description,
        n_encoders=len(run.specs),
        inputs=_inputs(list(run.specs)),
        strange="the alert" if manifest.head.oddities else "the embedding",
        oddities=_oddities(manifest.head.oddities, settings.data.odd_share),
        dim=manifest.embedding_dim,
        n_classes=len(run.classes),
        max_epochs=settings.max_epochs,
        columns=", ".join(column_text(column) for column in run.specs.get("metadata", {}).get("columns", ()))
        or "none",
        source=data.get("source") or _NO_SOURCE,
        footprint=data.get("footprint", "of one sample"),
        n_stars=data["stars"],
        splits=", ".join(f"{count:,} {name}" for name, count in data["stars_by_split"].items()),
        digest=data["sha256"],
        class_table=table(
            ["class", "training stars"],
            [[name, f"{count:,}"] for name, count in data["train_stars_by_class"].items()],
        ),
        light_curve=_READ_AS if "light_curve" in run.specs else ", and the strongest Lomb-Scargle period",
        held_out=_held_out(data.get("held_out_classes", ())),
        windows=_windows(settings.data),
        calibrated_on="windows of observed epochs" if settings.data.windows_per_set else "imitated alerts",
        catalogue=_catalogue(training.get("catalogue")),
        passes=training["passes"],
        set_size=settings.data.alerts_per_set,
        train_sets=settings.data.train_sets,
        prior=run.class_prior,
        decision=_DECISIONS[settings.calibration.decision_rule],
        imitated=imitated_section(run, evaluation) if evaluation else "",
        grown_on=GROWN_ON.format(things="stars").replace("\n", "\n  "),
        alerts_per_stratum=settings.calibration.alerts_per_stratum,
        seed=settings.seed,
    )


def _run_of(manifest: Manifest) -> Run:
    """Return the run that a bundle came of."""
    try:
        settings = Settings.model_validate(manifest.training["settings"])
    except ValidationError as error:
        raise ConfigurationError(
            f"{manifest.name} {manifest.version} was trained by another version "
            f"({'; '.join(explained(error))}); write its card with that one"
        ) from error
    return Run(
        settings=settings,
        specs={model.name: model.spec for model in manifest.modalities},
        classes=tuple(manifest.classes),
        class_prior=manifest.class_prior,
        frequencies=tuple(manifest.class_frequencies),
        data=manifest.training["data"],
    )


def _windows(data: DataSettings) -> str:
    if not data.windows_per_set:
        return ""
    windows = _WINDOWS.format(n=data.windows_per_set, runs=_RUNS if any(data.runs_per_star) else "")
    return windows + (_CUTS.format(n=data.cuts_per_set) if data.cuts_per_set else "")


def _inputs(modalities: Sequence[str]) -> str:
    names = [_INPUTS.get(name, name) for name in modalities]
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
