# SPDX-License-Identifier: BSD-3-Clause
"""Memory that was freed is there for the next batch, without the system's help."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

BATCHES = 200

FAULTS = f"""
import resource
import sys

import numpy as np

from broker_plugin.allocator import keep_freed_memory


def batch():
    arrays = [np.ones(1_000_000) for _ in range(4)]
    del arrays


if sys.argv[1] == "keep":
    assert keep_freed_memory()
batch()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range({BATCHES}):
    batch()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def _faults_a_batch(how: str) -> float:
    run = subprocess.run([sys.executable, "-c", FAULTS, how], capture_output=True, text=True, check=True)
    return int(run.stdout) / BATCHES


@pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc", reason="the allocator is not that of the GNU C library"
)
def test_the_next_batch_finds_the_pages_of_the_last() -> None:
    assert _faults_a_batch("keep") < 10 < _faults_a_batch("leave")
