# SPDX-License-Identifier: BSD-3-Clause
"""Sizes of an encoder, read from the configuration."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from broker_plugin.errors import ConfigurationError
from trainer.specs import explained

__all__ = ["AttentionSizes", "Sizes"]


class Sizes(BaseModel):
    """What every encoder needs to know; each adds its own."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    embedding_dim: int = Field(gt=0)
    dropout: float = Field(ge=0, lt=1)

    @classmethod
    def read(cls, sizes: Mapping[str, Any], *, modality: str) -> Self:
        """Check the table of a modality.

        Raises
        ------
        ConfigurationError
            If a size is missing, unknown or impossible.
        """
        try:
            return cls.model_validate(dict(sizes))
        except ValidationError as error:
            defects = "; ".join(explained(error))
            raise ConfigurationError(f"[modalities.{modality}.encoder]: {defects}") from None


class AttentionSizes(Sizes):
    """Sizes of an encoder of layers of attention."""

    model_dim: int = Field(gt=0)
    heads: int = Field(gt=0)
    layers: int = Field(gt=0)
    feedforward_dim: int = Field(gt=0)

    @classmethod
    def read(cls, sizes: Mapping[str, Any], *, modality: str) -> Self:
        """Check the table of a modality; the heads must divide `model_dim`."""
        found = super().read(sizes, modality=modality)
        if found.model_dim % found.heads:
            raise ConfigurationError(f"[modalities.{modality}.encoder]: heads must divide model_dim")
        return found
