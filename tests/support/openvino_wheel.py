# SPDX-License-Identifier: BSD-3-Clause
"""An environment of its own with the real `onnxruntime-openvino` wheel; any x86-64 processor will do."""

from __future__ import annotations

from pathlib import Path

from tests.support.environments import core_requirements, interpreter_of

__all__ = ["openvino_interpreter"]

WHEEL = "onnxruntime-openvino>=1.22"
"""The runtime of the `openvino` extra."""


def openvino_interpreter() -> Path:
    """Return the Python of the environment, made on demand, again when the requirements changed."""
    return interpreter_of("openvino-venv", [*core_requirements(), WHEEL])
