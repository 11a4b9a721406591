# SPDX-License-Identifier: BSD-3-Clause
"""What a TOM's database holds, read without the TOM's own code."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

__all__ = ["state"]

Execute = Callable[[str], Sequence[Sequence[Any]]]

TARGETS = "SELECT id, name, ra, dec FROM tom_targets_basetarget"
ALIASES = "SELECT target_id, name FROM tom_targets_targetname ORDER BY name"
EXTRAS = "SELECT target_id, key, value FROM tom_targets_targetextra"
LISTS = """
SELECT l.basetarget_id, t.name FROM tom_targets_targetlist_targets l JOIN tom_targets_targetlist t
ON t.id = l.targetlist_id
"""
PHOTOMETRY = """
SELECT target_id, timestamp, bandpass, reduction_version, brightness, brightness_error, "limit", telescope,
unit, value FROM tom_dataproducts_photometryreduceddatum ORDER BY timestamp, bandpass, reduction_version
"""


def state(execute: Execute) -> dict[str, Any]:
    """Return all that is known of each target by its name, without the ids of rows."""
    found: dict[int, dict[str, Any]] = {}
    names = {}
    for key, name, ra, dec in execute(TARGETS):
        names[key] = name
        found[key] = {"place": [ra, dec], "aliases": [], "lists": [], "extras": {}, "photometry": []}
    for key, alias in execute(ALIASES):
        found[key]["aliases"].append(alias)
    for key, extra, value in execute(EXTRAS):
        found[key]["extras"][extra] = value
    for key, name in execute(LISTS):
        found[key]["lists"].append(name)
    for key, timestamp, *columns, value in execute(PHOTOMETRY):
        found[key]["photometry"].append([str(timestamp), *columns, json.loads(value)])
    return {names[key]: target for key, target in found.items()}
