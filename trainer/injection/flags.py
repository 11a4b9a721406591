# SPDX-License-Identifier: BSD-3-Clause
"""Whether instrumental jumps are flagged as what they are, and events are not.

A verdict gives the probabilities of oddities; it flags a light curve as a fault of the instrument where that
is the likeliest of them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainer.injection.intervals import share_of
from trainer.injection.priors import ARTEFACTS, DISCOVERIES

__all__ = ["GLITCH", "flags_of"]

GLITCH = "glitch"
"""The oddity of a bundle that means a fault of the instrument."""


def flags_of(
    kind: NDArray[np.str_], oddity: NDArray[np.str_], strange: NDArray[np.bool_]
) -> dict[str, Any] | None:
    """Return the shares that are flagged as a glitch, and that rank as discoveries without being flagged.

    None for a bundle that knows no oddities. Kinds that no star got are null.

    Parameters
    ----------
    kind
        What was injected, `ordinary` for nothing, shape (N,).
    oddity
        The likeliest oddity, empty where the bundle knows none.
    strange
        Whether the anomaly score is above the threshold of discoveries.

    Examples
    --------
    >>> kind, oddity = np.array(["outlier", "outlier"]), np.array(["glitch", "event"])
    >>> found = flags_of(kind, oddity, np.array([True, True]))
    >>> found["glitch"]["outlier"]["share"], found["strange_and_no_glitch"]["outlier"]["share"]
    (0.5, 0.5)
    """
    if (oddity == "").any():
        return None
    glitch = oddity == GLITCH
    kinds = ("ordinary", *DISCOVERIES, *ARTEFACTS)
    return {
        "glitch": {each: share_of(glitch[kind == each]) for each in kinds},
        "strange_and_no_glitch": {each: share_of((strange & ~glitch)[kind == each]) for each in kinds},
    }
