# SPDX-License-Identifier: BSD-3-Clause
"""The strangest alerts of the last hours with their embeddings, to ask whether there was another like this.

Time is cut into slots. Of each slot the strangest alerts are kept, so many and no more, whatever the stream
brings; a slot ends by itself. Slots of different bundles are apart, since their embeddings are not
comparable, and so are those made of what different readers may see.

What a survey withdraws is noted in slots of its own, whatever bundle judged it, since the slot that holds the
alert may have ended: whoever reads the alerts leaves out what is noted.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from broker_plugin.records import Access
from broker_plugin.store.base import CorruptValueError, opened, sealed

__all__ = [
    "PER_SLOT",
    "SLOT_S",
    "WITHDRAWN_PER_SLOT",
    "Recent",
    "merged_recents",
    "merged_withdrawn",
    "nearest",
    "recents_in",
    "slot_keys",
    "withdrawn_in",
    "withdrawn_keys",
]

SLOT_S = 600.0
"""Length of a slot. Twelve hours are 72 of them, read in one go."""

PER_SLOT = 100
"""Alerts that are kept of a slot: 100 kB for 512 numbers each. A night has 7,000, of which nobody looks at
more; the current slot is read and written with every batch that has a strange alert."""

WITHDRAWN_PER_SLOT = 10_000
"""Withdrawn alerts that are noted of a slot, 300 kB: as many as an exposure has. Of more, some are found as
if they stood."""

HEADER_BYTES = 4

FIELDS = ("alert_key", "object_id", "mjd_tai", "p_value", "top_class", "source_context")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Recent:
    """One alert as it was judged; `embedding` is of unit length, float16, shape (D,)."""

    alert_key: str
    object_id: str
    mjd_tai: float
    p_value: float
    top_class: str | None
    source_context: str
    embedding: NDArray[np.float16]


def slot_keys(bundle_digest: str, access: frozenset[Access], *, now: float, hours: float = 0.0) -> list[str]:
    """Return the keys of the slots of the last hours, the current one first; `now` is in Unix time, s.

    Examples
    --------
    >>> slot_keys("ab12", frozenset({Access.PUBLIC}), now=1200.0)
    ['e:2:ab12:2']
    """
    return [f"e:{_rights(access)}:{bundle_digest[:16]}:{slot}" for slot in _slots(now, hours)]


def withdrawn_keys(access: frozenset[Access], *, now: float, hours: float = 0.0) -> list[str]:
    """Return the keys under which is noted what was withdrawn in the last hours, the current one first.

    Examples
    --------
    >>> withdrawn_keys(frozenset({Access.PUBLIC}), now=1200.0)
    ['w:2:2']
    """
    return [f"w:{_rights(access)}:{slot}" for slot in _slots(now, hours)]


def merged_recents(value: bytes | None, new: Iterable[Recent]) -> bytes:
    """Return a slot with new alerts in it, of which it keeps the strangest."""
    try:
        known = {each.alert_key: each for each in recents_in(value)}
    except CorruptValueError:
        known = {}
    known |= {each.alert_key: each for each in new}
    kept = sorted(known.values(), key=lambda each: (each.p_value, each.alert_key))[:PER_SLOT]
    header = json.dumps([[getattr(each, name) for name in FIELDS] for each in kept]).encode()
    vectors = b"".join(each.embedding.astype("<f2").tobytes() for each in kept)
    return sealed(len(header).to_bytes(HEADER_BYTES, "little") + header + vectors)


def recents_in(value: bytes | None) -> list[Recent]:
    """Return the alerts of a slot, the strangest first.

    Raises
    ------
    CorruptValueError
        If it is not what was written.
    """
    if value is None:
        return []
    payload = opened(value)
    end = HEADER_BYTES + int.from_bytes(payload[:HEADER_BYTES], "little")
    try:
        rows = json.loads(payload[HEADER_BYTES:end])
        vectors = np.frombuffer(payload, "<f2", offset=end)
        vectors = vectors.reshape(len(rows), len(vectors) // max(len(rows), 1))
        return [
            Recent(**dict(zip(FIELDS, row, strict=True)), embedding=vector)
            for row, vector in zip(rows, vectors, strict=True)
        ]
    except (ValueError, TypeError) as error:
        raise CorruptValueError("a stored slot cannot be read") from error


def merged_withdrawn(value: bytes | None, new: Iterable[str]) -> bytes:
    """Return a slot of withdrawn alerts with more of them, by their keys."""
    try:
        known = withdrawn_in(value)
    except CorruptValueError:
        known = frozenset()
    return sealed(json.dumps(sorted(known.union(new))[:WITHDRAWN_PER_SLOT]).encode())


def withdrawn_in(value: bytes | None) -> frozenset[str]:
    """Return the keys of the alerts in a slot of withdrawn ones.

    Raises
    ------
    CorruptValueError
        If it is not what was written.
    """
    if value is None:
        return frozenset()
    try:
        return frozenset(json.loads(opened(value)))
    except (ValueError, TypeError) as error:
        raise CorruptValueError("a stored slot cannot be read") from error


def nearest(of: Recent, among: Sequence[Recent], *, n: int) -> list[tuple[float, Recent]]:
    """Return the alerts of other objects that are most like one, with the cosine, the likest first.

    Of each object the likest alert is taken.
    """
    others = [each for each in among if each.object_id != of.object_id]
    if not others:
        return []
    vectors = np.stack([each.embedding for each in others]).astype(np.float32)
    cosine = vectors @ of.embedding.astype(np.float32)
    best: dict[str, tuple[float, Recent]] = {}
    for position in np.argsort(-cosine, kind="stable").tolist():
        best.setdefault(others[position].object_id, (float(cosine[position]), others[position]))
        if len(best) == n:
            break
    return list(best.values())


def _rights(access: frozenset[Access]) -> int:
    return sum(1 << each for each in access)


def _slots(now: float, hours: float) -> range:
    last, n = int(now // SLOT_S), int(hours * 3600 // SLOT_S) + 1
    return range(last, last - n, -1)
