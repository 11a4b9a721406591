# SPDX-License-Identifier: BSD-3-Clause
"""From the parts of all sources to objects: matched source by source, duplicates merged, splits dealt."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix  # type: ignore[import-untyped]
from scipy.sparse.csgraph import connected_components  # type: ignore[import-untyped]

from trainer.crossmatch.matching import Places, match_places, moved, pairs_within
from trainer.crossmatch.parts import PartIndex
from trainer.crossmatch.settings import BuildSettings, Source, canonical_label
from trainer.data.splits import deal_groups, sky_groups

__all__ = ["Assembly", "Thing", "assemble"]

GROUPING_EPOCH_JYEAR = 2000.0
"""Epoch at which objects are grouped on the sky, those with a known proper motion brought there."""


@dataclass(slots=True)
class Thing:
    """An object in the making: its parts, and the first known value of each of its properties."""

    object_id: str
    parts: list[tuple[int, int]] = field(default_factory=list)
    ra_deg: float = np.nan
    dec_deg: float = np.nan
    epoch_jyear: float = np.nan
    pm_ra_cosdec_mas_yr: float = np.nan
    pm_dec_mas_yr: float = np.nan
    period_day: float = np.nan
    labels: list[tuple[str, str | None]] = field(default_factory=list)
    n_epochs: int = -1
    snr: float = np.nan

    @property
    def placed(self) -> bool:
        """Return whether the position is known."""
        return bool(np.isfinite(self.ra_deg))

    @property
    def label(self) -> str | None:
        """Return the class on which all sources that name a known one agree."""
        known = {name for _, name in self.labels if name is not None}
        return known.pop() if len(known) == 1 else None

    @property
    def labels_conflict(self) -> bool:
        """Return whether two sources name two classes."""
        return len({name for _, name in self.labels if name is not None}) > 1

    @property
    def published_label(self) -> str | None:
        """Return the published spellings; several are joined by a bar."""
        return " | ".join(dict.fromkeys(spelling for spelling, _ in self.labels)) or None

    @property
    def has_light_curve(self) -> bool:
        """Return whether some part has a light curve."""
        return self.n_epochs >= 0

    @property
    def has_spectrum(self) -> bool:
        """Return whether some part has a spectrum."""
        return bool(np.isfinite(self.snr))

    def absorb(self, other: Thing) -> None:
        """Take the parts of another object, and those of its properties that are not known here."""
        self.parts += other.parts
        for name in ("period_day", "pm_ra_cosdec_mas_yr", "pm_dec_mas_yr"):
            if np.isnan(getattr(self, name)):
                setattr(self, name, getattr(other, name))
        if not self.placed:
            self.ra_deg, self.dec_deg, self.epoch_jyear = other.ra_deg, other.dec_deg, other.epoch_jyear
        self.labels += other.labels
        self.n_epochs = max(self.n_epochs, other.n_epochs)
        self.snr = float(np.fmax(self.snr, other.snr))


@dataclass(frozen=True, slots=True, kw_only=True)
class Assembly:
    """The objects with their split codes and sky groups, and the counts of every step."""

    things: tuple[Thing, ...]
    split: NDArray[np.int8]
    group: NDArray[np.int64]
    funnel: dict[str, int]
    matching: dict[str, dict[str, int]]


def assemble(settings: BuildSettings, indices: Sequence[PartIndex]) -> Assembly:
    """Join the parts of all sources into objects."""
    things: list[Thing] = []
    known: dict[tuple[str, str], int] = {}
    matching: dict[str, dict[str, int]] = {}
    for number, (source, index) in enumerate(zip(settings.sources, indices, strict=True)):
        matching[source.name] = dict(_join(things, known, source, index, number=number))
    funnel: Counter[str] = Counter({"objects after matching": len(things)})
    things = _merge(things, settings, funnel)
    if not settings.keep_without_measurements:
        measured = [thing for thing in things if thing.has_light_curve or thing.has_spectrum]
        funnel["objects with neither light curve nor spectrum, left out"] = len(things) - len(measured)
        things = measured
    funnel["objects whose sources name two classes, left unlabelled"] = sum(
        thing.labels_conflict for thing in things
    )
    funnel["objects without a position"] = sum(not thing.placed for thing in things)
    group = _groups(things, settings.group_radius_arcsec)
    funnel["objects that share a sky group with another"] = int((np.bincount(group)[group] > 1).sum())
    funnel["objects kept"] = len(things)
    # Objects are dealt out by class and by what was measured of them: every split gets its share of both.
    strata = np.array(
        [f"{thing.label}/{thing.has_light_curve:d}{thing.has_spectrum:d}" for thing in things], np.str_
    )
    return Assembly(
        things=tuple(things),
        split=deal_groups(group, strata, settings.split_fractions, seed=settings.seed),
        group=group,
        funnel=dict(funnel),
        matching=matching,
    )


def _join(
    things: list[Thing],
    known: dict[tuple[str, str], int],
    source: Source,
    index: PartIndex,
    *,
    number: int,
) -> Counter[str]:
    """Join one source's parts to the objects so far; what matches none becomes an object or is left out."""
    funnel: Counter[str] = Counter({"rows": len(index)})
    by_place, leaders = _by_place(things, source, index, funnel) if source.match == "position" else ({}, {})
    made: dict[int, int] = {}
    for row, key in enumerate(index.key):
        part = _thing_of(source, index, row, number=number)
        at = known.get((source.space, key))
        if source.match == "position":
            at = by_place.get(row, made.get(leaders.get(row, row)))
        if at is not None:
            things[at].absorb(part)
            funnel["matched"] += 1
        elif source.keep_unmatched:
            at = made[row] = len(things)
            things.append(part)
            funnel["new objects"] += 1
        else:
            funnel["unmatched, left out"] += 1
            continue
        known.setdefault((source.space, key), at)
    return funnel


