# SPDX-License-Identifier: BSD-3-Clause
"""Starts a command that needs the `train` extra, or says that it is missing."""

from __future__ import annotations

import importlib
import sys

__all__ = ["start"]

EXIT_CONFIGURATION = 2

OURS = frozenset({"broker_plugin", "trainer", "export"})


def start(module: str, *, name: str) -> None:
    """Run the `main` of a module.

    Parameters
    ----------
    module
        Where it is; imported here, since the import is what fails without torch.
    name
        What the command is called in messages.
    """
    try:
        command = importlib.import_module(module)
    except ModuleNotFoundError as missing:
        library = (missing.name or "").partition(".")[0]
        if library in OURS:
            raise
        sys.stderr.write(
            f"{name} needs the extra `train`, for {library} is not installed; pip install '.[train]'\n"
        )
        sys.exit(EXIT_CONFIGURATION)
    command.main()
