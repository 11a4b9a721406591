# SPDX-License-Identifier: BSD-3-Clause
"""The exporter, run as the program of its own that it is."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from broker_plugin.errors import ConfigurationError
from broker_plugin.streams.output_files import prepare_folder

__all__ = ["require_place", "run_export"]


def require_place(bundle: Path) -> None:
    """Make sure that a bundle can be put somewhere, not to find out after a training that it cannot.

    Raises
    ------
    ConfigurationError
        If a file is there, or the folder around it cannot be made or written to.
    """
    if bundle.is_file():
        raise ConfigurationError(f"{bundle} is a file; a bundle is a folder, name another one")
    prepare_folder(bundle.parent)


def run_export(*arguments: str) -> None:
    """Run `python -m export` with these arguments; it speaks for itself.

    Raises
    ------
    ConfigurationError
        If it fails.
    """
    command = [sys.executable, "-m", "export", *arguments]
    if subprocess.run(command, check=False).returncode != 0:  # noqa: S603 - our own module
        raise ConfigurationError("the export failed; the message above says why")