def _by_place(
    things: Sequence[Thing], source: Source, index: PartIndex, funnel: Counter[str]
) -> tuple[dict[int, int], dict[int, int]]:
    """Return the object of each matched row, and of the other spectra of one new star the first row."""
    placed = np.array([at for at, thing in enumerate(things) if thing.placed], np.intp)
    rows = np.flatnonzero(np.isfinite(index.ra_deg))
    funnel["without a position"] = len(index) - len(rows)
    places = Places(
        ra_deg=index.ra_deg[rows],
        dec_deg=index.dec_deg[rows],
        epoch_jyear=index.epoch_jyear[rows],
        pm_ra_cosdec_mas_yr=index.pm_ra_cosdec_mas_yr[rows],
        pm_dec_mas_yr=index.pm_dec_mas_yr[rows],
    )
    matches = match_places(_places([things[at] for at in placed]), places, radius_arcsec=source.radius_arcsec)
    funnel["with several objects within the radius; the nearest was taken"] = int(
        (matches.candidates > 1).sum()
    )
    claims: defaultdict[int, list[int]] = defaultdict(list)
    for row in np.flatnonzero(matches.object_of >= 0):
        claims[int(matches.object_of[row])].append(int(row))
    found: dict[int, int] = {}
    spectra = source.layout in {"lamost_fits", "spectrum_files"}
    for at, claimants in claims.items():
        # An object is observed several times, but it is listed in a catalogue once.
        taken = claimants if spectra else [min(claimants, key=lambda row: matches.separation_arcsec[row])]
        funnel["that lost their object to a nearer row of the source"] += len(claimants) - len(taken)
        found |= {int(rows[row]): int(placed[at]) for row in taken}
    return found, _leaders(source, places, rows, matches.object_of < 0) if spectra else {}


