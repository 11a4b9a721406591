# SPDX-License-Identifier: BSD-3-Clause
"""Whether there are stars enough for what is done with them, told before the work and not after it."""

from __future__ import annotations

from broker_plugin.errors import ConfigurationError
from trainer.data.splits import Split
from trainer.preparation import Prepared

__all__ = ["require_classes"]


def require_classes(prepared: Prepared) -> None:
    """Make sure that there are classes to tell apart, and training stars of each.

    Raises
    ------
    ConfigurationError
        If there is one class only, or a class has no training star.
    """
    classes = prepared.run.classes
    if len(classes) == 1:
        raise ConfigurationError(
            f"all labelled stars are of class {classes[0]}", remedy="give stars of another class too"
        )
    there = set(prepared.stars.label[prepared.members(Split.TRAIN)].tolist())
    if lacking := [name for label, name in enumerate(classes) if label not in there]:
        names = ", ".join(lacking)
        raise ConfigurationError(
            f"no star of class {names} falls to training",
            remedy=f"give more of them, or name {names} in data.held_out_classes",
        )
