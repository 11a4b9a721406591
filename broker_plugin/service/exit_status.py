# SPDX-License-Identifier: BSD-3-Clause
"""Errors to exit statuses, by what a supervisor should do about them."""

from __future__ import annotations

from broker_plugin.errors import (
    BatchAbandonedError,
    BrokerPluginError,
    ConfigurationError,
    MembershipLostError,
    TokenError,
    TransientError,
)

__all__ = ["EXIT_CONFIGURATION", "EXIT_FAILURE", "EXIT_TRANSIENT", "exit_status", "status_of_process"]

EXIT_CONFIGURATION = 2
"""The settings cannot work: a supervisor should not restart the process."""

EXIT_FAILURE = 1
"""It broke in a way that neither other settings nor time would mend; the message says where."""

EXIT_TRANSIENT = 75
"""Something outside is unavailable (EX_TEMPFAIL of sysexits.h): a supervisor may try again."""


def exit_status(error: BrokerPluginError) -> tuple[int, str]:
    """Return the exit status of an error, and the line for standard error.

    Examples
    --------
    >>> exit_status(TransientError("no broker answers"))
    (75, 'broker-plugin: no broker answers; try again later')
    >>> exit_status(TransientError("no broker answers", remedy="is it up?"))
    (75, 'broker-plugin: no broker answers; is it up?')
    """
    if isinstance(error, ConfigurationError):
        return EXIT_CONFIGURATION, f"broker-plugin: {error}"
    if isinstance(error, (TransientError, MembershipLostError, TokenError, BatchAbandonedError)):
        advice = "" if error.remedy else "; try again later"
        return EXIT_TRANSIENT, f"broker-plugin: {error}{advice}"
    return EXIT_FAILURE, f"broker-plugin: {error}"


def status_of_process(exitcode: int | None) -> int:
    """Return the exit status that a shell would tell of a process: 128 and the signal that ended it.

    Parameters
    ----------
    exitcode
        As `multiprocessing` says it: negative for a signal, None where there was no process.

    Examples
    --------
    >>> [status_of_process(exitcode) for exitcode in (None, 0, 75, -9)]
    [0, 0, 75, 137]
    """
    if exitcode is None:
        return 0
    return 128 - exitcode if exitcode < 0 else exitcode
