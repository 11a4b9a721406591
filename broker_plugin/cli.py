# SPDX-License-Identifier: BSD-3-Clause
"""The command line: names the subcommands and sorts errors into exit codes.

A subcommand is imported only when it is called, so that `--help` is quick and an optional dependency is asked
for only by the command that needs it.
"""

from __future__ import annotations

import errno
import sys
from collections.abc import Sequence
from contextlib import suppress

from cyclopts import App

from broker_plugin import __version__
from broker_plugin.commands.output import discard_output, replace_closed_error
from broker_plugin.errors import BrokerPluginError
from broker_plugin.expendable import leave, leaving_on_surprise
from broker_plugin.service.exit_status import EXIT_CONFIGURATION, exit_status
from broker_plugin.signals import InterruptedBySignal, interrupt_on_signal

__all__ = ["main", "make_app"]

EXIT_UNREAD = 1
"""Status where standard output was closed before all was written: nobody saw what the command found."""

COMMANDS = {
    "demo": "Play a night of alerts through an embedded Kafka and write a report; no server needed.",
    "run": "Read alerts from Kafka and write verdicts to Kafka until stopped.",
    "replay": "Score alert packets from files and write their verdicts to a file.",
    "subscribe": "Follow the verdicts on an output topic.",
    "audit": "Compare a night's input with its verdicts and dead letters; name what is missing.",
    "topics": "Print the commands that make the topics which run writes, or make them.",
    "feed": "Send alerts, or a simulated night, to an input topic of your own, to try the service.",
    "inspect": "Show what is in an alert packet or a bundle.",
    "bundles": "Keep the models in service: named versions, promotion, rollback.",
    "similar": "Show which strange alerts of the last hours are like one of them.",
    "context": "Keep what catalogues and spectra say of objects, for the alerts to come.",
    "dlq": "Look at dead letters, and replay them.",
    "bench": "Measure how fast alerts become verdicts on this machine, against a plain pipeline.",
    "doctor": "Check this machine and the servers, and say what is wrong and what to do.",
}
"""The subcommands, as the overview has them; a function's docstring is its full help."""


def make_app(chosen: str = "") -> App:
    """Return the command line.

    Parameters
    ----------
    chosen
        The subcommand that will be called: its help is its docstring, the others' a line without importing.
    """
    app = App(
        name="broker-plugin",
        version=__version__,
        help="Say of every alert of ZTF and Rubin LSST what kind of object it is and how strange it is.",
    )
    for name, summary in COMMANDS.items():
        app.command(
            f"broker_plugin.commands.{name}:{name}", name=name, help=None if name == chosen else summary
        )
    return app


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit."""
    replace_closed_error()
    with leaving_on_surprise():
        status = _status(sys.argv[1:] if arguments is None else list(arguments))
    leave(status)


def _status(given: list[str]) -> int:
    """Run a subcommand, say what went wrong, and return the exit status."""
    app = make_app(given[0] if given else "")
    try:
        with interrupt_on_signal():  # commands that can end in order take signals themselves
            return app(given, result_action="return_value") or 0
    except BrokerPluginError as error:
        status, line = exit_status(error)
        sys.stderr.write(f"{line}\n")
        return status
    except BrokenPipeError:
        if not discard_output():
            raise
        return EXIT_UNREAD
    except OSError as error:
        if error.errno != errno.ENOSPC or error.filename is not None:
            raise
        with suppress(OSError):  # else Python tries once more at its end
            sys.stdout.close()
        sys.stderr.write("broker-plugin: there is no room left where the output goes\n")
        return EXIT_CONFIGURATION
    except InterruptedBySignal as signal:
        sys.stderr.write(f"broker-plugin: stopped by {signal}\n")
        signal.end_process()
