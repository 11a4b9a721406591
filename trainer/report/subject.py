# SPDX-License-Identifier: BSD-3-Clause
"""A bundle on the stars of a file that it was not trained on, and what it says of them, kept in a cache."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from broker_plugin.bundle import Bundle, open_bundle
from trainer.bundle_evaluation import score_settings
from trainer.data.catalina import file_digest
from trainer.data.unsorted import Unsorted, read_unsorted
from trainer.predictions import (
    PredictionFile,
    predictions_table,
    read_predictions,
    unlearned,
    write_predictions,
)
from trainer.seen import is_training_file, seen_by_bundle

__all__ = ["Bar", "Subject", "kept_predictions", "open_subject"]

Bar = Callable[[str, int], AbstractContextManager[Callable[[int], None]]]
"""From what is done and how much of it to a bar that is told of what is done."""


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A bundle and the stars that it is measured on.

    Parameters
    ----------
    name
        As the bundle was asked for: the name of an installed one, or a directory.
    stars
        Those of the file that its training did not use, in the order of their identifiers.
    published
        Published class of every star of the file, by its identifier.
    left_out
        Stars of the file that its training used.
    """

    name: str
    bundle: Bundle
    data: Path
    stars: Unsorted
    published: Mapping[int, str]
    left_out: int

    @property
    def title(self) -> str:
        """Name and version of the bundle."""
        return f"{self.bundle.manifest.name} {self.bundle.manifest.version}"

    @cached_property
    def key(self) -> str:
        """What the predictions follow from, in short."""
        digest = hashlib.sha256(self.bundle.digest.encode())
        digest.update(file_digest(self.data).encode())
        digest.update(np.ascontiguousarray(self.stars.star_id).tobytes())
        return digest.hexdigest()[:16]


def open_subject(name: str, data: Path, *, limit: int | None = None, seed: int = 1) -> Subject:
    """Open a bundle and the stars of a file that it has not seen.

    Parameters
    ----------
    limit
        Take no more stars than these, drawn at random: for a quick look.
    """
    bundle = open_bundle(name)
    every = read_unsorted(data)
    every = replace(every, published=unlearned(every.published, bundle.manifest.classes))
    seen = seen_by_bundle(bundle.manifest, data) if is_training_file(bundle.manifest, data) else frozenset()
    unseen = np.flatnonzero([str(each) not in seen for each in every.stars.star_id])
    chosen = unseen
    if limit is not None:
        chosen = np.random.default_rng((seed, 41)).permutation(unseen)[:limit]
    chosen = chosen[np.argsort(every.star_id[chosen], kind="stable")]
    return Subject(
        name=name,
        bundle=bundle,
        data=data,
        stars=every.take(chosen),
        published=dict(zip(every.star_id.tolist(), every.published.tolist(), strict=True)),
        left_out=len(every.star_id) - len(unseen),
    )


def kept_predictions(
    subject: Subject,
    settings: Sequence[str],
    cache: Path,
    *,
    workers: int = 1,
    advance: Callable[[int], None] = lambda n: None,
) -> PredictionFile:
    """Return what a bundle says of its stars in every setting, from the cache where it has been asked."""
    path = cache / f"{subject.key}.parquet"
    if not path.is_file():
        by_setting = score_settings(subject.name, subject.stars, settings, workers=workers, advance=advance)
        about = {"bundle": subject.title, "bundle_digest": subject.bundle.digest}
        write_predictions(path, predictions_table(subject.stars.star_id, by_setting, about=about, whole=True))
    else:
        advance(len(settings) * len(subject.stars.star_id))
    return read_predictions(path)
