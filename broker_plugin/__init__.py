# SPDX-License-Identifier: BSD-3-Clause
"""Classify astronomical alerts and say how strange they are, as they stream by."""

from __future__ import annotations

__all__ = ["__version__"]

__version__ = "0.1.0"
