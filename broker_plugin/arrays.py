# SPDX-License-Identifier: BSD-3-Clause
"""Arrays in the form that kernels take them in."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

__all__ = ["plain"]


def plain(values: NDArray[Any], dtype: DTypeLike | None = None) -> NDArray[Any]:
    """Return values as an array that kernels take: a view of others, or one for reading alone, is copied.

    Kernels are compiled for each kind of array anew, which takes seconds.

    Parameters
    ----------
    dtype
        Of the array, where values may come in another.
    """
    return np.require(values, dtype, ["C", "W"])
