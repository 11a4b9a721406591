# SPDX-License-Identifier: BSD-3-Clause
"""One file a modality: tokens and mask to a unit embedding.

Each defines `build(width, sizes)`, where `sizes` is the table `[modalities.NAME.encoder]` of the
configuration together with what all encoders share; `Sizes.read` turns it into the file's own model of it. A
file may also define `SIZES`, that model, which settings are then checked with when they are read; and
`fit_spec(spec, batch)`, which completes the runtime spec from training alerts, with scalers for example. An
encoder may have a method `lone()`, which returns a module that does the same at one token for less.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from torch import nn

from broker_plugin.records import AlertBatch

if TYPE_CHECKING:
    from trainer.config import Settings

__all__ = ["build_encoder", "check_sizes", "fitted_specs"]


def check_sizes(settings: Settings) -> None:
    """Make sure that the encoder of each modality can have its sizes.

    Raises
    ------
    ConfigurationError
        If one cannot.
    """
    for name in settings.modalities:
        sizes = getattr(importlib.import_module(f"{__name__}.{name}"), "SIZES", None)
        if sizes is not None:
            sizes.read(_sizes(name, settings), modality=name)


def build_encoder(name: str, *, width: int, settings: Settings) -> nn.Module:
    """Return the encoder of a modality: `forward(tokens (B, T, F), mask (B, T)) -> embedding (B, D)`."""
    module = importlib.import_module(f"{__name__}.{name}")
    encoder: nn.Module = module.build(width=width, sizes=_sizes(name, settings))
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


def _sizes(name: str, settings: Settings) -> dict[str, Any]:
    """Return the table of a modality's encoder together with what all encoders share."""
    shared = {"embedding_dim": settings.model.embedding_dim, "dropout": settings.model.dropout}
    return shared | settings.modalities[name].encoder
