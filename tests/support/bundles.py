# SPDX-License-Identifier: BSD-3-Clause
"""Bundles of a test's own: copies of the default one that answer otherwise, or are spoilt."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from broker_plugin.bundle import MANIFEST, installed_bundles

__all__ = ["edit_manifest", "make_bundle", "replace_file"]


def make_bundle(folder: Path, *, temperature: float | None = None, **changes: Any) -> Path:
    """Copy the default bundle, with another manifest and so another digest.

    Parameters
    ----------
    folder
        Where.
    temperature
        Of every stratum: its probabilities are other ones.
    changes
        Of the manifest.
    """
    shutil.copytree(installed_bundles()["default"], folder)

    def edit(manifest: dict[str, Any]) -> None:
        manifest.update(changes)
        if temperature is not None:
            for stratum in manifest["strata"]:
                stratum["temperature"] = temperature

    edit_manifest(folder, edit)
    return folder


def edit_manifest(bundle: Path, edit: Callable[[dict[str, Any]], None]) -> None:
    """Change a manifest in place."""
    path = bundle / MANIFEST
    manifest = json.loads(path.read_text())
    edit(manifest)
    path.write_text(json.dumps(manifest))


def replace_file(bundle: Path, name: str, content: bytes) -> None:
    """Replace a file of a bundle, with its digest: only running it shows what is wrong."""
    (bundle / name).write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()
    edit_manifest(bundle, lambda manifest: manifest["files"].update({name: digest}))
