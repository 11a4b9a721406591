# SPDX-License-Identifier: BSD-3-Clause
"""Embeddings and logits of whole sets, without gradients."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from broker_plugin.features.base import Tokens, pad
from trainer.lengths import padded_lengths
from trainer.model import AlertModel, fuse

__all__ = ["Encoded", "encode", "logits_of", "surprise_of"]

TOKENS = 8192
"""Tokens in a batch: larger ones fall out of the processor's cache."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoded:
    """Unit embeddings (B, K, D), and where they are real (B, K)."""

    embeddings: torch.Tensor
    present: torch.Tensor

    def only(self, modalities: tuple[int, ...]) -> Encoded:
        """Return the same alerts with no other modalities than these."""
        kept = torch.zeros_like(self.present)
        kept[:, list(modalities)] = self.present[:, list(modalities)]
        return Encoded(embeddings=self.embeddings * kept.unsqueeze(2), present=kept)

    def fused(self) -> NDArray[np.float32]:
        """Return the fused embeddings (B, D)."""
        return np.asarray(fuse(self.embeddings, self.present).numpy(), np.float32)


@torch.no_grad()
def encode(model: AlertModel, tokens: Mapping[str, Tokens]) -> Encoded:
    """Return the embeddings of all modalities, on the CPU wherever the model is."""
    was_training = model.training
    model.eval()
    embeddings, present = [], []
    for name in model.modalities:
        part = tokens[name]
        embeddings.append(_encode_one(model, name, part))
        present.append(torch.from_numpy(part.lengths > 0))
    model.train(was_training)
    return Encoded(embeddings=torch.stack(embeddings, dim=1), present=torch.stack(present, dim=1))


@torch.no_grad()
def logits_of(model: AlertModel, fused: NDArray[np.float32], *, prior: bool = True) -> NDArray[np.float32]:
    """Return the logits (B, C), for the named prior or for classes of equal frequency."""
    logits = model.head(torch.from_numpy(fused))
    shift = model.head.log_prior if prior else model.head.log_even
    return np.asarray((logits + shift).numpy(), np.float32)


@torch.no_grad()
def surprise_of(model: AlertModel, fused: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return what isolation forests of the fusion see (B, S): see `Head.surprise`."""
    return np.asarray(model.head.surprise(torch.from_numpy(fused)).numpy(), np.float32)


def _encode_one(model: AlertModel, name: str, tokens: Tokens) -> torch.Tensor:
    lengths = tokens.lengths
    result = torch.zeros(len(lengths), model.embedding_dim)
    device = model.logit_scale.device
    shorter = 0
    for length in padded_lengths(int(lengths.max(initial=0))):
        rows = np.flatnonzero((lengths > shorter) & (lengths <= length))
        size = max(1, min(1024, TOKENS // length))
        for start in range(0, len(rows), size):
            part = rows[start : start + size]
            values, mask = pad(tokens, part, batch=len(part), length=length)
            encoded = model.encode(
                name, torch.from_numpy(values).to(device), torch.from_numpy(mask).to(device)
            )
            result[torch.from_numpy(part)] = encoded.cpu()
        shorter = length
    return result
