# SPDX-License-Identifier: BSD-3-Clause
"""What is minimised and what is counted as right: contrastive over pairs, or cross-entropy over classes."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch.nn import functional as F

from trainer.astrom3.model import AstroM3, Inputs, Model, logits_of

__all__ = ["Objective", "classify", "contrast"]

Objective = Callable[[Model, Inputs, torch.Tensor], tuple[torch.Tensor, torch.Tensor]]
"""From a model, inputs and labels (B,) to the loss and the share that is right."""


def contrast(model: Model, inputs: Inputs, label: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the sum of the six cross-entropies of the three pairs, and how often a row finds its partner.

    An object's partner is itself in the other modality; labels are not used. Uniform logits give 6 ln B.
    """
    if not isinstance(model, AstroM3):
        raise TypeError("only the trimodal model is trained by contrast")
    pairs = model.pair_logits(inputs)
    partner = torch.arange(len(label), device=label.device)
    loss = torch.stack([F.cross_entropy(side, partner) for pair in pairs for side in (pair, pair.T)]).sum()
    right = torch.stack([(pair.argmax(dim=1) == partner).float().mean() for pair in pairs]).mean()
    return loss, right


def classify(model: Model, inputs: Inputs, label: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the cross-entropy of the classes, and the accuracy."""
    logits = logits_of(model, inputs)
    return F.cross_entropy(logits, label), (logits.argmax(dim=1) == label).float().mean()
