# SPDX-License-Identifier: BSD-3-Clause
"""What must be known of the stars that a bundle was measured on, to believe the measures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from broker_plugin.bundle import Bundle
from broker_plugin.engine.explanation import counted
from trainer.data.unsorted import Unsorted
from trainer.predictions import merged_label, near_anomaly, unlearned

__all__ = ["remarks_on"]

SHOWN = 6
"""Classes that a remark names; the file holds all."""


def remarks_on(measured: Unsorted, bundle: Bundle, *, n_seen: int) -> list[str]:
    """Return the remarks, none where there is nothing to say.

    Parameters
    ----------
    measured
        The stars that were measured.
    n_seen
        Further stars of the file, left out because the bundle was made from them.
    """
    return [*_on_training(measured, bundle, n_seen), *_on_epochs(measured), *_on_classes(measured, bundle)]


def _on_training(measured: Unsorted, bundle: Bundle, n_seen: int) -> Iterator[str]:
    if n_seen:
        yield f"left out, since the bundle was made from them: {counted(n_seen, 'star')}"
    references = set(bundle.arrays(bundle.manifest.reference_file)["object_id"].tolist())
    known = len(references & set(measured.stars.star_id.tolist()))
    if known:
        yield (
            f"trained on by the bundle, which looks better than it is: {counted(known, 'star')} among its "
            "references, and perhaps more; --run RUN leaves out what its training has seen, --unseen what "
            "it has of the training file"
        )


def _on_epochs(measured: Unsorted) -> Iterator[str]:
    funnel = measured.funnel
    reasons = {
        "at impossible times": funnel.epochs_at_impossible_times,
        "with invalid magnitudes": funnel.epochs_with_invalid_magnitudes,
    }
    for reason, count in reasons.items():
        if count:
            yield f"left out: {count:,} of the file's {funnel.epochs_in_file:,} epochs, {reason}"
    n_empty = int((np.diff(measured.stars.offsets) == 0).sum())
    if n_empty:
        yield f"without any epoch, judged by position alone: {counted(n_empty, 'star')}"


def _on_classes(measured: Unsorted, bundle: Bundle) -> Iterator[str]:
    published = measured.published
    other = (merged_label(published) < 0) & ~near_anomaly(published)
    if other.any():
        yield f"of other classes, in no measure: {_by_class(published[other])}"
    learned = unlearned(published, bundle.manifest.classes) != published
    if learned.any():
        yield f"learned by the bundle as classes of their own, in no measure: {_by_class(published[learned])}"
    n_repeated = len(published) - len(np.unique(measured.stars.star_id))
    if n_repeated:
        yield f"not to be told apart in predictions, with the id of another: {counted(n_repeated, 'star')}"


def _by_class(published: NDArray[np.str_]) -> str:
    found = Counter(each or "none given" for each in published.tolist()).most_common()
    shown = ", ".join(f"{name} {count:,}" for name, count in found[:SHOWN])
    return f"{counted(len(published), 'star')} ({shown}{', ...' if len(found) > SHOWN else ''})"
