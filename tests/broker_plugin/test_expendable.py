# SPDX-License-Identifier: BSD-3-Clause
"""A process ends with its status, also where a thread of it is in the midst of what nobody needs any more."""

from __future__ import annotations

import subprocess
import sys

import pytest

CODE = """
import sys, threading, time
from broker_plugin.expendable import ExpendableThread, are_at_work, leave, leaving_on_surprise

class Busy(ExpendableThread):
    def run(self):
        self.at_work = {at_work}
        begun.set()
        time.sleep(60.0)

begun = threading.Event()
Busy("busy").start()
begun.wait()
print(are_at_work())
import atexit
atexit.register(print, "taken down")
{end}
"""

SURPRISE = """
with leaving_on_surprise():
    raise ZeroDivisionError("of a worker")
"""


@pytest.mark.parametrize("at_work", [True, False])
def test_the_interpreter_is_not_taken_down_around_a_thread_at_work(at_work: bool) -> None:
    command = [sys.executable, "-c", CODE.format(at_work=at_work, end="leave(75)")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30.0)
    assert (done.returncode, done.stderr) == (75, "")
    assert done.stdout.split("\n")[0] == str(at_work)
    assert ("taken down" in done.stdout) is not at_work


@pytest.mark.parametrize("at_work", [True, False])
def test_an_error_that_nobody_expects_is_shown_and_ends_the_process_alike(at_work: bool) -> None:
    command = [sys.executable, "-c", CODE.format(at_work=at_work, end=SURPRISE)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30.0)
    assert done.returncode == 1
    assert done.stderr.startswith("Traceback")
    assert done.stderr.endswith("ZeroDivisionError: of a worker\n")
    assert ("taken down" in done.stdout) is not at_work
