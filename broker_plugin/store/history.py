# SPDX-License-Identifier: BSD-3-Clause
"""The measurements of one object that its alerts have brought, as a store keeps them.

A history is a set of rows. A row is known by exposure, detector, band and origin; where several alerts bring
the same one, the first withdrawn row wins. Else a detection, which was measured once, has the
values of the first alert that brought it, and forced photometry, which is measured anew for every alert and
changes with the position, those of the last (by the alerts' times, then their numbers). So histories can be
joined in any order, and any number of times, with the same result. The bounds keep the latest rows, which
does not depend on the order either.

Each row knows the first alert that brought it: a verdict leaves out what only later alerts knew, so that an
alert that comes a second time meets what it met the first time, but for what its own packet lacks and a later
alert has brought with other values: forced photometry that was measured anew, and rows that were withdrawn.

Rows are kept apart by who may see them: by the access class of the row and that of the alert that brought it.
A reader opens only what it has all rights to, so it sees what it would see if there were nothing else.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from broker_plugin.epochs import EpochRows
from broker_plugin.records import Access, Origin
from broker_plugin.store.base import CorruptValueError
from broker_plugin.taxonomy import PASSBANDS
from broker_plugin.times import possible_mjd

__all__ = [
    "IDENTITY",
    "NOTHING",
    "HistoryBounds",
    "Rows",
    "epoch_rows",
    "history_key",
    "joined",
    "known_to",
    "pack",
    "readable_keys",
    "rows_brought",
    "trimmed",
    "unpack",
    "within",
]

IDENTITY = ("exposure", "detector", "band", "origin")
"""What a row is known by."""

MEASURED = (
    "mjd_tai",
    "difference_njy",
    "difference_err_njy",
    "reference_njy",
    "reference_err_njy",
    "reference_arcsec",
    "total_njy",
    "total_err_njy",
)

ROW = np.dtype(
    [
        ("exposure", "<i8"),
        ("detector", "<i4"),
        ("band", "i1"),
        ("origin", "i1"),
        ("access", "i1"),
        ("withdrawn", "?"),
        ("mjd_tai", "<f8"),
        # Single precision is a thousand times finer than any error here.
        *((name, "<f4") for name in MEASURED[1:]),
        ("first_mjd_tai", "<f8"),
        ("first_id", "<i8"),
        ("alert_mjd_tai", "<f8"),
        ("alert_id", "<i8"),
    ]
)

Rows = NDArray[np.void]
"""Rows of type `ROW`, in order of their identity, each identity once."""

NOTHING: Rows = np.zeros(0, ROW)

FORMAT = b"\x01"
"""First byte of a packed history. Another one is not read: the object begins anew."""

ROWS_MAX = 100_000
"""More rows than any bound allows; a stored value that unpacks to more is not one of ours."""


SPARE_EPOCHS, SPARE_DAYS = 100, 30.0
"""What an object may bring while a batch is judged and delivered: a night of a deep field, a late packet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryBounds:
    """How much of an object is kept.

    Parameters
    ----------
    epochs_max
        Most rows. Rubin will visit most fields some 800 times in ten years, and its deep fields a thousand
        times in three months. A row costs some 30 bytes in the store, and time with every verdict.
    days
        Rows older than this, before the latest of the object, are dropped, and an object that brings nothing
        for this long is forgotten. Two years show an annual variation twice, and a period search costs time
        in proportion to the span.
    """

    epochs_max: int = 3_000
    days: float = 730.0

    @property
    def kept(self) -> HistoryBounds:
        """Bounds of what is stored, a little wider than of what is used.

        An alert that is delivered again is joined to the same rows as before, though meanwhile another one of
        its object was remembered, of the next batch for instance, before which older rows are dropped.
        """
        return HistoryBounds(epochs_max=self.epochs_max + SPARE_EPOCHS, days=self.days + SPARE_DAYS)


