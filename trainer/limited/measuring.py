# SPDX-License-Identifier: BSD-3-Clause
"""The stars that all trainings are chosen by and measured with, as a stream has seen them."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from broker_plugin.calibration import softmax
from trainer import star_settings
from trainer.data.splits import Split
from trainer.inference import encode, logits_of
from trainer.metrics import classification
from trainer.model import AlertModel
from trainer.plans import Plan
from trainer.preparation import Prepared
from trainer.sets import ExampleSet, make_set
from trainer.windows import first_windows

__all__ = ["MEASURES", "SETTINGS", "first_sets", "measure", "n_first"]

SETTINGS: Mapping[str, int | None] = {
    name: star_settings.SETTINGS[name][0] for name in ("all", "100", "30", "10")
}
"""First epochs of each star, None for all; the catalogue's period is not given."""

MEASURES = ("macro_f1", "accuracy", "balanced_accuracy")


def first_sets(
    prepared: Prepared, split: Split, *, advance: Callable[[int], None] = lambda n: None
) -> dict[str, ExampleSet]:
    """Return all labelled stars of a split by setting: their first epochs, without the catalogue's period.

    Of a dataset's objects, whose alerts are cut from anywhere, it is that number of epochs.
    """
    members = _labelled(prepared, split)
    seed = prepared.run.settings.seed
    sets = {}
    for setting, n_epochs in SETTINGS.items():
        windows = first_windows(prepared.stars, members, n_epochs, given=False)
        sets[setting] = make_set(
            Plan.of_windows(members, windows, seed=seed, peers=members),
            prepared.run.specs,
            prepared.stars_path,
            cache=prepared.cache / f"first-{split.name.lower()}-{setting}.npz",
            workers=prepared.run.settings.data.workers,
            advance=advance,
            make=prepared.make,
        )
    return sets


def n_first(prepared: Prepared, split: Split) -> int:
    """Return how many windows `first_sets` makes."""
    return len(SETTINGS) * len(_labelled(prepared, split))


def measure(model: AlertModel, sets: Mapping[str, ExampleSet]) -> dict[str, dict[str, float]]:
    """Return the measures of a model by setting, in per cent."""
    results = {}
    for setting, examples in sets.items():
        fused = encode(model, examples.tokens).fused()
        one = np.ones(len(examples))
        by_prior = [softmax(logits_of(model, fused, prior=prior), one) for prior in (True, False)]
        found = classification(by_prior[0], examples.label, by_prior[1])
        results[setting] = {name: round(100 * found[name], 3) for name in MEASURES}
    return results


def _labelled(prepared: Prepared, split: Split) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    members = prepared.members(split)
    return members[prepared.stars.label[members] >= 0].astype(np.int64)
