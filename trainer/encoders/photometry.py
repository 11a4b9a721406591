# SPDX-License-Identifier: BSD-3-Clause
"""Encoder of light curves: masked attention over epochs in continuous time, pooled.

Only additions, products, comparisons and row-wise kernels are used, so that ONNX Runtime gives a row the same
bits wherever in a batch it stands: its vectorised sine, logarithm and error function give other last bits at
the end of an array.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from broker_plugin.features.modalities.photometry import CHANNELS
from trainer.encoders.attention import AttentionLayer, attended, hiding, wave
from trainer.encoders.sizes import AttentionSizes
from trainer.encoders.unit import unit

__all__ = ["SIZES", "PhotometryEncoder", "build"]

AGE, LOG_AGE, SHAPE = CHANNELS.index("age_day"), CHANNELS.index("log_age"), CHANNELS.index("shape")
COS_HALF, SIN_HALF = CHANNELS.index("cos_half_phase"), CHANNELS.index("sin_half_phase")

WAVES_DAY = (1.0, 4.0, 16.0, 64.0, 256.0, 1024.0)
"""Periods of the waves in linear time, from a night to several seasons."""

WAVES_LOG = (0.75, 1.5, 3.0, 6.0)
"""Periods of the waves in log10 of time, which spans 0 to 5.7."""

N_HARMONICS = 8
"""Harmonics of twice the found period that are summed over the epochs: four of the period itself."""

SUMMARISED = tuple(
    CHANNELS.index(name)
    for name in (
        "shape",
        "fraction",
        "significance",
        "log_relative_error",
        "log_age",
        "log_wavelength",
        "forced",
        "apparent",
    )
)
"""Channels whose mean, spread and extremes over the epochs are given to the last layers as well: attention
learns them slowly, and for a handful of epochs they are most of what there is."""

CONSTANT = CHANNELS.index("log_scatter")
"""From here on the channels are the same for all epochs."""

EXTREME = 30.0
"""Beyond the largest value of a summarised channel, which arcsinh and logarithms keep below 15."""


SIZES = AttentionSizes


def build(*, width: int, sizes: Mapping[str, Any]) -> nn.Module:
    """Return the encoder."""
    return PhotometryEncoder(width, SIZES.read(sizes, modality="photometry"))


class PhotometryEncoder(nn.Module):
    """Light-curve tokens to a unit embedding; any number of epochs, padding has no weight."""

    frequency: torch.Tensor
    log_frequency: torch.Tensor

    def __init__(self, width: int, sizes: AttentionSizes) -> None:
        super().__init__()
        dim = sizes.model_dim
        n_waves = 2 * (len(WAVES_DAY) + len(WAVES_LOG))
        n_summary = _N_MOMENTS + 4 * len(SUMMARISED) + width - CONSTANT
        self.embed = nn.Sequential(
            nn.Linear(width - 1 + n_waves, dim),
            nn.ReLU(),
            nn.Linear(dim, dim),
        )
        self.layers = nn.ModuleList([AttentionLayer(sizes) for _ in range(sizes.layers)])
        self.norm = nn.LayerNorm(dim)
        self.pool = nn.Linear(dim, sizes.heads)
        self.value = nn.Linear(dim, dim)
        self.project = nn.Sequential(
            nn.Linear(2 * dim + n_summary, 2 * dim),
            nn.ReLU(),
            nn.Dropout(sizes.dropout),
            nn.Linear(2 * dim, sizes.embedding_dim),
        )
        self.register_buffer("frequency", 1.0 / torch.tensor(WAVES_DAY), persistent=False)
        self.register_buffer("log_frequency", 1.0 / torch.tensor(WAVES_LOG), persistent=False)

    def forward(self, tokens: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Return the embeddings (B, D) of tokens (B, T, F), of which `mask` (B, T) are real."""
        batch, length, _ = tokens.shape
        weight = mask.to(tokens.dtype).unsqueeze(2)  # (B, T, 1)
        states = self.embed(torch.cat([tokens[:, :, 1:], self._waves(tokens)], dim=2)) * weight
        states, bias = states.reshape(batch * length, -1), hiding(weight)
        for layer in self.layers:
            states = layer(states, bias)
        states = self.norm(states)
        count = weight.sum(dim=1).clamp(min=1.0)  # (B, 1)
        mean = (states.reshape(batch, length, -1) * weight).sum(dim=1) / count
        pooled = torch.cat(
            [
                attended(self.pool(states), self.value(states), weight),
                mean,
                _summary(tokens, weight, count),
                _moments(tokens, weight, count),
            ],
            dim=1,
        )
        return unit(self.project(pooled))

    def _waves(self, tokens: torch.Tensor) -> torch.Tensor:
        cycles = torch.cat(
            [
                tokens[:, :, AGE : AGE + 1] * self.frequency,
                tokens[:, :, LOG_AGE : LOG_AGE + 1] * self.log_frequency,
            ],
            dim=2,
        )
        return torch.cat([wave(cycles), wave(cycles + 0.25)], dim=2)


