# SPDX-License-Identifier: BSD-3-Clause
"""Instrumental jumps are counted by whether a verdict flags them."""

from __future__ import annotations

import numpy as np

from broker_plugin.bundle import open_bundle
from trainer.injection.flags import GLITCH, flags_of

KIND = np.array(["ordinary", "ordinary", "outlier", "outlier", "outlier", "flare"])


def test_a_jump_is_flagged_where_a_glitch_is_likeliest_and_passes_where_it_is_not() -> None:
    oddity = np.array(["ordinary", "glitch", "glitch", "event", "ordinary", "event"])
    strange = np.array([False, False, True, True, False, True])
    found = flags_of(KIND, oddity, strange)
    assert found is not None
    flagged, passing = found["glitch"], found["strange_and_no_glitch"]
    assert [flagged[each]["share"] for each in ("ordinary", "outlier", "flare")] == [1 / 2, 1 / 3, 0]
    assert [passing[each]["share"] for each in ("ordinary", "outlier", "flare")] == [0, 1 / 3, 1]
    assert flagged["saturation"] is passing["saturation"] is None
    low, high = flagged["outlier"]["interval"]
    assert low < 1 / 3 < high


def test_a_bundle_without_oddities_flags_nothing() -> None:
    assert flags_of(KIND, np.full(len(KIND), ""), np.ones(len(KIND), bool)) is None


def test_the_default_bundle_knows_the_flag() -> None:
    assert GLITCH in open_bundle("default").manifest.head.oddities
