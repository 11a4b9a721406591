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
        Where it is. Imported here, since importing it or one of its subcommands is what fails without torch.
    name
        What the command is called in messages.
    """
    try:
        importlib.import_module(module).main()
    except ImportError as error:
        # The command line wraps what a subcommand lacks.
        missing = error if isinstance(error, ModuleNotFoundError) else error.__cause__
        library = (getattr(missing, "name", None) or "").partition(".")[0]
        if not isinstance(missing, ModuleNotFoundError) or library in OURS:
            raise
        sys.stderr.write(
            f"{name} needs the extra `train`, for {library} is not installed; pip install '.[train]'\n"
        )
        sys.exit(EXIT_CONFIGURATION)
