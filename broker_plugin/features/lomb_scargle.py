# SPDX-License-Identifier: BSD-3-Clause
"""nifty-ls without its hook for astropy, whose import would make up a third of the time of every start."""

from __future__ import annotations

import sys

__all__ = ["lombscargle"]

ASTROPY_HOOK = "astropy.timeseries.periodograms.lombscargle.implementations.main"
"""The module that nifty-ls looks for, to register itself there."""

if ASTROPY_HOOK in sys.modules:
    from nifty_ls import lombscargle
else:
    sys.modules[ASTROPY_HOOK] = None  # type: ignore[assignment]  # Python's way to say that it cannot be had
    try:
        from nifty_ls import lombscargle
    finally:
        del sys.modules[ASTROPY_HOOK]
