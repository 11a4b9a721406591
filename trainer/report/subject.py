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

from broker_plugin.bundle import Bundle, Manifest, open_bundle
from broker_plugin.features.base import FEATURE_SPEC_VERSION
from trainer.bundle_evaluation import score_settings
from trainer.checkpoint import RUN, Run, load_run
from trainer.data.catalina import FILE, file_digest
from trainer.data.ids import check_ids
from trainer.data.unsorted import Unsorted, read_unsorted
from trainer.data.used import NO_STARS, UsedStars
from trainer.predictions import (
    PredictionFile,
    predictions_table,
    read_predictions,
    unlearned,
    write_predictions,
)
from trainer.preparation import seen_stars
from trainer.remarks import remarks_on
from trainer.seen import is_training_file, seen_by_bundle, unseen_stars
from trainer.survey_cut import CUT_VERSION

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
    remarks
        What must be known of the stars to believe what is measured on them.
    """

    name: str
    bundle: Bundle
    data: Path
    stars: Unsorted
    published: Mapping[int, str]
    left_out: int
    remarks: Sequence[str]

    @property
    def title(self) -> str:
        """Name and version of the bundle."""
        return f"{self.bundle.manifest.name} {self.bundle.manifest.version}"

    def key(self, settings: Sequence[str]) -> str:
        """Return what the predictions in some settings follow from, in short."""
        of_code = (FEATURE_SPEC_VERSION, CUT_VERSION)
        return hashlib.sha256(" ".join([self._asked, *of_code, *settings]).encode()).hexdigest()[:16]

    @cached_property
    def _asked(self) -> str:
        """Digest of the bundle and the stars."""
        digest = hashlib.sha256(self.bundle.digest.encode())
        digest.update(file_digest(self.data).encode())
        digest.update(np.ascontiguousarray(self.stars.star_id).tobytes())
        return digest.hexdigest()


def open_subject(
    name: str, data: Path, *, run: Path | None = None, limit: int | None = None, seed: int = 1
) -> Subject:
    """Open a bundle and the stars of a file that it has not seen, as far as that can be known.

    Parameters
    ----------
    run
        The training that the bundle may be of: it tells which stars of any file the bundle has seen.
    limit
        Take no more stars than these, drawn at random: for a quick look.

    Raises
    ------
    ConfigurationError
        If the bundle or the file cannot be read, two of its stars have one id, or the bundle has seen all.
    """
    bundle = open_bundle(name)
    every = read_unsorted(data)
    check_ids(data, "id")
    unseen = unseen_stars(every, _seen(bundle.manifest, data, run), data)
    left_out = len(every.star_id) - len(unseen.star_id)
    rows = np.arange(len(unseen.star_id))
    if limit is not None:
        rows = np.random.default_rng((seed, 41)).permutation(rows)[:limit]
    stars = unseen.take(rows[np.argsort(unseen.star_id[rows], kind="stable")])
    classes = bundle.manifest.classes
    known_as = unlearned(every.published, classes).tolist()
    return Subject(
        name=name,
        bundle=bundle,
        data=data,
        stars=replace(stars, published=unlearned(stars.published, classes)),
        published=dict(zip(every.star_id.tolist(), known_as, strict=True)),
        left_out=left_out,
        remarks=remarks_on(stars, bundle, n_seen=left_out),
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
    path = cache / f"{subject.key(settings)}.parquet"
    if not path.is_file():
        by_setting = score_settings(subject.name, subject.stars, settings, workers=workers, advance=advance)
        about = {"bundle": subject.title, "bundle_digest": subject.bundle.digest}
        write_predictions(path, predictions_table(subject.stars.star_id, by_setting, about=about, whole=True))
    else:
        advance(len(settings) * len(subject.stars.star_id))
    return read_predictions(path)


def _seen(manifest: Manifest, data: Path, run: Path | None) -> UsedStars:
    """Return what a bundle's training used: by its training file, and by its run where that is given."""
    seen = seen_by_bundle(manifest, data) if is_training_file(manifest, data) else NO_STARS
    if run is not None and (run / RUN).is_file() and _is_of(manifest, load_run(run)):
        seen = seen | seen_stars(run)
    return seen


def _is_of(manifest: Manifest, run: Run) -> bool:
    """Tell whether a bundle was trained on the file of light curves of a run, split as the run splits it."""
    data, settings = (manifest.training.get(name, {}) for name in ("data", "settings"))
    return (
        data.get("file") == FILE
        and data.get("sha256") == run.data.get("sha256")
        and settings.get("seed") == run.settings.seed
        and tuple(settings["data"]["split_fractions"]) == run.settings.data.split_fractions
    )
