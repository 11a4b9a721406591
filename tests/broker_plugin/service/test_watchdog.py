# SPDX-License-Identifier: BSD-3-Clause
"""A loop that stands still ends its process, whatever holds it up; one that lives is left alone."""

from __future__ import annotations

import subprocess
import sys

import pytest

ENDS_S = 60.0
"""Importing takes a second on a free core, and the watch as long again."""

STANDS_STILL = """
import ctypes, threading, time
from broker_plugin.service.watchdog import Watchdog

def stand_still():
    {what}

with Watchdog(stuck_s=0.5):
    stand_still()
"""

LIVES = """
import time
from broker_plugin.service.watchdog import Watchdog

with Watchdog(stuck_s=2.0) as watchdog:
    for _ in range(30):
        watchdog.beat()
        time.sleep(0.1)
time.sleep(2.5)
print("left alone")
"""


def ended(program: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=ENDS_S, check=False
    )


@pytest.mark.parametrize(
    "what",
    ["threading.Event().wait()", "ctypes.PyDLL(None).sleep(600)"],
    ids=["a lock", "compiled code that keeps the interpreter's lock"],
)
def test_a_loop_that_stands_still_ends_its_process_and_says_where(what: str) -> None:
    done = ended(STANDS_STILL.format(what=what))
    assert done.returncode == 1
    assert "in stand_still" in done.stderr


def test_a_loop_that_gives_signs_of_life_is_left_alone_and_so_is_what_comes_after_it() -> None:
    done = ended(LIVES)
    assert (done.returncode, done.stdout, done.stderr) == (0, "left alone\n", "")
