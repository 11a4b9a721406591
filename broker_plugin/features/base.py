# SPDX-License-Identifier: BSD-3-Clause
"""What a modality is at run time: columns of a batch to ragged tokens.

Every modality speaks in tokens, so that encoders, buckets and sessions need to know only one shape: a light
curve has a token an epoch, a vector of metadata is a single token, and a modality that an alert lacks has
none. Adding a modality is adding a file to `features/modalities` that defines `build`.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from broker_plugin.errors import BundleError
from broker_plugin.features import modalities
from broker_plugin.features.period import Periods
from broker_plugin.records import AlertBatch

__all__ = ["FEATURE_SPEC_VERSION", "Modality", "Tokens", "build_modality", "known_modalities", "pad"]

FEATURE_SPEC_VERSION = "3"
"""Version of the preprocessing. A bundle of another version is refused, since its encoders would be fed with
numbers that they were not trained on; raise it with every change of a token's meaning."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tokens:
    """Ragged tokens of one modality: alert i has rows `offsets[i]:offsets[i + 1]` of `values` (N, F)."""

    values: NDArray[np.float32]
    offsets: NDArray[np.int64]

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Number of tokens of each alert, shape (B,); 0 where the modality is missing."""
        return np.diff(self.offsets)


class Modality(Protocol):
    """One modality, configured by the `spec` that the trainer wrote into the bundle."""

    name: str
    width: int
    """Number of channels F of a token."""
    longest: int
    """Largest number of tokens of an alert; batches are padded up to it."""

    def tokens(self, batch: AlertBatch, periods: Periods) -> Tokens:
        """Return the tokens of every alert of a batch. An alert's tokens depend on nothing but itself."""
        ...


def known_modalities() -> tuple[str, ...]:
    """Return the names of the modalities that this installation can compute.

    Examples
    --------
    >>> "photometry" in known_modalities()
    True
    """
    return tuple(sorted(module.name for module in pkgutil.iter_modules(modalities.__path__)))


def build_modality(name: str, spec: Mapping[str, Any]) -> Modality:
    """Return a modality configured by its spec.

    Raises
    ------
    BundleError
        If this installation knows no such modality.
    """
    if name not in known_modalities():
        raise BundleError(
            f"the bundle needs the modality {name!r}, this version knows {', '.join(known_modalities())}",
            remedy="upgrade astrom3-broker or choose another bundle",
        )
    module = importlib.import_module(f"{modalities.__name__}.{name}")
    modality: Modality = module.build(spec)
    return modality


def pad(
    tokens: Tokens, rows: NDArray[np.intp], *, batch: int, length: int
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Return the tokens of some alerts at a fixed shape, and where they are real.

    Parameters
    ----------
    tokens
        Ragged tokens.
    rows
        Which alerts, at most `batch` of them, none longer than `length`.
    batch, length
        The fixed shape; what is left over is zero and masked.

    Returns
    -------
    values, mask
        Shapes (batch, length, F) and (batch, length).
    """
    values = np.zeros((batch, length, tokens.values.shape[1]), np.float32)
    mask = np.zeros((batch, length), np.bool_)
    lengths = tokens.lengths[rows]
    mask[: len(rows)] = np.arange(length) < lengths[:, None]
    starts = tokens.offsets[rows]
    within = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    values[mask] = tokens.values[np.repeat(starts, lengths) + within]
    return values, mask
