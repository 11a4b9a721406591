# SPDX-License-Identifier: BSD-3-Clause
"""The stars that baselines are trained and asked on: those of a run, seen in the settings of evaluation."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from broker_plugin.errors import ConfigurationError
from trainer.checkpoint import Run
from trainer.data.catalina import FILE, file_digest, read_catalina
from trainer.data.splits import Split, split_stars
from trainer.data.stars import StarTable
from trainer.data.unsorted import Unsorted, read_unsorted
from trainer.predictions import MERGED, merged_label

__all__ = ["BaselineStars", "baseline_stars"]


@dataclass(frozen=True, slots=True, kw_only=True)
class BaselineStars:
    """Stars to train on and to watch the training with, and stars that nothing was fitted on.

    Parameters
    ----------
    asked
        The run's test stars, and the stars of the classes that were held out.
    """

    train: Unsorted
    validation: Unsorted
    asked: Unsorted

    def label(self, part: str) -> NDArray[np.int64]:
        """Return the positions in `MERGED` of the classes of the stars of a part."""
        return merged_label(getattr(self, part).published)


def baseline_stars(run: Run, data: Path) -> BaselineStars:
    """Return the stars of a run that was made from catalogued light curves, split as they were for it.

    Parameters
    ----------
    data
        Folder that holds the light curves.

    Raises
    ------
    ConfigurationError
        If the run was made from anything else.
    """
    path = data / FILE
    if run.data["file"] != FILE or not path.is_file() or file_digest(path) != run.data["sha256"]:
        raise ConfigurationError(
            f"baselines need the light curves that the run was made from ({run.data['file']}, SHA-256 "
            f"{str(run.data['sha256'])[:16]}...) and know the layout of {FILE} only; give --data their folder"
        )
    stars = read_catalina(data, held_out=run.settings.data.held_out_classes).stars
    split = split_stars(stars, run.settings.data.split_fractions, seed=run.settings.seed)
    parts = {
        each: _part(stars.take(np.flatnonzero(split == each)), run)
        for each in (Split.TRAIN, Split.VALIDATION)
    }
    seen = set(stars.star_id[split != Split.TEST].tolist())
    every = read_unsorted(path)
    unseen = np.flatnonzero([str(each) not in seen for each in every.stars.star_id])
    return BaselineStars(
        train=parts[Split.TRAIN], validation=parts[Split.VALIDATION], asked=every.take(unseen)
    )


def _part(stars: StarTable, run: Run) -> Unsorted:
    """Return stars with their classes as the run spells them, which `merged_label` knows too."""
    part = Unsorted(
        stars=stars,
        star_id=np.array([str(each).partition(":")[2] for each in stars.star_id]),
        published=np.array(run.classes)[stars.label],
    )
    unknown = sorted(set(part.published[merged_label(part.published) < 0].tolist()))
    if unknown:
        raise ConfigurationError(
            f"the run learned {', '.join(unknown)}, which evaluation counts as no class of "
            f"{', '.join(MERGED)}; hold them out to grow baselines"
        )
    return part
