# SPDX-License-Identifier: BSD-3-Clause
"""Examples here take as long as the machine lets them: a deadline would test its other users."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")
