# SPDX-License-Identifier: BSD-3-Clause
"""The command line: names the subcommands and sorts errors into exit codes.

A subcommand is imported only when it is called, so that `--help` is quick and an optional dependency is asked
for only by the command that needs it.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from cyclopts import App

from broker_plugin import __version__
from broker_plugin.errors import ConfigurationError, TransientError

__all__ = ["app", "main"]

EXIT_CONFIGURATION = 2
"""The settings cannot work: a supervisor should not restart the process."""

EXIT_TRANSIENT = 75
"""Something outside is unavailable (EX_TEMPFAIL of sysexits.h): a supervisor may try again."""

app = App(
    name="broker-plugin",
    version=__version__,
    help="Say of every alert of ZTF and Rubin LSST what kind of object it is and how strange it is.",
)
for _command in ("demo", "run", "replay", "subscribe", "inspect", "doctor"):
    app.command(f"broker_plugin.commands.{_command}:{_command}", name=_command)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit."""
    try:
        status = app(arguments, result_action="return_value")
    except ConfigurationError as error:
        sys.stderr.write(f"broker-plugin: {error}\n")
        sys.exit(EXIT_CONFIGURATION)
    except TransientError as error:
        sys.stderr.write(f"broker-plugin: {error}; try again later\n")
        sys.exit(EXIT_TRANSIENT)
    sys.exit(status or 0)
