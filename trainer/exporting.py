# SPDX-License-Identifier: BSD-3-Clause
"""The exporter, run as the program of its own that it is."""

from __future__ import annotations

import subprocess
import sys

from broker_plugin.errors import ConfigurationError

__all__ = ["run_export"]


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
