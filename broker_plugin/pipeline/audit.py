# SPDX-License-Identifier: BSD-3-Clause
"""What became of a night: every message of the input against the verdicts, the dead letters and the ledger.

Two independent witnesses are heard. The outputs themselves say in their headers which message each came
from; the ledger says what the service believes to have done. A message that either of them does not know is
missing.
"""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np

from broker_plugin.pipeline.ledger import Stretch
from broker_plugin.pipeline.ledger_reader import covered
from broker_plugin.pipeline.offset_ranges import OffsetRanges
from broker_plugin.streams.base import Message
from broker_plugin.streams.ownership import Place

__all__ = ["Existing", "Origin", "Outputs", "PartitionAudit", "Window", "audit_partition"]

Window = tuple[int, int]
"""First offset of a night in a partition, and the one behind its last."""

Existing = Callable[[OffsetRanges], OffsetRanges]
"""Returns those offsets of an input partition that hold a message: Kafka's own markers take offsets too."""

ID_BYTES = 8
"""Of ten million verdicts two have the same 64 bits once in 400,000 nights."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where an output came from.

    Parameters
    ----------
    place, offset
        The message.
    identity
        What tells it from other outputs of that message.
    bundle, inputs
        Digests of what judged and of what was judged; empty in a dead letter.
    """

    place: Place
    offset: int
    identity: bytes
    bundle: bytes = b""
    inputs: bytes = b""


class Outputs:
    """What the outputs of one kind say: which messages they came from, and how often.

    Parameters
    ----------
    windows
        The night, by topic and partition; what came from other messages is passed over.

    Examples
    --------
    >>> place = ("t", 0)
    >>> outputs = Outputs({place: (10, 20)})
    >>> for offset, identity in ((12, b"a"), (12, b"a"), (3, b"b")):
    ...     outputs.note(Origin(place=place, offset=offset, identity=identity))
    >>> outputs.offsets(place), outputs.number(place), outputs.repeated(place), outputs.differing(place)
    (12, 2, 1, 0)
    """

    def __init__(self, windows: Mapping[Place, Window]) -> None:
        self._windows = windows
        sizes = {place: end - begin for place, (begin, end) in windows.items()}
        self._bundles: dict[bytes, int] = {}
        self._bundle_of = {place: np.zeros(size, np.uint16) for place, size in sizes.items()}
        self._by_several = {place: np.zeros(size, np.bool_) for place, size in sizes.items()}
        self._identities = {place: array("Q") for place in windows}
        self._contents = {place: array("Q") for place in windows}

    def note(self, origin: Origin) -> None:
        """Note one output."""
        place, offset = origin.place, origin.offset
        begin, end = self._windows.get(place, (0, 0))
        if not begin <= offset < end:
            return
        bundle = self._bundles.setdefault(origin.bundle, len(self._bundles) + 1)
        before = self._bundle_of[place][offset - begin]
        self._bundle_of[place][offset - begin] = bundle
        self._by_several[place][offset - begin] |= before not in (0, bundle)
        self._identities[place].append(_hash(offset, origin.identity))
        self._contents[place].append(_hash(offset, origin.identity + origin.inputs))

    def offsets(self, place: Place) -> OffsetRanges:
        """Return the messages that outputs came from."""
        edges = np.flatnonzero(np.diff(self._bundle_of[place] > 0, prepend=False, append=False))
        begin = self._windows[place][0]
        return OffsetRanges.of(
            (begin + int(first), begin + int(behind) - 1)
            for first, behind in zip(edges[::2], edges[1::2], strict=True)
        )

    def number(self, place: Place) -> int:
        """Return how many outputs there are."""
        return len(self._identities[place])

    def repeated(self, place: Place) -> int:
        """Return how many of them were there before."""
        return self.number(place) - _distinct(self._identities[place])

    def differing(self, place: Place) -> int:
        """Return how many messages more than one bundle has judged, and how many outputs have other inputs.

        The latter have the identity of an output that is there too.
        """
        of_other_inputs = _distinct(self._contents[place]) - _distinct(self._identities[place])
        return int(self._by_several[place].sum()) + of_other_inputs


