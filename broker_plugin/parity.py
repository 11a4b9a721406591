# SPDX-License-Identifier: BSD-3-Clause
"""How far a bundle's graphs may be from what they were made from.

The exporter measures it and writes it into the manifest; a repository takes a bundle in only within these
limits.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

__all__ = ["COSINE_MIN", "FOREST_MAX", "PROBABILITY_MAX", "SHAPES_MAX", "SURPRISE_MAX", "parity_defects"]

COSINE_MIN = 0.9999
"""Least cosine of an embedding with torch's, in fp32."""

PROBABILITY_MAX = 1e-4
"""Largest difference of a probability from torch's."""

SHAPES_MAX = 1e-5
"""Largest difference of a coordinate of an embedding at another length: sums of float32 in another order."""

SURPRISE_MAX = 1e-3
"""Largest difference of a coordinate of surprise from torch's, in units of a natural logarithm."""

FOREST_MAX = 1e-6
"""Largest difference of an anomaly score from scikit-learn's: ten times the rounding to float32."""

PROBABILITY = "probability_difference_max"


def parity_defects(parity: Mapping[str, float], modalities: tuple[str, ...] = ()) -> Iterator[str]:
    """Yield what is missing or too large among a manifest's parity results.

    Parameters
    ----------
    parity
        Results by name.
    modalities
        The bundle's: each must have been compared.

    Examples
    --------
    >>> list(parity_defects({"probability_difference_max": 1e-7}))
    []
    >>> list(parity_defects({"probability_difference_max": 0.5}))
    ['probability_difference_max is 0.5, which is above 0.0001']
    """
    for name in (PROBABILITY, *(f"{modality}_cosine_min" for modality in modalities)):
        if name not in parity:
            yield f"there is no {name}"
    for name, value in parity.items():
        if name.endswith("_cosine_min"):
            if not value >= COSINE_MIN:
                yield f"{name} is {value:g}, which is below {COSINE_MIN:g}"
        else:
            limit = _largest(name)
            if limit is not None and not value <= limit:
                yield f"{name} is {value:g}, which is above {limit:g}"


def _largest(name: str) -> float | None:
    if name.startswith("forest_"):
        return FOREST_MAX
    if name.endswith("_shapes_difference_max"):
        return SHAPES_MAX
    return {PROBABILITY: PROBABILITY_MAX, "surprise_difference_max": SURPRISE_MAX}.get(name)
