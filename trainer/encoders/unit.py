# SPDX-License-Identifier: BSD-3-Clause
"""Vectors of length one."""

from __future__ import annotations

import torch

__all__ = ["unit"]

NORM_FLOOR = 1e-6
"""Shortest vector that is brought to length one; the zero vector of a missing modality stays zero."""


def unit(vectors: torch.Tensor) -> torch.Tensor:
    """Return vectors of length one along the last axis.

    Examples
    --------
    >>> unit(torch.tensor([[3.0, 4.0], [0.0, 0.0]]))
    tensor([[0.6000, 0.8000],
            [0.0000, 0.0000]])
    """
    square = (vectors * vectors).sum(dim=-1, keepdim=True)
    return vectors / square.clamp(min=NORM_FLOOR**2).sqrt()
