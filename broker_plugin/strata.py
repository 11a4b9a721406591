# SPDX-License-Identifier: BSD-3-Clause
"""Which calibration an alert's anomaly scores are compared with.

A bundle may carry strata of a stream's own alerts: survey / source context / modalities / number of epochs,
as `ztf/stellar/photometry+metadata/8-15`. A stratum with too few objects does not exist, and its alerts go
to the next wider one: first its epochs are pooled (`8+`, `any`), then the modalities (`ztf/stellar/any/any`),
the contexts (those that are too small, `ztf/artefact+galaxy_host/any/any`, then all, `ztf/any/any/any`), the
surveys (`any/any/any/any`). What no stratum of the stream takes is left to the calibration on catalogue
stars. A verdict names the stratum that was used, and its size.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

__all__ = ["ANY", "StreamStrata", "StreamStratum", "epoch_range", "stream_stratum_name"]

ANY = "any"
"""Stands in a name for what is pooled."""


class StreamStratum(BaseModel):
    """Calibration on a stream's own alerts. Its sorted scores are the calibration's `<name>/<source>`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    n: int = Field(gt=0, description="Objects behind it, one alert each.")
    surveys: list[str] = Field(min_length=1, description="Whose alerts are in it; it takes no others.")
    contexts: list[str] | None = Field(description="Source contexts; null for all of them.")
    modalities: list[str] | None = Field(description="Exactly these modalities; null for any of them.")
    epochs_min: int = Field(default=0, ge=0)
    epochs_max: int | None = Field(default=None, description="Most epochs; null for no limit.")

    def takes(self, survey: str, context: str, modalities: tuple[str, ...], n_epochs: int) -> bool:
        """Tell whether such an alert may be compared with this stratum.

        An alert without any modality is like none that has one: it is never pooled with them.
        """
        if self.modalities is None:
            same_modalities = bool(modalities)
        else:
            same_modalities = tuple(self.modalities) == modalities
        return (
            survey in self.surveys
            and (self.contexts is None or context in self.contexts)
            and same_modalities
            and self.epochs_min <= n_epochs
            and (self.epochs_max is None or n_epochs <= self.epochs_max)
        )

    @property
    def width(self) -> tuple[int, float, bool]:
        """A key that sorts narrow before wide: by surveys, by contexts, by modalities."""
        return len(self.surveys), len(self.contexts or ()) or math.inf, self.modalities is None

    @property
    def forest(self) -> str | None:
        """Survey whose own forests, where the bundle has any, its scores are of; None for the common ones."""
        return self.surveys[0] if len(self.surveys) == 1 else None


class StreamStrata:
    """Finds the strata of alerts: the first in the bundle's order, which goes from narrow to wide."""

    def __init__(self, strata: Sequence[StreamStratum]) -> None:
        self._strata = tuple(strata)
        edges = {0} | {s.epochs_min for s in strata}
        edges |= {s.epochs_max + 1 for s in strata if s.epochs_max is not None}
        self._edges = np.array(sorted(edges), np.int64)
        self._known: dict[tuple[str, str, tuple[str, ...], int], int] = {}

    def __getitem__(self, position: int) -> StreamStratum:
        return self._strata[position]

    def __len__(self) -> int:
        return len(self._strata)

    def positions(
        self,
        survey: Sequence[str],
        context: Sequence[str],
        modalities: Sequence[tuple[str, ...]],
        n_epochs: NDArray[np.int64],
    ) -> NDArray[np.int64]:
        """Return the position of each alert's stratum, -1 where the catalogue's calibration is left; (B,).

        Each kind of alert is looked up once in the life of this object.
        """
        # Alerts between two edges of all the strata are of one kind.
        bins = np.searchsorted(self._edges, n_epochs, side="right") - 1
        kinds = list(zip(survey, map(str, context), modalities, bins.tolist(), strict=True))
        for kind in set(kinds) - self._known.keys():
            name, of_context, having, bin_ = kind
            low = int(self._edges[bin_])
            matches = (k for k, s in enumerate(self._strata) if s.takes(name, of_context, having, low))
            self._known[kind] = next(matches, -1)
        return np.array([self._known[kind] for kind in kinds], np.int64)


def epoch_range(low: int, high: int | None) -> str:
    """Return how a range of numbers of epochs is written.

    Examples
    --------
    >>> epoch_range(8, 15), epoch_range(8, None), epoch_range(0, None), epoch_range(1, 1)
    ('8-15', '8+', 'any', '1-1')
    """
    if high is None:
        return f"{low}+" if low else ANY
    return f"{low}-{high}"


def stream_stratum_name(
    survey: str | None, contexts: Sequence[str] | None, modalities: Sequence[str] | None, epochs: str
) -> str:
    """Return the name of a stratum; None stands for what is pooled.

    Examples
    --------
    >>> stream_stratum_name("ztf", ["stellar"], ("photometry", "metadata"), "8-15")
    'ztf/stellar/photometry+metadata/8-15'
    >>> stream_stratum_name("ztf", None, None, "any")
    'ztf/any/any/any'
    """
    having = ANY if modalities is None else "+".join(modalities) or "none"
    return "/".join([survey or ANY, "+".join(contexts or [ANY]), having, epochs])
