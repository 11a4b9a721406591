# SPDX-License-Identifier: BSD-3-Clause
"""Growing pauses between attempts, with jitter so that many processes do not come back in step."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from secrets import SystemRandom

__all__ = ["Backoff"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """Pauses that double up to a cap; each is drawn between half of that and the whole.

    Parameters
    ----------
    first_s, cap_s
        The first pause and the longest one.

    Examples
    --------
    >>> [0.5 * whole <= s <= whole for s, whole in zip(Backoff(first_s=1, cap_s=4).pauses(), (1, 2, 4, 4))]
    [True, True, True, True]
    """

    first_s: float = 0.2
    cap_s: float = 30.0

    def pauses(self) -> Iterator[float]:
        """Yield pauses without end, s."""
        random = SystemRandom()
        whole = self.first_s
        while True:
            yield random.uniform(whole / 2, whole)
            whole = min(2 * whole, self.cap_s)
