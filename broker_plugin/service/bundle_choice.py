# SPDX-License-Identifier: BSD-3-Clause
"""What `--bundle` means for a command that has no settings of its own."""

from __future__ import annotations

from pathlib import Path

from broker_plugin.repository.layout import locate_bundle
from broker_plugin.service.settings_sources import load_settings

__all__ = ["chosen_bundle"]


def chosen_bundle(wanted: str, bundles: Path | None) -> str:
    """Return the directory or installed name of a bundle.

    Parameters
    ----------
    wanted
        NAME, NAME@VERSION or a directory.
    bundles
        The repository; by default that of ASTROM3_BUNDLES, if it is set.

    Raises
    ------
    BundleError
        If there is no such bundle.
    """
    return str(locate_bundle(wanted, bundles or load_settings().bundles))
