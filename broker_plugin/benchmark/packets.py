# SPDX-License-Identifier: BSD-3-Clause
"""Packets of an archive, and as many messages of them as are wanted: some of many, or copies of few."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import cycle
from typing import Any

import numpy as np

from broker_plugin.benchmark.corpus import Corpus
from broker_plugin.benchmark.identities import identities, named_anew
from broker_plugin.benchmark.messages import Form, history_rows

__all__ = ["ArchivedPacket", "Images", "corpus_of", "images_of", "lend_images", "packet_of", "spaced"]

CUTOUTS = ("cutoutScience", "cutoutTemplate", "cutoutDifference")
"""Names of the images of a packet, the same in both surveys."""

SEED = 1

Images = Mapping[str, Any]
"""By name, as a decoded packet has them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchivedPacket:
    """A packet of an archive.

    Parameters
    ----------
    datum
        Its record, encoded.
    form
        Makes a message of it.
    own
        Its identities.
    rows
        Rows in its histories.
    schema
        Name of its schema, for a reader of the results.
    images
        Whether all of its images are there.
    sent
        The message as it was sent, if that is known.
    """

    datum: bytes
    form: Form
    own: frozenset[int | str]
    rows: int
    schema: str
    images: bool
    sent: bytes | None = None

    def messages(self, copies: int) -> Iterator[bytes]:
        """Yield the packet's message, and copies of it under identities of their own, so many in all."""
        yield self.form.message(self.datum) if self.sent is None else self.sent
        for copy in range(1, copies):
            yield self.form.message(named_anew(self.datum, self.own, copy))


def packet_of(
    datum: bytes, packet: Mapping[str, Any], form: Form, histories: Sequence[str], schema: str
) -> ArchivedPacket:
    """Return a packet that is there as a record and decoded."""
    return ArchivedPacket(
        datum=datum,
        form=form,
        own=identities(packet),
        rows=history_rows(packet, histories),
        schema=schema,
        images=images_of(packet) is not None,
    )


def images_of(packet: Mapping[str, Any]) -> Images | None:
    """Return the images of a decoded packet; None if one is missing.

    Examples
    --------
    >>> images_of({"cutoutScience": b"fits", "cutoutTemplate": None, "cutoutDifference": b"fits"}) is None
    True
    """
    found = {name: packet.get(name) for name in CUTOUTS}
    return None if None in found.values() else found


def lend_images(packets: Sequence[ArchivedPacket], images: Sequence[Images]) -> list[ArchivedPacket]:
    """Return packets with images: an archive drops them, so its packets get those of others, in turn.

    What was sent stays as it was.
    """
    lent = cycle(images)
    kept = (packet.images or packet.sent is not None or not images for packet in packets)
    return [packet if keep else _with(packet, next(lent)) for packet, keep in zip(packets, kept, strict=True)]


def spaced(packets: Sequence[ArchivedPacket], most: int) -> Sequence[ArchivedPacket]:
    """Return no more than so many packets, evenly spaced."""
    if len(packets) <= most:
        return packets
    return [packets[place] for place in np.linspace(0, len(packets) - 1, most).astype(int).tolist()]


def corpus_of(name: str, packets: Sequence[ArchivedPacket], messages: int, about: str) -> Corpus:
    """Return so many messages of packets, in an order in which any part is like the whole.

    Parameters
    ----------
    packets
        As many as there are messages, or fewer, of which copies make them up.
    about
        What the packets are.
    """
    copies = np.diff(np.linspace(0, messages, len(packets) + 1).round().astype(int)).tolist()
    made = [
        (value, packet)
        for packet, each in zip(packets, copies, strict=True)
        for value in packet.messages(each)
    ]
    order = np.random.default_rng(SEED).permutation(len(made)).tolist()
    values, sources = zip(*(made[place] for place in order), strict=True)
    copied = f"; copies under ids of their own make up {messages} messages" if len(packets) < messages else ""
    return Corpus(
        name=name,
        values=values,
        rows=np.array([packet.rows for packet in sources]),
        with_images=sum(packet.images for packet in sources),
        about=about + copied,
    )


def _with(packet: ArchivedPacket, images: Images) -> ArchivedPacket:
    bare = packet.form.read(packet.datum)
    if not images.keys() <= bare.keys():
        return packet  # its schema has no place for them
    return replace(packet, datum=packet.form.encoded({**bare, **images}), images=True)
