# SPDX-License-Identifier: BSD-3-Clause
"""What is dear to make, made once for all processes that share the tests of a run."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.artefacts import locked

__all__ = ["made_for_all"]


def made_for_all(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], None]) -> Path:
    """Return a folder that one process of this run filled with `make`; the others wait for it.

    What is in it is only to be read.
    """
    if "PYTEST_XDIST_WORKER" not in os.environ:
        folder = factory.mktemp(name)
        make(folder)
        return folder
    # pytest-xdist gives each process a folder of its own in that of the run.
    folder = factory.getbasetemp().parent / name
    with locked(folder.with_suffix(".lock")):
        if not folder.is_dir():
            unfinished = factory.mktemp(name)
            make(unfinished)
            unfinished.rename(folder)
    return folder
