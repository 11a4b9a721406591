# SPDX-License-Identifier: BSD-3-Clause
"""What a store is: values under keys, read and written a batch at a time.

A store knows nothing of astronomy. It holds bytes under text keys, some until a time, and replaces a value
only if it is still the one that the writer has read: so two processes that remember the same object at the
same time lose nothing, and a write that is repeated changes nothing. A batch costs one round trip to read and
one to write. What the values mean is in `history`, `context` and `recent`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Protocol

__all__ = ["TAG_BYTES", "Change", "CorruptValueError", "Store", "opened", "sealed", "tag_of"]

TAG_BYTES = 8
"""Length of the digest that a value begins with. It tells two values of one key apart, so a chance of 1 in
2^64 is enough; stored values of other lengths would be corrupt."""


class CorruptValueError(ValueError):
    """A value is not what was written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A value to be written.

    Parameters
    ----------
    value
        As `sealed` returns it.
    seen
        Tag of the value that this one replaces, empty where there was none.
    ttl_s
        How long to keep it, None for ever.
    """

    key: str
    value: bytes
    seen: bytes
    ttl_s: float | None


class Store(Protocol):
    """Values under keys. Used from one thread at a time."""

    def check(self) -> str:
        """Return what answers, for a person.

        Raises
        ------
        ConfigurationError
            If it can never work as it was set up.
        StoreError
            If it is away.
        """
        ...

    def fetch(self, keys: Sequence[str]) -> list[bytes | None]:
        """Return the value of each key, in one round trip; None where there is none.

        Raises
        ------
        StoreError
            If the store does not answer.
        """
        ...

    def swap(self, changes: Sequence[Change]) -> list[bool]:
        """Write each value whose key still holds what was seen, in one round trip; say which were written.

        Raises
        ------
        StoreError
            If the store does not answer; any of the changes may have been made.
        """
        ...

    def close(self) -> None:
        """Let go of files and connections."""
        ...


def sealed(payload: bytes) -> bytes:
    """Return a payload behind its digest, as stores keep it.

    Examples
    --------
    >>> opened(sealed(b"light"))
    b'light'
    """
    return blake2b(payload, digest_size=TAG_BYTES).digest() + payload


def opened(value: bytes) -> bytes:
    """Return the payload of a stored value.

    Raises
    ------
    CorruptValueError
        If it is not the one that was sealed.
    """
    payload = value[TAG_BYTES:]
    if sealed(payload) != value:
        raise CorruptValueError("a stored value does not match its digest")
    return payload


def tag_of(value: bytes | None) -> bytes:
    """Return what tells a stored value from others of its key, empty where there is none."""
    return b"" if value is None else value[:TAG_BYTES]
