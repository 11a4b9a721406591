# SPDX-License-Identifier: BSD-3-Clause
"""Standard output and error: tables for a terminal or a pipe, and what to do when nobody reads them."""

from __future__ import annotations

import os
import select
import sys

from rich.console import Console
from rich.table import Table

__all__ = ["discard_output", "print_table", "replace_closed_error"]

STANDARD_ERROR = 2
"""Its number, which libraries write to."""

WIDTH = 200
"""Of a table that is written to a file or a pipe."""


def print_table(table: Table) -> None:
    """Print a table as wide as the terminal, or `WIDTH` where there is none.

    Raises
    ------
    BrokenPipeError
        If nobody reads on.
    """
    # Rendered first and written by us: the library would end the process when a pipe is closed.
    console = Console()
    if not console.is_terminal:
        console.width = WIDTH
    with console.capture() as captured:
        console.print(table)
    sys.stdout.write(captured.get())


def discard_output() -> bool:
    """Write nothing any more if the reader of standard output has gone, as `head` does when it has enough.

    Returns
    -------
    bool
        Whether it has.
    """
    try:
        output = sys.stdout.fileno()
    except OSError:  # no file at all
        return False
    watch = select.poll()
    watch.register(output, 0)  # what is wrong is told unasked
    if not watch.poll(0):
        return False
    # What is still buffered must not fail again when the process ends.
    os.dup2(os.open(os.devnull, os.O_WRONLY), output)
    return True


def replace_closed_error() -> None:
    """Let what is said on standard error go nowhere where the caller has closed it (`2>&-`).

    Else the next file that is opened would be standard error to libraries, which write into it.
    """
    # Python's word for a stream that was closed before it began, of which the types do not know.
    if getattr(sys, "stderr", None) is None:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        if nowhere != STANDARD_ERROR:
            os.dup2(nowhere, STANDARD_ERROR)
            os.close(nowhere)
        os.set_inheritable(STANDARD_ERROR, True)  # for workers
        sys.stderr = os.fdopen(STANDARD_ERROR, "w")
