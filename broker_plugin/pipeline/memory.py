# SPDX-License-Identifier: BSD-3-Clause
"""Puts the memory of a stream together from plain settings."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass, field

from broker_plugin.pipeline.context import RADIUS_ARCSEC, Contexts
from broker_plugin.pipeline.history import Histories
from broker_plugin.pipeline.recents import Recents
from broker_plugin.pipeline.recollection import Recollection
from broker_plugin.records import Access
from broker_plugin.store.address import NO_STORE, StoreAddress
from broker_plugin.store.guard import GuardedStore
from broker_plugin.store.history import HistoryBounds
from broker_plugin.surveys.registry import adapters

__all__ = ["MemoryRecipe"]


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryRecipe:
    """All that a memory is made of, in values that can be handed to another process.

    Parameters
    ----------
    address
        Where it is kept.
    bounds
        How much is kept of an object.
    context_radius_arcsec
        Largest distance of a catalogue row from the alert that it is taken for.
    similar_hours
        How long the embeddings of the strangest alerts are kept, 0 for not at all.
    """

    address: StoreAddress
    bounds: HistoryBounds = field(default_factory=HistoryBounds)
    context_radius_arcsec: float = RADIUS_ARCSEC
    similar_hours: float = 0.0

    @classmethod
    def of(
        cls,
        store: str,
        *,
        timeout_s: float = 0.5,
        max_bytes: int = 10_000_000_000,
        bounds: HistoryBounds | None = None,
        context_radius_arcsec: float = RADIUS_ARCSEC,
        similar_hours: float = 0.0,
    ) -> MemoryRecipe | None:
        """Return the recipe for a setting, None for `none`.

        Raises
        ------
        ConfigurationError
            If the setting names no store that we know.

        Examples
        --------
        >>> MemoryRecipe.of("none") is None
        True
        """
        if store == NO_STORE:
            return None
        return cls(
            address=StoreAddress(text=store, timeout_s=timeout_s, max_bytes=max_bytes),
            bounds=HistoryBounds() if bounds is None else bounds,
            context_radius_arcsec=context_radius_arcsec,
            similar_hours=similar_hours,
        )

    def check(self) -> str:
        """Return what the store answers.

        Raises
        ------
        ConfigurationError
            If it can never work.
        StoreError
            If it is away.
        """
        with closing(self.address.open()) as store:
            return store.check()

    def open(self, surveys: Iterable[str], access: frozenset[Access]) -> Recollection:
        """Return the memory; the store is opened by the first batch."""
        store = GuardedStore(self.address.open, timeout_s=self.address.timeout_s)
        return Recollection(
            store,
            Histories(adapters(surveys), access=access, bounds=self.bounds),
            Contexts(access=access, radius_arcsec=self.context_radius_arcsec),
            Recents(access=access, hours=self.similar_hours),
        )
