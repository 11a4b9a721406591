# SPDX-License-Identifier: BSD-3-Clause
"""Lengths that batches of light curves are padded to, in training, measuring and serving alike."""

from __future__ import annotations

__all__ = ["padded_lengths"]

LONE = 1
"""Two thirds of the real ZTF alerts and three quarters of Rubin's are one token for the encoder of light
curves: too few epochs for a period. Padded to four, they would cost four times as much."""

SHORTEST = 4
"""Half of all ZTF alerts have at most this many epochs; lengths between would save next to nothing."""


def padded_lengths(longest: int) -> tuple[int, ...]:
    """Return 1 and lengths that double from one to the next, the last of which holds `longest` tokens.

    Examples
    --------
    >>> padded_lengths(1), padded_lengths(30)
    ((1,), (1, 4, 8, 16, 32))
    """
    if longest <= LONE:
        return (LONE,)
    lengths = [LONE, SHORTEST]
    while lengths[-1] < longest:
        lengths.append(2 * lengths[-1])
    return tuple(lengths)
