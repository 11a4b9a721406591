# SPDX-License-Identifier: BSD-3-Clause
"""Which objects a model learned from: by its run, or worked out anew from a bundle's training file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from broker_plugin.bundle import Manifest, open_bundle
from broker_plugin.errors import ConfigurationError
from trainer.data.catalina import file_digest, read_catalina
from trainer.data.objects import SPLITS
from trainer.data.splits import Split
from trainer.data.unsorted import Unsorted
from trainer.data.used import NO_STARS, UsedStars, used_stars

__all__ = ["SEEN", "is_training_file", "read_seen", "seen_as_asked", "seen_by_bundle", "unseen_stars"]

SEEN = "stars.parquet"
"""File of a run that names the stars that its model learned from, in whichever training."""


def read_seen(run: Path) -> pa.Table:
    """Return the stars that the model of a run learned from: `object_id`, `ra` and `dec`.

    Raises
    ------
    ConfigurationError
        If the run does not say so.
    """
    try:
        return pq.read_table(run / SEEN)
    except (OSError, pa.ArrowException) as error:
        raise ConfigurationError(
            f"{run} does not say which stars its model learned from ({error}); train it again"
        ) from error


def is_training_file(manifest: Manifest, path: Path) -> bool:
    """Tell whether a file is, byte for byte, the one that the bundle was trained on."""
    return path.is_file() and file_digest(path) == _data(manifest).get("sha256")


def seen_by_bundle(manifest: Manifest, training_file: Path) -> UsedStars:
    """Return all objects that the bundle's training used in any way but for its test.

    Stars are split again by the seed and the shares that the manifest records; a dataset of `trainer build`
    or `trainer simulate` names its splits itself.

    Raises
    ------
    ConfigurationError
        If the file is not the bundle's training file, or this software splits it in another way.
    """
    if not is_training_file(manifest, training_file):
        raise ConfigurationError(
            f"{training_file} is not what bundle {manifest.name} {manifest.version} was trained on; its "
            f"manifest names {_data(manifest).get('file')} with SHA-256 {_data(manifest).get('sha256')}"
        )
    if "split" in pq.read_schema(training_file).names:
        table = pq.read_table(training_file, columns=["object_id", "ra_deg", "dec_deg", "split"])
        used = pc.not_equal(table["split"], SPLITS[Split.TEST])
        return UsedStars.of_table(table.filter(used), ra="ra_deg", dec="dec_deg")
    settings = manifest.training["settings"]
    stars = read_catalina(training_file, held_out=_data(manifest).get("held_out_classes", ())).stars
    seen = used_stars(stars, tuple(settings["data"]["split_fractions"]), seed=settings["seed"])
    counts = _data(manifest)["stars_by_split"]
    if len(seen.name) != sum(counts.values()) - counts["test"]:
        raise ConfigurationError(
            f"this version would split {training_file} in another way than bundle {manifest.name} was "
            f"trained with ({len(seen.name)} stars used, its manifest says {counts}); use the version that "
            "made it"
        )
    return seen


def seen_as_asked(bundle: str, data: Path, run: Path | None, *, unseen: bool) -> UsedStars:
    """Return what a command leaves out: by `--run`, a training run, or `--unseen` of the training file.

    Raises
    ------
    ConfigurationError
        If both are given, there is no such run, or the file is not the training file.
    """
    if run is not None and unseen:
        raise ConfigurationError("--run and --unseen name the same stars in two ways; leave one out")
    if run is not None:
        from trainer.preparation import seen_stars  # torch: seconds that only a run needs

        return seen_stars(run)
    if unseen and not data.is_file():
        raise ConfigurationError(f"there is no file {data}")
    return seen_by_bundle(open_bundle(bundle).manifest, data) if unseen else NO_STARS


def unseen_stars(every: Unsorted, seen: UsedStars, data: Path) -> Unsorted:
    """Return the stars of a file that a bundle has not seen.

    Raises
    ------
    ConfigurationError
        If there are none.
    """
    stars = every.stars
    is_seen = seen.holds(stars.star_id, stars.ra_deg, stars.dec_deg)
    unseen = every.take(np.flatnonzero(~is_seen).astype(np.int64))
    if len(unseen.star_id) == 0:
        raise ConfigurationError(f"the bundle was made from every star of {data}; none is left to measure it")
    return unseen


def _data(manifest: Manifest) -> Mapping[str, Any]:
    found: Mapping[str, Any] = manifest.training.get("data", {})
    return found