def _hash(offset: int, identity: bytes) -> int:
    digest = hashlib.blake2b(b"%d/%b" % (offset, identity), digest_size=ID_BYTES).digest()
    return int.from_bytes(digest, "little")


def _distinct(hashes: array[int]) -> int:
    return len(np.unique(np.frombuffer(hashes, np.uint64))) if hashes else 0


def verdict_origin(message: Message) -> Origin | None:
    """Return where a verdict came from; None for what is no verdict of ours."""
    said = dict(message.headers)
    try:
        return Origin(
            place=(said["source_topic"].decode(), int(said["source_partition"])),
            offset=int(said["source_offset"]),
            identity=said["verdict_id"],
            bundle=said.get("bundle_digest", b""),
            inputs=said.get("inputs_digest", b""),
        )
    except (KeyError, ValueError):
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class PartitionAudit:
    """One partition in one night.

    Parameters
    ----------
    first_offset, last_offset
        Of the night's messages as the input topic has them.
    messages
        How many those are.
    verdicts, dead_letters
        Outputs that came from them.
    duplicates
        Outputs that are there more than once.
    differing
        Messages that more than one bundle has judged, and duplicates that were judged from other inputs.
    missing
        Messages with no verdict and no dead letter; None if the outputs of the night are no longer there.
    recorded
        Messages that the ledger knows; None without a ledger.
    redone
        Messages that the ledger knows more than once.
    unrecorded
        Messages that the ledger does not know.
    """

    topic: str
    partition: int
    first_offset: int
    last_offset: int
    messages: int
    verdicts: int
    dead_letters: int
    duplicates: int
    differing: int
    missing: OffsetRanges | None
    recorded: int | None = None
    redone: int = 0
    unrecorded: OffsetRanges = field(default_factory=OffsetRanges)

    @property
    def complete(self) -> bool:
        """Tell whether nothing is missing, as far as anything can be said."""
        heard = self.missing is not None or self.recorded is not None
        return heard and not self.unaccounted

    @property
    def unaccounted(self) -> OffsetRanges:
        """The messages that either witness lacks."""
        return (self.missing or OffsetRanges()) | self.unrecorded


def audit_partition(
    place: Place,
    window: Window,
    *,
    verdicts: Outputs | None,
    dead_letters: Outputs | None,
    stretches: Iterable[Stretch] | None,
    existing: Existing,
) -> PartitionAudit:
    """Return what became of one partition.

    Parameters
    ----------
    place, window
        The partition, and the offsets of the night in it.
    verdicts, dead_letters
        What the outputs say; None if those of the night are no longer there.
    stretches
        What the ledger says of this partition, of any night; None without a ledger.
    existing
        Is asked about offsets that a witness does not know.
    """
    asked = OffsetRanges.of([(window[0], window[1] - 1)])
    lacking = unknown = OffsetRanges()
    heard = verdicts is not None and dead_letters is not None
    if verdicts is not None and dead_letters is not None:
        lacking = asked - (verdicts.offsets(place) | dead_letters.offsets(place))
    entries = None if stretches is None else list(stretches)
    known = asked & covered(entries or ())
    if entries is not None:
        unknown = asked - known
    doubtful = lacking | unknown
    real = existing(doubtful) if doubtful else doubtful
    return PartitionAudit(
        topic=place[0],
        partition=place[1],
        first_offset=window[0],
        last_offset=window[1] - 1,
        messages=len(asked) - len(doubtful - real),
        verdicts=verdicts.number(place) if verdicts else 0,
        dead_letters=dead_letters.number(place) if dead_letters else 0,
        duplicates=sum(each.repeated(place) for each in (verdicts, dead_letters) if each),
        differing=verdicts.differing(place) if verdicts else 0,
        missing=lacking & real if heard else None,
        recorded=None if entries is None else len(known),
        redone=_redone(entries or (), asked),
        unrecorded=unknown & real,
    )


def _redone(stretches: Iterable[Stretch], asked: OffsetRanges) -> int:
    each = [asked & covered([stretch]) for stretch in stretches]
    union = OffsetRanges()
    for one in each:
        union |= one
    return sum(map(len, each)) - len(union)
