# SPDX-License-Identifier: BSD-3-Clause
"""One file a modality: tokens and mask to a unit embedding.

Each defines `build(width, sizes)`, where `sizes` is the table `[modalities.NAME.encoder]` of the
configuration together with what all encoders share; `Sizes.read` turns it into the file's own model of it. A
file may also define `fit_spec(spec, batch)`, which completes the runtime spec from training alerts, with
scalers for example.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from torch import nn

from broker_plugin.records import AlertBatch
from trainer.config import Settings

__all__ = ["build_encoder", "fitted_specs"]


def build_encoder(name: str, *, width: int, settings: Settings) -> nn.Module:
    """Return the encoder of a modality: `forward(tokens (B, T, F), mask (B, T)) -> embedding (B, D)`."""
    module = importlib.import_module(f"{__name__}.{name}")
    shared = {"embedding_dim": settings.model.embedding_dim, "dropout": settings.model.dropout}
    encoder: nn.Module = module.build(width=width, sizes=shared | settings.modalities[name].encoder)
    return encoder


def fitted_specs(
    settings: Settings, batch: AlertBatch, *, kept: Mapping[str, Mapping[str, Any]] = MappingProxyType({})
) -> dict[str, Mapping[str, Any]]:
    """Return the spec of each modality, with what its encoder file fits on training alerts.

    Parameters
    ----------
    kept
        Specs that stand, since an encoder was trained with them.
    """
    specs: dict[str, Mapping[str, Any]] = {}
    for name, modality in settings.modalities.items():
        if name in kept:
            specs[name] = kept[name]
            continue
        fit_spec = getattr(importlib.import_module(f"{__name__}.{name}"), "fit_spec", None)
        specs[name] = fit_spec(modality.spec, batch) if fit_spec else modality.spec
    return specs
