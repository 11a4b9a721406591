# SPDX-License-Identifier: BSD-3-Clause
"""Lengths that batches of light curves are padded to, in training, measuring and serving alike."""

from __future__ import annotations

from bisect import bisect_left

__all__ = ["padded_lengths"]

LONE = 1
"""Two thirds of the real ZTF alerts and three quarters of Rubin's are one token for the encoder of light
curves: too few epochs for a period. Padded to four, they would cost four times as much."""

SHORT = (LONE, 4, 7, 8)
"""Nearly all others are seven tokens for it, a summary and six candidate periods, and eight where a catalogue
gives the period. Of alerts that have a token an epoch, half of ZTF's have at most four."""


def padded_lengths(longest: int) -> tuple[int, ...]:
    """Return the short lengths and those that double from one to the next, the last holds `longest` tokens.

    Examples
    --------
    >>> padded_lengths(1), padded_lengths(7), padded_lengths(30)
    ((1,), (1, 4, 7), (1, 4, 7, 8, 16, 32))
    """
    lengths = list(SHORT)
    while lengths[-1] < longest:
        lengths.append(2 * lengths[-1])
    return tuple(lengths[: bisect_left(lengths, longest) + 1])
