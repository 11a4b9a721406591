# SPDX-License-Identifier: BSD-3-Clause
"""The place of a bundle, which takes that of an older one and of nothing else."""

from __future__ import annotations

import json
from pathlib import Path

from broker_plugin.bundle import MANIFEST
from broker_plugin.errors import ConfigurationError
from broker_plugin.streams.output_files import prepare_folder

__all__ = ["require_bundle_folder"]


def require_bundle_folder(out: Path) -> None:
    """Make sure that a bundle can be put somewhere and that nothing is lost then; not only after the work.

    A folder is a bundle where a manifest names all that is in it; files that are missing or damaged do not
    matter. A link may stand there, to whatever: it is the link that is replaced.

    Raises
    ------
    ConfigurationError
        If something is there that is no bundle, such as a training run or a file, or the folder around it
        cannot be made or written to.
    """
    prepare_folder(out.parent)
    if out.is_symlink() or not out.exists():
        return
    held = [*out.iterdir()] if out.is_dir() else [out]
    if not held and out.is_dir():
        return
    own = _files_of(out / MANIFEST)
    strange = [each.name for each in held if each.name not in own or not each.is_file()]
    if strange:
        raise ConfigurationError(
            f"{out} is there already, and is no bundle that another may replace: it holds "
            f"{_named(sorted(strange))}, which no manifest of a bundle names",
            remedy="choose another folder for the bundle, or move what is in this one",
        )


def _files_of(manifest: Path) -> frozenset[str]:
    """Return the names of a bundle's files, the manifest among them; none if it is not one of a bundle."""
    try:
        said = json.loads(manifest.read_bytes())
    except (OSError, ValueError):
        return frozenset()
    if not isinstance(said, dict) or not {"format_version", "feature_spec_version"} <= said.keys():
        return frozenset()
    files = said.get("files")
    return frozenset([*files, MANIFEST]) if isinstance(files, dict) else frozenset()


def _named(names: list[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return f"{', '.join(names[:3])}{more}"
