# SPDX-License-Identifier: BSD-3-Clause
"""What the model is trained for: modalities that agree, and classes from any of them."""

from __future__ import annotations

from itertools import combinations

import torch
from torch import nn
from torch.nn import functional as F

from trainer.config import PretrainingSettings, TrainingSettings
from trainer.model import EPOCH_MODALITIES, AlertModel, fuse
from trainer.outliers import UNASKED

__all__ = ["contrastive_loss", "pretraining_loss", "total_loss"]


def contrastive_loss(embeddings: torch.Tensor, present: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """Return the symmetric contrastive loss, averaged over the pairs of modalities.

    Parameters
    ----------
    embeddings, present
        Unit embeddings (B, K, D) and where they are real (B, K). An alert counts for a pair if it has both.
    scale
        Factor of the cosines, the inverse of the temperature.
    """
    losses = []
    for one, other in combinations(range(embeddings.shape[1]), 2):
        both = present[:, one] & present[:, other]
        if int(both.sum()) < 2:
            continue
        cosines = scale * embeddings[both, one] @ embeddings[both, other].T
        target = torch.arange(len(cosines), device=cosines.device)
        losses.append((F.cross_entropy(cosines, target) + F.cross_entropy(cosines.T, target)) / 2)
    return torch.stack(losses).mean() if losses else embeddings.new_zeros(())


def total_loss(
    model: AlertModel,
    embeddings: torch.Tensor,
    present: torch.Tensor,
    label: torch.Tensor,
    oddity: torch.Tensor,
    settings: TrainingSettings,
    *,
    draws: torch.Generator | None = None,
) -> tuple[torch.Tensor, dict[str, float]]:
    """Return the loss of a batch and its parts.

    The class loss is taken of the fusion, from which each modality is at times left out, and of every
    modality alone, so that any subset gives classes. Alerts without a class (-1) enter the contrastive loss
    only. What is odd about an alert is told from the fusion, where that is asked.

    Parameters
    ----------
    draws
        Random numbers that decide which modalities are left out.
    """
    dropped = torch.rand(present.shape, generator=draws) < settings.modality_dropout
    kept = present & ~dropped.to(present.device)
    kept = torch.where(kept.any(dim=1, keepdim=True), kept, present)
    known = label >= 0
    fused = _class_loss(model, embeddings[known], kept[known], label[known], settings)
    singles = []
    for modality in range(present.shape[1]):
        alone = torch.zeros_like(present)
        alone[:, modality] = present[:, modality]
        having = present[:, modality] & known
        if having.any():
            singles.append(_class_loss(model, embeddings[having], alone[having], label[having], settings))
    single = torch.stack(singles).mean() if singles else embeddings.new_zeros(())
    contrast = contrastive_loss(embeddings, present, model.scale())
    loss = fused + settings.single_weight * single + settings.clip_weight * contrast
    parts = {"fused": fused, "single": single, "contrast": contrast}
    if model.head.oddity is not None:
        asked = oddity != UNASKED
        parts["oddity"] = _oddity_loss(model.head.oddity, fuse(embeddings[asked], kept[asked]), oddity[asked])
        loss = loss + settings.oddity_weight * parts["oddity"]
    return loss, {name: part.item() for name, part in parts.items()}


def pretraining_loss(
    model: AlertModel,
    embeddings: torch.Tensor,
    present: torch.Tensor,
    n_stars: int,
    settings: PretrainingSettings,
) -> tuple[torch.Tensor, dict[str, float]]:
    """Return the loss of a batch of windows, for which no label is needed, and its parts.

    Two contrasts: between the modalities of a window, as in AstroM3, and between two windows of the same
    light curve, each modality of epochs for itself. The first asks what a star's modalities have in common,
    the second what stays of a light curve whenever and for however long one looks.

    Parameters
    ----------
    n_stars
        The first so many rows are windows of different stars; those after them are second windows of the
        first of these stars, in the same order. A star is never held against itself.
    """
    n_pairs = len(embeddings) - n_stars
    halves = [
        contrastive_loss(embeddings[part], present[part], model.scale())
        for part in (slice(None, n_stars), slice(n_stars, None))
    ]
    contrast = (halves[0] * n_stars + halves[1] * n_pairs) / len(embeddings)
    views = [
        contrastive_loss(
            torch.stack([embeddings[:n_pairs, k], embeddings[n_stars:, k]], dim=1),
            torch.stack([present[:n_pairs, k], present[n_stars:, k]], dim=1),
            model.scale(),
        )
        for k, name in enumerate(model.modalities)
        if name in EPOCH_MODALITIES
    ]
    view = torch.stack(views).mean() if views else embeddings.new_zeros(())
    loss = settings.clip_weight * contrast + settings.view_weight * view
    return loss, {"contrast": contrast.item(), "views": view.item()}


def _oddity_loss(classifier: nn.Module, fused: torch.Tensor, oddity: torch.Tensor) -> torch.Tensor:
    return F.cross_entropy(classifier(fused), oddity) if len(oddity) else fused.new_zeros(())


def _class_loss(
    model: AlertModel,
    embeddings: torch.Tensor,
    present: torch.Tensor,
    label: torch.Tensor,
    settings: TrainingSettings,
) -> torch.Tensor:
    if len(label) == 0:
        return embeddings.new_zeros(())
    logits = model.head(fuse(embeddings, present))
    return F.cross_entropy(logits, label, label_smoothing=settings.label_smoothing)
