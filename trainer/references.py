# SPDX-License-Identifier: BSD-3-Clause
"""The labelled stars that a verdict names as analogues."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trainer.data.splits import Split
from trainer.data.stars import StarTable, folded_profile
from trainer.inference import encode
from trainer.model import AlertModel
from trainer.preparation import Prepared
from trainer.sets import ExampleSet

__all__ = ["N_BINS", "References", "choose_references"]

N_REFERENCES = 1500
"""Stars in all, in equal shares of the classes; a class with fewer gives what it has."""

MIN_EPOCHS = 20
"""Fewest epochs of a reference alert: an embedding of three epochs resembles everything."""

N_BINS = 24
"""Bins of the profile that is plotted beside a verdict."""


@dataclass(frozen=True, slots=True, kw_only=True)
class References:
    """Labelled stars (R,): their embedding (R, D) and profile (R, N_BINS) for a plot."""

    object_id: NDArray[np.str_]
    label: NDArray[np.str_]
    embedding: NDArray[np.float32]
    profile: NDArray[np.float32]
    period_day: NDArray[np.float64]


def choose_references(
    prepared: Prepared, model: AlertModel, sets: list[ExampleSet], *, seed: int
) -> References:
    """Return reference stars of the training split with the embedding of one well-observed alert each."""
    stars, classes = prepared.stars, prepared.run.classes
    share = N_REFERENCES // len(classes)
    rng = np.random.default_rng((seed, 8))
    picked_star: list[int] = []
    embeddings = []
    taken = np.zeros(len(stars), np.bool_)
    for part in sets:
        wanted = np.flatnonzero((part.n_epochs >= MIN_EPOCHS) & (stars.period_day[part.star] > 0))
        for each in range(len(classes)):
            missing = share - int((stars.label[np.array(picked_star, np.int64)] == each).sum())
            rows = rng.permutation(wanted[(part.label[wanted] == each) & ~taken[part.star[wanted]]])
            _, first = np.unique(part.star[rows], return_index=True)
            rows = rows[np.sort(first)][: max(0, missing)]
            taken[part.star[rows]] = True
            picked_star += part.star[rows].tolist()
            embeddings.append(encode(model, part.take(rows).tokens).fused())
    star = np.array(picked_star, np.int64)
    if not (prepared.split[star] == Split.TRAIN).all():
        raise ValueError("a reference star is not of the training split")
    return References(
        object_id=stars.star_id[star],
        label=np.array(classes)[stars.label[star]],
        embedding=np.concatenate(embeddings),
        profile=np.array([_profile(stars, int(each)) for each in star], np.float32),
        period_day=stars.period_day[star],
    )


def _profile(stars: StarTable, star: int) -> NDArray[np.float64]:
    """Return flux over its median at `N_BINS` phases of the catalogue's period."""
    rows = stars.epochs(star)
    flux = stars.flux_njy[rows].astype(np.float64)
    level = float(np.median(flux))
    error = stars.flux_err_njy[rows].astype(np.float64) / level
    fine = folded_profile(stars.mjd[rows], flux / level - 1, error, float(stars.period_day[star]))
    centres = (np.arange(N_BINS) + 0.5) / N_BINS * len(fine)
    return np.asarray(1 + np.interp(centres, np.arange(len(fine) + 1), np.append(fine, fine[0])))
