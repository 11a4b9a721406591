# SPDX-License-Identifier: BSD-3-Clause
"""An environment of its own with the real `onnxruntime-gpu` wheel, for a machine without a GPU.

The wheel and the CPU wheel install the same module, so they cannot share an environment. The CUDA
libraries (another 2 GB) are left out: without a GPU the wheel answers the same with and without them.
It lists the CUDA provider as available, and a session that asks for it comes up on the CPU with
nothing but lines on standard error.
"""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

from tests.support.environments import core_requirements, in_environment, interpreter_of

__all__ = ["gpu_wheel_interpreter", "in_gpu_wheel"]

WHEEL = "onnxruntime-gpu>=1.22"
"""The runtime of the `gpu` extra, without its CUDA libraries."""


def gpu_wheel_interpreter() -> Path:
    """Return the Python of the environment, made on demand, again when the requirements changed."""
    return interpreter_of("gpu-venv", [*core_requirements(), WHEEL])


def in_gpu_wheel(
    interpreter: Path, arguments: Sequence[str], *, timeout_s: float = 120.0
) -> subprocess.CompletedProcess[str]:
    """Run the environment's Python, with this checkout's packages importable, whatever it returns."""
    # So that a machine with a GPU behaves as one without.
    return in_environment(
        interpreter, arguments, timeout_s=timeout_s, variables={"CUDA_VISIBLE_DEVICES": "-1"}
    )
