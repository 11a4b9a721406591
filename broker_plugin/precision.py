# SPDX-License-Identifier: BSD-3-Clause
"""Number formats of graphs and of arithmetic."""

from __future__ import annotations

from enum import StrEnum

__all__ = ["Precision"]


class Precision(StrEnum):
    """A number format, from fine to coarse."""

    FP32 = "fp32"
    FP16 = "fp16"
    BF16 = "bf16"
    INT8 = "int8"

    def lowered_to(self, other: Precision) -> Precision:
        """Return the coarser of two: what numbers of one format are worth in arithmetic of the other.

        Examples
        --------
        >>> str(Precision.FP32.lowered_to(Precision.BF16)), str(Precision.BF16.lowered_to(Precision.FP32))
        ('bf16', 'bf16')
        """
        return max(self, other, key=list(Precision).index)