def rows_brought(rows: EpochRows, *, mjd_tai: float, alert_id: int) -> dict[int, Rows]:
    """Return what an alert adds to its object's history, by the rights that reading it takes.

    Parameters
    ----------
    rows
        The measurements of its packet, its own row among them.
    mjd_tai, alert_id
        Time and number of the alert.
    """
    own = rows.access[rows.trigger]
    via = int(own[0]) if len(own) else int(Access.PRIVATE)
    there = possible_mjd(rows.mjd_tai) & (rows.band >= 0) & (rows.mjd_tai <= mjd_tai)
    kept = rows.take(there)
    made = np.zeros(len(kept), ROW)
    for name in (*IDENTITY, "access", "withdrawn", *MEASURED):
        made[name] = getattr(kept, name)
    made["first_mjd_tai"] = made["alert_mjd_tai"] = mjd_tai
    made["first_id"] = made["alert_id"] = alert_id
    # Of two detections of the object in one exposure the one nearest to the alert is its own.
    nearest = np.lexsort((kept.identifier, kept.separation_arcsec, ~kept.trigger))
    rights = (1 << kept.access.astype(np.int64)) | (1 << via)
    return {
        int(mask): _first_of_each(made[nearest[rights[nearest] == mask]])
        for mask in sorted(set(rights.tolist()))
    }


def joined(parts: Iterable[Rows]) -> Rows:
    """Return the rows of several histories of one object, each once.

    Examples
    --------
    >>> len(joined([NOTHING, NOTHING]))
    0
    """
    given = [part for part in parts if len(part)]
    if len(given) < 2:
        return given[0] if given else NOTHING
    rows: Rows = np.concatenate(given)
    content = [rows[name] for name in ("access", *MEASURED)]
    sign = np.where((rows["origin"] == Origin.DETECTION) | rows["withdrawn"], -1, 1)
    stamp = (sign * rows["alert_id"], sign * rows["alert_mjd_tai"])
    order = np.lexsort((*content, *stamp, rows["withdrawn"], *_identity_columns(rows)))
    ordered: Rows = rows[order]
    starts = _starts(ordered)
    if len(starts) == len(rows):
        return ordered
    best: Rows = ordered[np.append(starts[1:], len(rows)) - 1].copy()
    by_first: Rows = rows[np.lexsort((rows["first_id"], rows["first_mjd_tai"], *_identity_columns(rows)))]
    for name in ("first_mjd_tai", "first_id"):
        best[name] = by_first[name][starts]
    return best


def trimmed(rows: Rows, bounds: HistoryBounds) -> Rows:
    """Return the latest rows, as many as the bounds allow."""
    if not len(rows):
        return rows
    return within(rows, bounds, mjd_tai=float(rows["mjd_tai"].max()))


def within(rows: Rows, bounds: HistoryBounds, *, mjd_tai: float, n_others: int = 0) -> Rows:
    """Return the rows that count at a time, as many as there is room for beside `n_others`: the latest."""
    recent: Rows = rows[rows["mjd_tai"] > mjd_tai - bounds.days]
    room = max(bounds.epochs_max - n_others, 0)
    if len(recent) <= room:
        return recent
    latest = np.lexsort((*_identity_columns(recent), recent["mjd_tai"]))[len(recent) - room :]
    kept: Rows = recent[np.sort(latest)]
    return kept


def known_to(rows: Rows, *, mjd_tai: float, alert_id: int) -> Rows:
    """Return the rows that the alerts up to one have brought, of epochs up to it, withdrawn if by then."""

    def up_to_it(mjds: NDArray[np.float64], ids: NDArray[np.int64]) -> NDArray[np.bool_]:
        return np.asarray((mjds < mjd_tai) | ((mjds == mjd_tai) & (ids <= alert_id)))

    known: Rows = rows[(rows["mjd_tai"] <= mjd_tai) & up_to_it(rows["first_mjd_tai"], rows["first_id"])]
    known["withdrawn"] &= up_to_it(known["alert_mjd_tai"], known["alert_id"])
    return known


