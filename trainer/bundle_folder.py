# SPDX-License-Identifier: BSD-3-Clause
"""The place of a bundle, which takes that of an older one and of nothing else."""

from __future__ import annotations

from pathlib import Path

from broker_plugin.bundle import MANIFEST
from broker_plugin.errors import ConfigurationError
from broker_plugin.streams.output_files import prepare_folder

__all__ = ["require_bundle_folder"]

SUFFIXES = frozenset({".json", ".md", ".npz", ".onnx"})
"""Of the files of a bundle. By them a damaged one is known too, whose manifest cannot be read."""


def require_bundle_folder(out: Path) -> None:
    """Make sure that a bundle can be put somewhere and that nothing is lost then; not only after the work.

    A link may stand there, to whatever: it is the link that is replaced.

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
    strange = [each.name for each in held if not each.is_file() or each.suffix not in SUFFIXES]
    if strange or not (out / MANIFEST).is_file():
        raise ConfigurationError(
            f"{out} is there already, and is no bundle that another may replace: "
            f"{_named(sorted(strange)) or 'it has no manifest'}",
            remedy="choose another folder for the bundle, such as one within the run",
        )


def _named(names: list[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return f"it holds {', '.join(names[:3])}{more}" if names else ""
