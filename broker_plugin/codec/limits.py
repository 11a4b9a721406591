# SPDX-License-Identifier: BSD-3-Clause
"""How much one message may be: what keeps a hostile or broken one from costing the process its memory."""

from __future__ import annotations

import io
from dataclasses import dataclass

__all__ = ["DEFAULT_LIMITS", "TOO_MANY_ALERTS", "Limits", "MeteredBytes", "TooManyValuesError"]

VALUES_FREE = 50_000
"""Values that any message may hold, however few bytes it came in: some 20 ms of decoding."""

VALUES_PER_BYTE = 16
"""Values that a compressed message may hold for each of its bytes, as it came. A thousand empty lists take
one byte, so without this a batch of a few hundred kilobytes could take minutes to decode. Surveys' packets
have up to 3, and uncompressed ones fewer than one."""

TOO_MANY_ALERTS = "there are more alerts than the limit; raise limits.message_alerts"
"""What is said of a message that holds more than it may."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Limits on one message; what is beyond one is rejected as `too_large`.

    Parameters
    ----------
    message_bytes
        Most bytes, as the message came and after decompression. Six times the largest file of several alerts
        in our sample; Rubin's longest packets have 0.5 MB.
    message_values
        Most values that an Avro decoder reads, the branch of a union among them. A value can take 200 bytes
        in memory, so this bounds decoding at 200 MB. Rubin's longest packets have 250,000.
    message_alerts
        Most alerts in one message. Surveys send one; the verdicts of all are in memory together.
    epochs
        Most rows in the histories of one alert. Rubin's deepest fields are visited some 5,000 times in the
        year that its packets go back.
    """

    message_bytes: int = 10_000_000
    message_values: int = 1_000_000
    message_alerts: int = 100
    epochs: int = 20_000

    def values_of(self, n_bytes: int) -> int:
        """Return how many values a message of so many bytes, as it came, may hold.

        Examples
        --------
        >>> DEFAULT_LIMITS.values_of(1_000), DEFAULT_LIMITS.values_of(1_000_000)
        (66000, 1000000)
        """
        return min(self.message_values, VALUES_FREE + VALUES_PER_BYTE * n_bytes)


DEFAULT_LIMITS = Limits()
"""The limits where nothing else is set."""


class TooManyValuesError(Exception):
    """More values were read than are allowed."""


class MeteredBytes(io.BytesIO):
    """Bytes that give out a limited number of values; an Avro decoder reads each one by itself.

    Twice as slow as plain bytes, so it is used only where there are more bytes than values allowed.

    Parameters
    ----------
    content
        The bytes.
    left
        How many values may be read.

    Examples
    --------
    >>> source = MeteredBytes(b"abc", left=2)
    >>> source.read(1), source.read(1), source.left
    (b'a', b'b', 0)
    >>> source.read(1)
    Traceback (most recent call last):
    broker_plugin.codec.limits.TooManyValuesError
    """

    def __init__(self, content: bytes, *, left: int) -> None:
        super().__init__(content)
        self.left = left

    def read(self, size: int | None = -1, /) -> bytes:
        """Read like a file."""
        if self.left <= 0:
            raise TooManyValuesError
        self.left -= 1
        return super().read(size)