def _leaders(
    source: Source, places: Places, rows: NDArray[np.intp], unmatched: NDArray[np.bool_]
) -> dict[int, int]:
    """Return of each unmatched spectrum the first within the radius of it, by steps: they are of one star."""
    chosen = np.flatnonzero(unmatched)
    one, other = pairs_within(places.take(chosen), source.radius_arcsec)
    component = _components(len(chosen), one, other)
    first: dict[int, int] = {}
    return {
        int(row): first.setdefault(int(n), int(row)) for row, n in zip(rows[chosen], component, strict=True)
    }


def _thing_of(source: Source, index: PartIndex, row: int, *, number: int) -> Thing:
    published = index.published_label[row]
    return Thing(
        object_id=f"{source.space}:{index.key[row]}",
        parts=[(number, row)],
        ra_deg=float(index.ra_deg[row]),
        dec_deg=float(index.dec_deg[row]),
        epoch_jyear=float(index.epoch_jyear[row]),
        pm_ra_cosdec_mas_yr=float(index.pm_ra_cosdec_mas_yr[row]),
        pm_dec_mas_yr=float(index.pm_dec_mas_yr[row]),
        period_day=float(index.period_day[row]),
        labels=[] if published is None else [(published, canonical_label(published, source.classes))],
        n_epochs=int(index.n_epochs[row]),
        snr=float(index.snr[row]),
    )


def _merge(things: list[Thing], settings: BuildSettings, funnel: Counter[str]) -> list[Thing]:
    placed = np.array([at for at, thing in enumerate(things) if thing.placed], np.intp)
    places = _at_grouping_epoch([things[at] for at in placed])
    one, other = pairs_within(places, settings.merge_radius_arcsec)
    period = np.array([things[at].period_day for at in placed])
    funnel["pairs of objects within the merging radius"] = len(one)
    agree = np.abs(period[one] / period[other] - 1) <= settings.merge_period_tolerance  # False where NaN
    funnel["pairs within it whose periods differ or are unknown, kept apart in one split"] = int(
        (~agree).sum()
    )
    component = _components(len(placed), one[agree], other[agree])
    first: dict[int, int] = {}
    gone: set[int] = set()
    for at, number in zip(placed, component, strict=True):
        kept = first.setdefault(int(number), int(at))
        if kept != at:
            things[kept].absorb(things[at])
            gone.add(int(at))
    funnel["objects merged into another"] = len(gone)
    return [thing for at, thing in enumerate(things) if at not in gone]


def _groups(things: Sequence[Thing], radius_arcsec: float) -> NDArray[np.int64]:
    """Return the sky group of each object; one without a position is alone in its own."""
    group = np.arange(len(things), dtype=np.int64)
    placed = np.array([at for at, thing in enumerate(things) if thing.placed], np.intp)
    if len(placed):
        places = _at_grouping_epoch([things[at] for at in placed])
        of_placed = sky_groups(places.ra_deg, places.dec_deg, radius_arcsec=radius_arcsec)
        _, first = np.unique(of_placed, return_index=True)
        group[placed] = placed[first][of_placed]
    return np.unique(group, return_inverse=True)[1].astype(np.int64)


def _components(n: int, one: NDArray[np.intp], other: NDArray[np.intp]) -> NDArray[np.int64]:
    links = coo_matrix((np.ones(len(one)), (one, other)), shape=(n, n))
    return np.asarray(connected_components(links, directed=False)[1], np.int64)


def _at_grouping_epoch(things: Sequence[Thing]) -> Places:
    places = _places(things)
    return moved(places, np.full(len(places), GROUPING_EPOCH_JYEAR))


def _places(things: Sequence[Thing]) -> Places:
    return Places(
        ra_deg=np.array([thing.ra_deg for thing in things], np.float64),
        dec_deg=np.array([thing.dec_deg for thing in things], np.float64),
        epoch_jyear=np.array([thing.epoch_jyear for thing in things], np.float64),
        pm_ra_cosdec_mas_yr=np.array([thing.pm_ra_cosdec_mas_yr for thing in things], np.float64),
        pm_dec_mas_yr=np.array([thing.pm_dec_mas_yr for thing in things], np.float64),
    )
