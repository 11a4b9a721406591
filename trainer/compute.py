# SPDX-License-Identifier: BSD-3-Clause
"""Where training computes: device, precision, and the processes that `torchrun` started.

Every process takes its part of each batch, and embeddings are gathered with their gradient, so the loss is
that of the joint batch with all its negatives, the same for any number of processes.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

from broker_plugin.errors import ConfigurationError
from trainer.config import TrainingSettings

__all__ = ["Compute", "choose_device", "connected"]

T = TypeVar("T")

PATIENCE = timedelta(days=1)
"""Longest wait of one process for another. The first one may search periods for hours before all train."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Compute:
    """The device and precision of a process, and its place among all.

    Parameters
    ----------
    bf16
        Whether the encoders compute in bfloat16; weights and losses stay float32.
    """

    device: torch.device
    bf16: bool = False
    rank: int = 0
    ranks: int = 1

    @classmethod
    def alone(cls, settings: TrainingSettings) -> Compute:
        """Return the one process of a training."""
        return cls(device=choose_device(settings.device), bf16=settings.precision == "bf16")

    @property
    def first(self) -> bool:
        """Whether this process writes and speaks; no other does."""
        return self.rank == 0

    def in_turn(self, function: Callable[[], T]) -> T:
        """Call a function in the first process, then in the others, which find what it wrote."""
        if self.first:
            result = function()
        if self.ranks > 1:
            distributed.barrier()
        return result if self.first else function()

    def autocast(self) -> AbstractContextManager[Any]:
        """Return the context that the encoders compute in."""
        return torch.autocast(self.device.type, dtype=torch.bfloat16) if self.bf16 else nullcontext()

    def share(self, rows: NDArray[np.intp]) -> tuple[NDArray[np.intp], int]:
        """Return this process's part of a batch, and the size that all parts are padded to."""
        return rows[self.rank :: self.ranks], -(-len(rows) // self.ranks)

    def gather(self, part: torch.Tensor, n: int) -> torch.Tensor:
        """Return the `n` rows of a batch from the parts that `share` made of it, in their order.

        The gradient of all processes together is that of one process with the whole batch, if
        `distribute` takes the mean over them.
        """
        if self.ranks == 1:
            return part
        rows: torch.Tensor = _Gather.apply(part, self.rank, self.ranks)
        return rows[:n]

    def distribute(self, module: nn.Module) -> nn.Module:
        """Return a module whose gradients are the mean over all processes."""
        if self.ranks == 1:
            return module
        # Not every batch has every modality and labels, so some weights may have no part in its loss.
        return DistributedDataParallel(module, broadcast_buffers=False, find_unused_parameters=True)


def choose_device(name: str) -> torch.device:
    """Return the device of a setting: `auto` is CUDA where there is one.

    Raises
    ------
    ConfigurationError
        If it is CUDA and there is none.

    Examples
    --------
    >>> choose_device("cpu")
    device(type='cpu')
    """
    found = torch.cuda.is_available()
    if name == "cuda" and not found:
        raise ConfigurationError('no CUDA device; set training.device = "auto" or "cpu"')
    return torch.device("cuda" if found and name != "cpu" else "cpu")


@contextmanager
def connected(settings: TrainingSettings) -> Iterator[Compute]:
    """Join the processes that `torchrun` started, or be the only one.

    Raises
    ------
    ConfigurationError
        If there are more processes on this machine than CUDA devices.
    """
    alone = Compute.alone(settings)
    ranks = int(os.environ.get("WORLD_SIZE", "1"))
    if ranks == 1:
        yield alone
        return
    device, backend = alone.device, "gloo"
    if device.type == "cuda":
        device, backend = torch.device("cuda", int(os.environ["LOCAL_RANK"])), "nccl"
        if device.index >= torch.cuda.device_count():
            raise ConfigurationError(
                f"{torch.cuda.device_count()} CUDA devices for more processes; start fewer with torchrun "
                '--nproc-per-node, or set training.device = "cpu"'
            )
        torch.cuda.set_device(device)
    distributed.init_process_group(backend, timeout=PATIENCE)
    try:
        yield Compute(device=device, bf16=alone.bf16, rank=distributed.get_rank(), ranks=ranks)
    finally:
        distributed.destroy_process_group()


class _Gather(torch.autograd.Function):
    """All parts of a batch, row by row as they were dealt out."""

    @staticmethod
    def forward(ctx: Any, part: torch.Tensor, rank: int, ranks: int) -> torch.Tensor:
        ctx.rank, ctx.ranks = rank, ranks
        parts = [torch.empty_like(part) for _ in range(ranks)]
        distributed.all_gather(parts, part.contiguous())
        return torch.stack(parts, dim=1).flatten(0, 1)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        # Every process has the same loss of all rows, so it needs no one to know the gradient of its own;
        # the mean over the processes is then to be their sum.
        return ctx.ranks * gradients[0][ctx.rank :: ctx.ranks], None, None
