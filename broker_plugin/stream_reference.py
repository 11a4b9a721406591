# SPDX-License-Identifier: BSD-3-Clause
"""What a stream was like when a bundle was fitted to it: what drift is measured against.

It lies in the manifest, in the record of the fit (`stream.fits[].reference`), by survey. Readers of format 2
and later take it as a note, whether they know of it or not. Of a bundle that has none, drift is measured
against the training instead.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from broker_plugin.bundle import Manifest
from broker_plugin.errors import BundleError

__all__ = ["InputReference", "InputSums", "StreamReference", "reference_of", "scaled_columns"]

LEAST_STD = 1e-3
"""Stands for the spread of an input that never varied, which any other value would be infinitely far from."""


class InputReference(BaseModel):
    """Mean and spread of the scaled inputs of one modality, by column."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    mean: list[float]
    std: list[float]

    @model_validator(mode="after")
    def _same_length(self) -> InputReference:
        if len(self.mean) != len(self.std):
            raise ValueError("mean and std have different lengths")
        return self


class StreamReference(BaseModel):
    """One survey's alerts, one of each object.

    Parameters
    ----------
    n
        How many.
    classes
        Mean class probabilities of the stellar ones; None without any.
    inputs
        What the encoders read of them, by modality.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    n: int = Field(gt=0)
    classes: dict[str, float] | None
    inputs: dict[str, InputReference]


class InputSums:
    """Sums over some inputs (N, F) of which the first columns are scaled; they can be added up."""

    __slots__ = ("n", "squares", "total")

    def __init__(self, values: NDArray[np.floating], columns: int) -> None:
        scaled = values[:, :columns].astype(np.float64)
        self.n = len(scaled)
        self.total = scaled.sum(axis=0)
        self.squares = (scaled**2).sum(axis=0)

    def reference(self) -> InputReference:
        """Return mean and spread."""
        mean = self.total / self.n
        std = np.sqrt(np.maximum(self.squares / self.n - mean**2, LEAST_STD**2))
        return InputReference(mean=mean.tolist(), std=std.tolist())

    def __add__(self, other: InputSums) -> InputSums:
        added = InputSums(np.zeros((0, len(self.total))), len(self.total))
        added.n = self.n + other.n
        added.total = self.total + other.total
        added.squares = self.squares + other.squares
        return added


def reference_of(manifest: Manifest, survey: str) -> StreamReference | None:
    """Return what a survey's stream was like when the bundle was fitted to it, None if nobody noted it.

    Raises
    ------
    BundleError
        If the note cannot be read.
    """
    for fit in reversed((manifest.stream or {}).get("fits", [])):  # the last fit of a survey counts
        references = fit.get("reference") if isinstance(fit, Mapping) else None
        noted = references.get(survey) if isinstance(references, Mapping) else None
        if noted is not None:
            try:
                return StreamReference.model_validate(noted)
            except ValidationError as error:
                raise BundleError(
                    f"bundle {manifest.name} has an unreadable reference for {survey} "
                    f"({error.errors()[0]['msg']})",
                    remedy="fit it to the stream again with trainer fit-anomaly",
                ) from error
    return None


def scaled_columns(manifest: Manifest) -> dict[str, int]:
    """Return how many of the first columns of each modality's tokens were scaled to mean 0 and variance 1."""
    scaled = {
        model.name: len(model.spec.get("mean", model.spec.get("columns", ())))
        for model in manifest.modalities
    }
    return {name: columns for name, columns in scaled.items() if columns}
