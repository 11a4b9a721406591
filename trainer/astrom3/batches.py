# SPDX-License-Identifier: BSD-3-Clause
"""Batches of objects: arrays are cut at once, since a loop over objects costs more than a small model."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray

from trainer.astrom3.data import Objects
from trainer.astrom3.model import Inputs, Modality
from trainer.astrom3.preprocess import SEQ_LEN, Padding, windows

__all__ = ["gather", "ordered", "shuffled"]


def gather(
    objects: Objects,
    members: NDArray[np.intp],
    modality: Modality,
    *,
    starts: NDArray[np.int64] | None = None,
    padding: Padding = "gen-2",
    device: torch.device | str = "cpu",
) -> Inputs:
    """Return the inputs of some objects; those that `modality` does not use are empty tensors.

    Parameters
    ----------
    starts
        First row of each light curve (B,); by default the middle window is taken.
    """
    nothing = torch.empty(0)
    tokens, mask, spectra, metadata = nothing, nothing, nothing, nothing
    if modality in ("photometry", "all"):
        made = windows(objects.rows, objects.offsets, members, starts=starts, padding=padding)
        tokens, mask = (torch.from_numpy(array) for array in made)
    if modality in ("spectra", "all"):
        spectra = torch.from_numpy(objects.spectra[members])
    if modality in ("metadata", "all"):
        metadata = torch.from_numpy(objects.metadata[members])
    return Inputs(
        tokens=tokens.to(device),
        mask=mask.to(device),
        spectra=spectra.to(device),
        metadata=metadata.to(device),
    )


def shuffled(
    objects: Objects, size: int, rng: np.random.Generator
) -> Iterator[tuple[NDArray[np.intp], NDArray[np.int64]]]:
    """Yield the members of every whole batch in random order, and a random first row of each light curve.

    An incomplete last batch is left out, as in the original; with fewer objects than a batch all make one.
    """
    order = rng.permutation(len(objects))
    size = min(size, len(objects))
    spare = np.maximum(np.diff(objects.offsets) - SEQ_LEN, 0)
    for begin in range(0, len(order) - size + 1, size):
        members = order[begin : begin + size]
        yield members, rng.integers(0, spare[members] + 1)


def ordered(objects: Objects, size: int) -> Iterator[NDArray[np.intp]]:
    """Yield the members of batches in the order of the file, the last one shorter."""
    for begin in range(0, len(objects), size):
        yield np.arange(begin, min(begin + size, len(objects)))