def _summary(tokens: torch.Tensor, weight: torch.Tensor, count: torch.Tensor) -> torch.Tensor:
    """Return mean, spread and extremes of the summarised channels, and the constant channels."""
    values = torch.cat([tokens[:, :, channel : channel + 1] for channel in SUMMARISED], dim=2)
    mean = (values * weight).sum(dim=1) / count
    offset = (values - mean.unsqueeze(1)) * weight
    spread = ((offset * offset).sum(dim=1) / count + 1e-4).sqrt()
    hidden = (1.0 - weight) * (2.0 * EXTREME)
    largest = (values * weight - hidden).amax(dim=1).clamp(min=-EXTREME)
    least = (values * weight + hidden).amin(dim=1).clamp(max=EXTREME)
    constant = (tokens[:, :, CONSTANT:] * weight).sum(dim=1) / count
    return torch.cat([mean, spread, largest, least, constant], dim=1)


_N_MOMENTS = N_HARMONICS + 6


def _moments(tokens: torch.Tensor, weight: torch.Tensor, count: torch.Tensor) -> torch.Tensor:
    """Return what the folded light curve looks like, whatever the phase of the alert.

    The complex sums of the deviations over the epochs at `N_HARMONICS` harmonics of twice the period: their
    powers, and the phases of three pairs relative to one another. Shape (B, N_HARMONICS + 6); 0 without a
    period, since the phase channels are 0 then.
    """
    shape = tokens[:, :, SHAPE : SHAPE + 1] * weight  # (B, T, 1)
    shape = (shape - (shape.sum(dim=1) / count).unsqueeze(1)) * weight
    size = (((shape * shape).sum(dim=1) / count) + 1e-2).sqrt()
    cos, sin = tokens[:, :, COS_HALF], tokens[:, :, SIN_HALF]
    cosines, sines = [cos], [sin]
    for _ in range(N_HARMONICS - 1):
        cosines.append(cosines[-1] * cos - sines[-1] * sin)
        sines.append(sines[-1] * cos + cosines[-2] * sin)
    real = 2.0 * (shape * torch.stack(cosines, dim=2)).sum(dim=1) / count / size  # (B, N_HARMONICS)
    imaginary = 2.0 * (shape * torch.stack(sines, dim=2)).sum(dim=1) / count / size
    parts = [real * real + imaginary * imaginary]
    # Harmonic 2 is the period itself: (1, 2), (2, 4) and (2, 6) are the pairs that tell the classes apart.
    for base, other, power in ((0, 1, 2), (1, 3, 2), (1, 5, 3)):
        turned_real, turned_imaginary = real[:, other], imaginary[:, other]
        base_real, base_imaginary = real[:, base], imaginary[:, base]
        for _ in range(power):
            turned_real, turned_imaginary = (
                turned_real * base_real + turned_imaginary * base_imaginary,
                turned_imaginary * base_real - turned_real * base_imaginary,
            )
        parts += [turned_real.unsqueeze(1), turned_imaginary.unsqueeze(1)]
    return torch.cat(parts, dim=1)
