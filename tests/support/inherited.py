# SPDX-License-Identifier: BSD-3-Clause
"""What the processes of a test run inherit from it: their bytecode, and their share of the processor."""

from __future__ import annotations

import os
import sys

from tests.support.artefacts import cache_dir

__all__ = ["keep_bytecode", "one_thread_each"]


def keep_bytecode() -> None:
    """Let Python keep what it compiles, in the cache folder where none may lie beside the sources.

    The tests start some hundred processes. Under `PYTHONDONTWRITEBYTECODE` each of them compiles every module
    that it imports: three seconds instead of one for the service, and more where it imports torch.
    """
    if not sys.dont_write_bytecode:
        return
    folder = str(cache_dir() / "bytecode")
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    os.environ["PYTHONPYCACHEPREFIX"] = folder
    sys.pycache_prefix = folder
    sys.dont_write_bytecode = False


def one_thread_each() -> None:
    """Give every process that is started from here on one thread to compute with, unless it was told.

    Where there are as many processes as cores, further threads wait for each other.
    """
    os.environ.setdefault("OMP_NUM_THREADS", "1")
