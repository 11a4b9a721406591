# SPDX-License-Identifier: BSD-3-Clause
"""AstroM3: three encoders, their projections into one space, and a classifier on what they say together."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn
from torch.nn import functional as F

from trainer.astrom3.attention import Sampling
from trainer.astrom3.config import AstroM3Config, Config, MetadataConfig, PhotometryConfig, SpectraConfig
from trainer.astrom3.informer import Informer
from trainer.astrom3.metadata import MetaModel
from trainer.astrom3.spectra import GalSpecNet

__all__ = ["PAIRS", "AstroM3", "Inputs", "Modality", "Model", "logits_of", "new_model"]

Modality = Literal["photometry", "spectra", "metadata", "all"]

PAIRS = ("ps", "sm", "mp")
"""Pairs of modalities that the contrastive loss compares, by their initials."""

LOGIT_SCALE_INITIAL = math.log(100.0)
LOGIT_SCALE_MAX = 100.0
"""As in the original. Its gradient is zero there, since exp(log 100) in float32 lies just above the ceiling,
so that only weight decay moves it at first; `trainer.model` starts lower, this model must not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """One batch of objects.

    Parameters
    ----------
    tokens, mask
        Light curves (B, 200, 9) and which rows were observed (B, 200), as float32.
    spectra
        Spectra (B, 3, 2575).
    metadata
        Scaled columns (B, 34).
    """

    tokens: torch.Tensor
    mask: torch.Tensor
    spectra: torch.Tensor
    metadata: torch.Tensor


class AstroM3(nn.Module):
    """The trimodal model: unit embeddings in one space, and class logits where it was fine-tuned.

    Parameters
    ----------
    sampling
        How attention chooses its queries; see `trainer.astrom3.attention`.
    """

    def __init__(self, config: AstroM3Config, *, sampling: Sampling = "deterministic") -> None:
        super().__init__()
        self.config = config
        self.photometry_encoder = Informer(config.photometry(), sampling=sampling)
        self.spectra_encoder = GalSpecNet(config.spectra())
        self.metadata_encoder = MetaModel(config.metadata())
        self.photometry_proj = nn.Linear(config.photometry().width, config.hidden_dim)
        self.spectra_proj = nn.Linear(config.spectra().width, config.hidden_dim)
        self.metadata_proj = nn.Linear(config.m_hidden_dim, config.hidden_dim)
        self.logit_scale_ps = nn.Parameter(torch.tensor(LOGIT_SCALE_INITIAL))
        self.logit_scale_sm = nn.Parameter(torch.tensor(LOGIT_SCALE_INITIAL))
        self.logit_scale_mp = nn.Parameter(torch.tensor(LOGIT_SCALE_INITIAL))
        if config.classification:
            width = config.hidden_dim * (3 if config.fusion == "concat" else 1)
            self.fc = nn.Linear(width, config.num_classes)

    def embed_photometry(self, tokens: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Return unit embeddings (B, 512) of light curves."""
        return F.normalize(self.photometry_proj(self.photometry_encoder(tokens, mask)), dim=-1)

    def embed_spectra(self, spectra: torch.Tensor) -> torch.Tensor:
        """Return unit embeddings (B, 512) of spectra."""
        return F.normalize(self.spectra_proj(self.spectra_encoder(spectra)), dim=-1)

    def embed_metadata(self, metadata: torch.Tensor) -> torch.Tensor:
        """Return unit embeddings (B, 512) of catalogue columns."""
        return F.normalize(self.metadata_proj(self.metadata_encoder(metadata)), dim=-1)

    def embed(self, inputs: Inputs) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return the unit embeddings of photometry, spectra and metadata, each (B, 512)."""
        return (
            self.embed_photometry(inputs.tokens, inputs.mask),
            self.embed_spectra(inputs.spectra),
            self.embed_metadata(inputs.metadata),
        )

    def pair_logits(self, inputs: Inputs) -> tuple[torch.Tensor, ...]:
        """Return the scaled cosines (B, B) of each of `PAIRS`, the pair's first modality along the rows."""
        photometry, spectra, metadata = self.embed(inputs)
        sides = ((photometry, spectra), (spectra, metadata), (metadata, photometry))
        return tuple(
            scale.exp().clamp(1.0, LOGIT_SCALE_MAX) * left @ right.T
            for scale, (left, right) in zip(self.logit_scales, sides, strict=True)
        )

    @property
    def logit_scales(self) -> tuple[nn.Parameter, nn.Parameter, nn.Parameter]:
        """Logarithms of the factors of the cosines, in the order of `PAIRS`."""
        return self.logit_scale_ps, self.logit_scale_sm, self.logit_scale_mp

    def fuse(self, *embeddings: torch.Tensor) -> torch.Tensor:
        """Return what the classifier reads: the mean of the embeddings, unnormalised, or all three."""
        if self.config.fusion == "concat":
            return torch.cat(embeddings, dim=-1)
        return torch.stack(embeddings).mean(dim=0)

    def classify(self, inputs: Inputs) -> torch.Tensor:
        """Return the logits (B, C) of the classes; only a model of `classification` has them."""
        logits: torch.Tensor = self.fc(self.fuse(*self.embed(inputs)))
        return logits


Model = AstroM3 | Informer | GalSpecNet | MetaModel


def new_model(config: Config, *, sampling: Sampling = "deterministic") -> Model:
    """Return a model of whichever kind a config describes, with random weights by torch's generator."""
    match config:
        case AstroM3Config():
            return AstroM3(config, sampling=sampling)
        case PhotometryConfig():
            return Informer(config, sampling=sampling)
        case SpectraConfig():
            return GalSpecNet(config)
        case MetadataConfig():
            return MetaModel(config)


def logits_of(model: Model, inputs: Inputs) -> torch.Tensor:
    """Return the class logits (B, C) of a classifier of any kind."""
    match model:
        case AstroM3():
            return model.classify(inputs)
        case Informer():
            return model(inputs.tokens, inputs.mask)  # type: ignore[no-any-return]
        case GalSpecNet():
            return model(inputs.spectra)  # type: ignore[no-any-return]
        case MetaModel():
            return model(inputs.metadata)  # type: ignore[no-any-return]
