# SPDX-License-Identifier: BSD-3-Clause
"""Encoders that were trained before, as the beginning of a fine-tuning."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file

from broker_plugin.errors import ConfigurationError
from trainer.checkpoint import BEGUN, MODEL, Kept, Run, load_run
from trainer.config import Settings
from trainer.data.splits import Split
from trainer.data.stars import StarTable
from trainer.data.used import UsedStars
from trainer.model import AlertModel
from trainer.preparation import Prepared
from trainer.seen import SEEN, read_seen

__all__ = ["PRETRAINED", "Pretrained", "read_pretrained", "write_seen"]

PRETRAINED = "pretrained"
"""Folder of a pre-training within that of its run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pretrained:
    """A run whose encoders are to be trained further.

    Parameters
    ----------
    digest
        Of its weights.
    """

    folder: Path
    run: Run
    weights: Mapping[str, torch.Tensor]
    digest: str

    def kept(self, settings: Settings) -> Kept:
        """Return what a run with these encoders keeps: the scalers that they were trained with, and the data.

        Raises
        ------
        ConfigurationError
            If a modality, or what all share, is configured in another way, or none is common to both.
        """
        before = self.run.settings
        if settings.model.embedding_dim != before.model.embedding_dim:
            raise ConfigurationError(
                f"[model] embedding_dim is {before.model.embedding_dim} in {self.folder}; take the same"
            )
        shared = [name for name in settings.modalities if name in before.modalities]
        if not shared:
            raise ConfigurationError(
                f"{self.folder} knows {', '.join(before.modalities)}, and the settings none of these"
            )
        for name in shared:
            if settings.modalities[name] != before.modalities[name]:
                raise ConfigurationError(
                    f"[modalities.{name}] is another than in {self.folder}; take the settings that it was "
                    "trained with"
                )
        return Kept(specs={name: self.run.specs[name] for name in shared}, data={BEGUN: dict(self.run.data)})

    def begin(self, model: AlertModel) -> None:
        """Give a model these encoders and this temperature; its classifier and other encoders stay."""
        prefixes = tuple(f"encoders.{name}." for name in model.modalities)
        known = {
            name: value
            for name, value in self.weights.items()
            if name.startswith(prefixes) or name == "logit_scale"
        }
        model.load_state_dict({**model.state_dict(), **known}, strict=True)

    def require_apart(self, prepared: Prepared) -> None:
        """Raise ConfigurationError if these encoders were trained on a star that others are measured with."""
        learned, stars = UsedStars.of_table(read_seen(self.folder), ra="ra", dec="dec"), prepared.stars
        seen = learned.holds(stars.star_id, stars.ra_deg, stars.dec_deg)
        held_out = seen & (prepared.split > Split.TRAIN)
        if held_out.any():
            raise ConfigurationError(
                f"{self.folder} was trained on {int(held_out.sum()):,} stars that would now be held out for "
                "validation, calibration or test; pre-train again with --apart-from this data, or on these "
                "data with their labels, from which the splits follow"
            )


def read_pretrained(folder: Path) -> Pretrained:
    """Read what `trainer pretrain --out FOLDER` left, or else the model of a whole training run.

    Raises
    ------
    ConfigurationError
        If there is neither.
    """
    for place in (folder / PRETRAINED, folder):
        path = place / MODEL
        if path.is_file():
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            return Pretrained(folder=place, run=load_run(place), weights=load_file(path), digest=digest)
    raise ConfigurationError(f"no model in {folder}; make one with `trainer pretrain --out {folder}`")


def write_seen(
    stars: Sequence[tuple[StarTable, NDArray[np.intp]]], folder: Path, *, start: Pretrained | None = None
) -> None:
    """Write which stars of which tables a model learns from, and what it begins with had learned from."""
    parts = [
        pa.table({"object_id": each.star_id[rows], "ra": each.ra_deg[rows], "dec": each.dec_deg[rows]})
        for each, rows in stars
    ]
    if start is not None:
        parts.append(read_seen(start.folder))
    # Once each, also where a run goes on from itself.
    pq.write_table(pa.concat_tables(parts).group_by(["object_id", "ra", "dec"]).aggregate([]), folder / SEEN)
