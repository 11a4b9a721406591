# SPDX-License-Identifier: BSD-3-Clause
"""From what was prepared to trained weights: the sets that a training needs, and the training itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path

import numpy as np

from trainer.bars import progress_bar
from trainer.checkpoint import save_run
from trainer.compute import Compute
from trainer.data.splits import Split
from trainer.model import AlertModel
from trainer.plans import Plan, planned_windows
from trainer.preparation import Prepared, made, validation_set
from trainer.pretrained import PRETRAINED, Pretrained, write_seen
from trainer.sets import ExampleSet, join_sets
from trainer.tracking import tracked
from trainer.training import finetune, pretrain, train
from trainer.training_sets import TrainingSets

__all__ = ["finetune_weights", "pool_of", "pretrain_weights", "train_weights"]

Advance = Callable[[int], None]


def train_weights(prepared: Prepared, out: Path, compute: Compute) -> None:
    """Train on contrast and classes at once, or go on with it."""
    _supervise(prepared, out, compute, kind="training", by=train)


def finetune_weights(prepared: Prepared, out: Path, compute: Compute, *, start: Pretrained | None) -> None:
    """Train on the classes alone, from `start` or from random weights, or go on with it."""
    _supervise(prepared, out, compute, kind="finetuning", by=partial(finetune, start=start), start=start)


def pretrain_weights(sources: Sequence[Prepared], out: Path, compute: Compute) -> None:
    """Train on contrast alone, or go on with it; the weights go to `out` / pretrained.

    Parameters
    ----------
    sources
        What to learn from, all with the specs of the first.
    """
    run, folder = sources[0].run, out / PRETRAINED
    pool, validation = compute.in_turn(
        lambda: tuple(pool_of(sources, split, compute) for split in (Split.TRAIN, Split.VALIDATION))
    )
    if compute.first:
        save_run(run, folder)
    _note_seen(sources, folder, compute)
    with tracked(out, "pretraining", passes=run.settings.pretraining.passes, shown=compute.first) as watch:
        pretrain(run, folder, pool, validation, compute=compute, on_pass=watch.passed, on_step=watch.step)


def pool_of(sources: Sequence[Prepared], split: Split, compute: Compute) -> ExampleSet:
    """Return several windows of each star of a split, those of all sources: none follows from a label."""
    parts, n_stars = [], 0
    for prepared in sources:
        name, plan = split.name.lower(), _unlabelled_plan(prepared, split)
        with _bar(f"windows of {name} stars", len(plan.star), compute) as advance:
            windows = made(prepared, plan, f"unlabelled-{name}", advance)
        parts.append(
            ExampleSet(
                star=windows.star + n_stars,
                label=np.full(len(windows), -1),
                n_epochs=windows.n_epochs,
                oddity=windows.oddity,
                tokens=windows.tokens,
            )
        )
        n_stars += len(prepared.stars)
    return join_sets(parts)


def _unlabelled_plan(prepared: Prepared, split: Split) -> Plan:
    """Return as many windows of each star of a split, whatever its class; none is odd."""
    seed, members = prepared.run.settings.seed, prepared.members(split).astype(np.int64)
    star, windows = planned_windows(
        prepared.stars, members, of_class=0, odd=False, rng=np.random.default_rng((seed, 10, int(split)))
    )
    return Plan.of_windows(star, windows, seed=seed, peers=members)


def _supervise(
    prepared: Prepared,
    out: Path,
    compute: Compute,
    *,
    kind: str,
    by: Callable[..., AlertModel],
    start: Pretrained | None = None,
) -> None:
    sets, validation = compute.in_turn(lambda: _supervised_sets(prepared, compute))
    _note_seen([prepared], out, compute, start=start)
    passes = prepared.run.settings.training.passes
    with tracked(out, kind, passes=passes, shown=compute.first) as watch:
        by(
            prepared.run,
            out,
            sets,
            validation,
            compute=compute,
            on_pass=watch.passed,
            on_step=watch.step,
        )


def _supervised_sets(prepared: Prepared, compute: Compute) -> tuple[TrainingSets, ExampleSet]:
    """Return what is trained on and the validation's alerts; what is dear of both is cached."""
    n_validation = prepared.run.settings.data.validation_alerts
    with _bar("validation alerts", n_validation, compute) as advance:
        validation = validation_set(prepared, advance=advance)
    with _bar("training alerts and windows", TrainingSets.size(prepared), compute) as advance:
        sets = TrainingSets(prepared, advance=advance)
    return sets, validation


def _note_seen(
    sources: Sequence[Prepared], folder: Path, compute: Compute, *, start: Pretrained | None = None
) -> None:
    if compute.first:
        stars = [(prepared.stars, prepared.members(Split.TRAIN)) for prepared in sources]
        write_seen(stars, folder, start=start)


def _bar(what: str, total: int, compute: Compute) -> AbstractContextManager[Advance]:
    return progress_bar(what, total) if compute.first else nullcontext(lambda n: None)
