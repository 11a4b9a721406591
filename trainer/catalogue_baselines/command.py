# SPDX-License-Identifier: BSD-3-Clause
"""`trainer baselines`: what simpler and older classifiers reach on the stars that a run is measured on."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
from cyclopts import Parameter

from trainer.bars import progress_bar
from trainer.bundle_evaluation import measures_of
from trainer.catalogue_baselines.features import features_of
from trainer.catalogue_baselines.forests import (
    CAP,
    FOREST_TREES,
    ISOLATION_TREES,
    Sample,
    capped,
    grow_isolation_forest,
    grow_random_forest,
)
from trainer.catalogue_baselines.informer import (
    Constants,
    InformerRun,
    ask,
    constants_of,
    mixed_alerts,
    mixed_objects,
    objects_of,
    parts_of,
    train_informer,
)
from trainer.catalogue_baselines.stars import BaselineStars, baseline_stars
from trainer.checkpoint import Run, load_run
from trainer.options import COUNT, Data, data_folder, say
from trainer.predictions import Predictions, predictions_table, write_predictions
from trainer.star_settings import EVERY_SETTING, alerts_of

__all__ = ["BASELINES", "INFORMER", "baselines"]

BASELINES = "baselines"
"""Folder of a run that holds NAME.parquet and NAME.json of each baseline."""

FOREST, FOREST_OF_ALL, ISOLATION, INFORMER = (
    "random_forest",
    "random_forest_uncapped",
    "isolation_forest",
    "astrom3",
)


def baselines(
    *,
    data: Data = None,
    out: Annotated[Path, Parameter(help="Folder of the run.")] = Path("runs/default"),
    astrom3: Annotated[
        bool, Parameter(help="Also train the paper's architecture on the run's light curves; slow.")
    ] = False,
    passes: Annotated[
        int, Parameter(help="With --astrom3: passes over the training stars.", validator=COUNT)
    ] = 8,
    device: Annotated[str, Parameter(help="With --astrom3: cpu or cuda.")] = "cpu",
) -> None:
    """Train the baselines of a run and ask them what `trainer evaluate` asks of its bundle.

    A random forest and an isolation forest on hand-made features of the same windows, and with --astrom3 the
    paper's architecture. They see the run's training stars and answer on its test stars in every setting, so
    that `trainer report` can compare them star by star; budgets stand beside the results in OUT/baselines.
    Features are kept, and a training that was stopped goes on.
    """
    run = load_run(out)
    stars = baseline_stars(run, data_folder(data))
    grow_forests(run, stars, out)
    if astrom3:
        training = InformerRun(
            folder=out / BASELINES / INFORMER,
            passes=passes,
            seed=run.settings.seed,
            parts=parts_of(len(stars.train.star_id)),
            device=device,
        )
        informer_baseline(training, stars, out)


def grow_forests(
    run: Run, stars: BaselineStars, out: Path, *, asked_in: Sequence[str] = EVERY_SETTING
) -> None:
    """Grow the forests of every setting, ask them and write what they say."""
    settings = run.settings
    found: dict[str, dict[str, Predictions]] = {FOREST: {}, FOREST_OF_ALL: {}, ISOLATION: {}}
    total = len(asked_in) * (len(stars.train.star_id) + len(stars.asked.star_id))
    how = {"seed": settings.seed, "workers": settings.data.workers}
    n_train = n_features = 0
    with progress_bar("stars in settings", total) as advance:
        for setting in asked_in:
            features = {
                part: features_of(
                    getattr(stars, part),
                    setting,
                    run.specs,
                    cache=out / "cache" / f"baseline-{part}-{setting}.npz",
                    workers=settings.data.workers,
                    advance=advance,
                )
                for part in ("train", "asked")
            }
            train = Sample(features=features["train"], label=stars.label("train"))
            sample = capped(train, seed=settings.seed)
            found[FOREST][setting] = grow_random_forest(sample, features["asked"], **how)
            found[FOREST_OF_ALL][setting] = grow_random_forest(train, features["asked"], **how)
            found[ISOLATION][setting] = grow_isolation_forest(train, features["asked"], **how)
            n_train, n_features = len(sample.label), train.features.shape[1]
    every = len(stars.train.star_id)
    features_text = f"some {n_features} hand-made features (statistics, periodogram, three folds)"
    budgets = {
        FOREST: f"random forest of {FOREST_TREES} trees with class weights for each setting, on {n_train:,} "
        f"stars (at most {CAP:,} of a class), {features_text}",
        FOREST_OF_ALL: f"the same on all {every:,} training stars",
        ISOLATION: f"isolation forest of {ISOLATION_TREES} trees of 256 stars for each setting, on {every:,} "
        f"stars, {features_text}",
    }
    for name, by_setting in found.items():
        write_baseline(out, name, stars, by_setting, budget=budgets[name])


def informer_baseline(
    run: InformerRun, stars: BaselineStars, out: Path, *, asked_in: Sequence[str] = EVERY_SETTING
) -> None:
    """Train the paper's architecture, ask it and write what it says."""
    first = mixed_alerts(stars.train, seed=run.seed)
    with progress_bar("searching periods", len(first)) as advance:
        columns = constants_of(first, advance=advance)
    constants = Constants.of(columns)
    label = {part: stars.label(part) for part in ("train", "validation")}
    train = objects_of(first, columns, constants, label["train"])
    validation = mixed_objects(stars.validation, label["validation"], constants, seed=run.seed + 1)
    with progress_bar("epochs of the paper's architecture", run.passes * run.parts) as advance:
        outcome = train_informer(
            run,
            train,
            validation,
            views=lambda number: mixed_objects(
                stars.train, label["train"], constants, seed=run.seed, number=number
            ),
            on_epoch=lambda record: advance(1),
        )
    nobody = np.zeros(len(stars.asked.star_id), np.int64)
    by_setting = {}
    with progress_bar("settings", len(asked_in)) as advance:
        for setting in asked_in:
            asked = alerts_of(stars.asked, setting, np.arange(len(nobody)))
            by_setting[setting] = ask(run, objects_of(asked, constants_of(asked), constants, nobody))
            advance(1)
    recipe = run.recipe
    budget = (
        f"the paper's Informer ({run.running.depth} layers) in its own loop: {outcome.epochs / run.parts:g} "
        f"passes over {len(train):,} stars, a view of each drawn anew in every pass, "
        f"batches of {run.running.size(recipe)}, learning rate {recipe.learning_rate:.2g}; best of "
        f"validation after {(outcome.best_epoch + 1) / run.parts:g} passes; {outcome.seconds / 60:.0f} "
        f"minutes on {run.device}"
    )
    write_baseline(out, INFORMER, stars, by_setting, budget=budget)


def write_baseline(
    out: Path, name: str, stars: BaselineStars, by_setting: Mapping[str, Predictions], *, budget: str
) -> None:
    """Write what a baseline says and how good it is, and print the latter."""
    path = out / BASELINES / f"{name}.parquet"
    about = {"baseline": name, "budget": budget}
    write_predictions(path, predictions_table(stars.asked.star_id, by_setting, about=about))
    results = {setting: measures_of(found, stars.asked.published) for setting, found in by_setting.items()}
    path.with_suffix(".json").write_text(
        json.dumps({"baseline": name, "budget": budget, "settings": results}, indent=1) + "\n"
    )
    say(f"{name}: {budget}")
    for setting, measures in results.items():
        shown = (("macro-F1", "macro_f1"), ("balanced", "balanced_accuracy"), ("AUROC", "near_ood_auroc"))
        cells = (f"{title} {_number(measures[key])}" for title, key in shown)
        say(f"  {setting:<8}{'  '.join(cells)}")
    say(f"wrote {path}")


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