def epoch_rows(rows: Rows) -> EpochRows:
    """Return stored rows as measurements of the survey, to be joined to those of a packet."""
    columns: dict[str, Any] = {name: rows[name].astype(np.float64) for name in MEASURED}
    columns |= {name: rows[name].copy() for name in (*IDENTITY, "access", "withdrawn")}
    return EpochRows(
        **columns,
        identifier=np.zeros(len(rows), np.int64),
        separation_arcsec=np.full(len(rows), np.nan),
        trigger=np.zeros(len(rows), np.bool_),
    )


def pack(rows: Rows) -> bytes:
    """Return a history as bytes: column by column, since equal columns shrink."""
    columns = b"".join(rows[name].tobytes() for name in ROW.names or ())
    return FORMAT + zlib.compress(columns, 1)


def unpack(payload: bytes) -> Rows:
    """Return the history in a payload of `pack`.

    Raises
    ------
    CorruptValueError
        If it is not one that this version can have written.
    """
    if payload[:1] != FORMAT:
        raise CorruptValueError("a stored history is of another format")
    unzip = zlib.decompressobj()
    try:
        columns = unzip.decompress(payload[1:], ROWS_MAX * ROW.itemsize)
    except zlib.error as error:
        raise CorruptValueError("a stored history cannot be unpacked") from error
    n, rest = divmod(len(columns), ROW.itemsize)
    if rest or unzip.unconsumed_tail or not unzip.eof:
        raise CorruptValueError("a stored history was cut")
    rows, begin = np.zeros(n, ROW), 0
    for name in ROW.names or ():
        kind = ROW[name]
        rows[name] = np.frombuffer(columns, kind, n, begin)
        begin += n * kind.itemsize
    if not _sound(rows):
        raise CorruptValueError("a stored history holds values that no alert can have brought")
    return rows


def history_key(object_id: str, rights: int) -> str:
    """Return the key of what is known of an object to those with all of some rights.

    Examples
    --------
    >>> history_key("ztf:ZTF18abcdefg", 1 << Access.PUBLIC)
    'h:2:ztf:ZTF18abcdefg'
    """
    return f"h:{rights}:{object_id}"


def readable_keys(object_id: str, access: frozenset[Access]) -> dict[int, str]:
    """Return the keys of all histories of an object that may be read, by the rights they take."""
    pairs = [*((each, each) for each in access), *combinations(access, 2)]
    return {
        rights: history_key(object_id, rights)
        for rights in sorted({(1 << one) | (1 << other) for one, other in pairs})
    }


def _identity_columns(rows: Rows) -> Sequence[NDArray[np.int64]]:
    return [rows[name] for name in reversed(IDENTITY)]


def _starts(rows: Rows) -> NDArray[np.intp]:
    """Return where each identity begins, in rows that are in its order."""
    changes = np.zeros(len(rows) - 1, np.bool_)
    for name in IDENTITY:
        changes |= np.diff(rows[name]) != 0
    return np.concatenate([[0], np.flatnonzero(changes) + 1])


def _first_of_each(rows: Rows) -> Rows:
    if not len(rows):
        return rows
    ordered: Rows = rows[np.lexsort(_identity_columns(rows))]  # stable: among equals the first stays first
    first: Rows = ordered[_starts(ordered)]
    return first


def _sound(rows: Rows) -> bool:
    return bool(
        possible_mjd(rows["mjd_tai"]).all()
        and possible_mjd(rows["first_mjd_tai"]).all()
        and possible_mjd(rows["alert_mjd_tai"]).all()
        and ((rows["band"] >= 0) & (rows["band"] < len(PASSBANDS))).all()
        and np.isin(rows["origin"], list(Origin)).all()
        and np.isin(rows["access"], list(Access)).all()
    )
