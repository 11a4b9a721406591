# SPDX-License-Identifier: BSD-3-Clause
"""Encoded packets under identities of their own, so that each counts as another alert of another object.

To decode a deep history and to encode it anew takes tens of milliseconds, so the bytes are exchanged instead.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from broker_plugin.codec.record_writer import long_bytes

__all__ = ["identities", "named_anew"]

NUMBERS = ("diaSourceId", "diaObjectId", "candid")
"""What tells alerts and objects apart, in either survey."""

NAME = "objectId"
"""ZTF's objects have names."""

PARTS = ("diaSource", "diaObject", "candidate")
"""Records in a packet that say it again."""

COPY_STEP = 1 << 40
"""What sets a copy's numbers apart: no two packets of a night are so far from each other, and 2**63 is."""

BYTES_MIN = 7
"""A survey's numbers take as many bytes; fewer might stand for something else in a packet, by chance."""


def identities(packet: Mapping[str, Any]) -> frozenset[int | str]:
    """Return the numbers and names of a decoded packet that are its own.

    Examples
    --------
    >>> packet = {"objectId": "ZTF18abc", "candid": 1 << 60, "candidate": {"candid": 1 << 60}, "ra": 1 << 60}
    >>> identities(packet) == {"ZTF18abc", 1 << 60}
    True
    """
    records = [packet, *(packet[part] for part in PARTS if isinstance(packet.get(part), Mapping))]
    numbers = {record[name] for record in records for name in NUMBERS if record.get(name)}
    return frozenset(numbers | ({packet[NAME]} if NAME in packet else set()))


def named_anew(datum: bytes, own: Collection[int | str], copy: int) -> bytes:
    """Return an encoded packet whose identities are a copy's own, wherever they stand; copy 0 is the packet.

    Numbers that are too small to be a survey's stay as they are.

    Examples
    --------
    >>> datum = long_bytes(1 << 60) + long_bytes(3) + b"abc"
    >>> named_anew(datum, {1 << 60, "abc"}, 2) == long_bytes((1 << 60) + (2 << 40)) + long_bytes(5) + b"abc.2"
    True
    """
    if copy == 0:
        return datum
    for each in own:
        if isinstance(each, str):
            datum = datum.replace(_text(each), _text(f"{each}.{copy}"))
        elif len(old := long_bytes(each)) >= BYTES_MIN:
            datum = datum.replace(old, long_bytes(each + copy * COPY_STEP))
    return datum


def _text(text: str) -> bytes:
    encoded = text.encode()
    return long_bytes(len(encoded)) + encoded
