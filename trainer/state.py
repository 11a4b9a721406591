# SPDX-License-Identifier: BSD-3-Clause
"""The state of a run in one file, replaced at once: weights, the optimiser's moments, and counters."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from broker_plugin.errors import ConfigurationError

__all__ = ["load_state", "save_state"]

CONTENT = "content"


def save_state(
    path: Path, model: nn.Module, optimiser: torch.optim.Optimizer, content: Mapping[str, Any]
) -> None:
    """Write the state; a file that is there is whole, whenever the process was killed."""
    tensors = {f"model/{name}": tensor.contiguous() for name, tensor in model.state_dict().items()}
    state = optimiser.state_dict()
    for number, moments in state["state"].items():
        tensors |= {f"optimiser/{number}/{name}": tensor for name, tensor in moments.items()}
    written = {**content, "groups": state["param_groups"]}
    unfinished = path.with_suffix(".part")
    save_file(tensors, unfinished, metadata={CONTENT: json.dumps(written)})
    unfinished.replace(path)


def load_state(path: Path, model: nn.Module, optimiser: torch.optim.Optimizer) -> dict[str, Any] | None:
    """Load the state into a model and its optimiser and return what was counted; None if there is none.

    Raises
    ------
    ConfigurationError
        If the file is damaged or of another model.
    """
    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            content: dict[str, Any] = json.loads(file.metadata()[CONTENT])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
        weights = {
            name.removeprefix("model/"): tensor
            for name, tensor in tensors.items()
            if name.startswith("model/")
        }
        model.load_state_dict(weights, strict=True)
    except (SafetensorError, KeyError, RuntimeError) as error:
        raise ConfigurationError(
            f"{path} is damaged or of another model ({error}); remove it to start again"
        ) from error
    moments: dict[int, dict[str, torch.Tensor]] = {}
    for name, tensor in tensors.items():
        if name.startswith("optimiser/"):
            _, number, moment = name.split("/")
            moments.setdefault(int(number), {})[moment] = tensor
    optimiser.load_state_dict({"state": moments, "param_groups": content.pop("groups")})
    return content
