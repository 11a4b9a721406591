# SPDX-License-Identifier: BSD-3-Clause
"""Embeddings in memory: columns over objects, and what they are of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from broker_plugin.engine.encoders import FUSED
from broker_plugin.errors import ConfigurationError
from trainer.data.splits import sky_groups
from trainer.stream.objects import linked

__all__ = ["About", "Embeddings"]


class About(BaseModel):
    """What the embeddings of a file are of, and what made them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: str = "1"
    bundle: str
    bundle_digest: str
    classes: tuple[str, ...]
    modalities: tuple[str, ...]
    embedding_dim: int
    source: str
    first: int | None
    period: bool
    simulated: bool
    n_features: int = 0

    @property
    def sources(self) -> tuple[str, ...]:
        """Names of the embeddings: `fused` and the modalities."""
        return (FUSED, *self.modalities)


@dataclass(frozen=True, kw_only=True)
class Embeddings:
    """A file of embeddings in memory; columns over objects (N,).

    Parameters
    ----------
    row
        Position in the file, where light curves and features are.
    label, published, other_type
        Empty where there is none.
    seen
        1 where the bundle was trained on the object, 0 where not, -1 where that is not known.
    catalogue_period_day, period_day
        NaN where there is none.
    probability
        In the order of the bundle's classes, (N, C).
    vectors, present
        By source of `About.sources`: embeddings (N, D), zero where the modality is missing, and where not.
    """

    about: About
    row: NDArray[np.int64]
    id: NDArray[np.str_]
    object_id: NDArray[np.str_]
    ra_deg: NDArray[np.float64]
    dec_deg: NDArray[np.float64]
    n_epochs: NDArray[np.int64]
    label: NDArray[np.str_]
    published: NDArray[np.str_]
    other_type: NDArray[np.str_]
    seen: NDArray[np.int8]
    catalogue_period_day: NDArray[np.float64]
    period_day: NDArray[np.float64]
    top_class: NDArray[np.str_]
    probability: NDArray[np.float64]
    anomaly_score: NDArray[np.float64]
    anomaly_p_value: NDArray[np.float64]
    calibration_stratum: NDArray[np.str_]
    vectors: Mapping[str, NDArray[np.float32]]
    present: Mapping[str, NDArray[np.bool_]]

    def __len__(self) -> int:
        return len(self.id)

    def take(self, rows: NDArray[np.intp]) -> Embeddings:
        """Return some of the objects."""
        columns = {
            column.name: getattr(self, column.name)[rows]
            for column in fields(self)
            if column.name not in ("about", "vectors", "present")
        }
        return Embeddings(
            about=self.about,
            **columns,
            vectors={name: values[rows] for name, values in self.vectors.items()},
            present={name: values[rows] for name, values in self.present.items()},
        )

    @cached_property
    def group(self) -> NDArray[np.int64]:
        """The object behind each row (N,): rows of one name, or within 10 arcsec, have one number."""
        placed = np.isfinite(self.ra_deg) & np.isfinite(self.dec_deg)
        # Where the position is not known, the name alone counts.
        sky = np.array([f"id {name}" for name in self.id], object)
        near = sky_groups(self.ra_deg[placed], self.dec_deg[placed])
        sky[placed] = [f"sky {number}" for number in near]
        return linked(self.object_id, sky.astype(np.str_))

    def row_of(self, name: str) -> int:
        """Return the row of an id, an object's name, or either without what stands before a colon.

        Raises
        ------
        ConfigurationError
            If there is none, or more than one.
        """
        for short in (False, True):
            rows = {
                row
                for column in (self.id, self.object_id)
                for row, text in enumerate(column.tolist())
                if (text.rpartition(":")[2] if short else text) == name
            }
            if len(rows) == 1:
                return rows.pop()
            if rows:
                known = ", ".join(self.id[sorted(rows)[:5]])
                raise ConfigurationError(f"{len(rows)} objects are called {name}; give one of {known}")
        raise ConfigurationError(
            f"no object {name!r} among the {len(self):,} embeddings; they are called like {self.id[0]}"
        )
