# SPDX-License-Identifier: BSD-3-Clause
"""The fields of the published config.json files: what a checkpoint says about its own architecture."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, ValidationError

from broker_plugin.errors import ConfigurationError

__all__ = [
    "AstroM3Config",
    "Config",
    "MetadataConfig",
    "PhotometryConfig",
    "SpectraConfig",
    "parse_config",
]

N_WAVELENGTHS = 2575
"""Points of the spectral grid, 3850 to 8998 Angstrom in steps of 2; the heads' weights are tied to it."""


class _Published(BaseModel):
    """One published config.json; an unknown field could change the architecture, so it is refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    classification: bool = False
    num_classes: int = Field(default=10, gt=0)


class PhotometryConfig(_Published):
    """The Informer encoder of light curves."""

    seq_len: int = Field(default=200, gt=1)
    enc_in: int = Field(default=9, gt=0)
    d_model: int = Field(default=128, gt=0)
    dropout: float = Field(default=0.2, ge=0, lt=1)
    factor: int = Field(default=1, gt=0)
    output_attention: bool = False
    n_heads: int = Field(default=4, gt=0)
    d_ff: int = Field(default=512, gt=0)
    activation: Literal["gelu", "relu"] = "gelu"
    e_layers: int = Field(default=8, gt=0)

    @property
    def width(self) -> int:
        """Features that leave the encoder, all rows side by side."""
        return self.seq_len * self.d_model


class SpectraConfig(_Published):
    """The convolutional encoder of spectra."""

    dropout: float = Field(default=0.2, ge=0, lt=1, validation_alias=AliasChoices("dropout", "dropout_rate"))
    conv_channels: tuple[int, ...] = (3, 64, 64, 32, 32)
    kernel_size: int = Field(default=3, gt=0)
    mp_kernel_size: int = Field(default=4, gt=0)

    @property
    def width(self) -> int:
        """Features that leave the encoder for a spectrum on the paper's grid.

        Examples
        --------
        >>> SpectraConfig().width
        1184
        """
        length = N_WAVELENGTHS
        for layer in range(len(self.conv_channels) - 1):
            length -= self.kernel_size - 1
            if layer < len(self.conv_channels) - 2:
                length //= self.mp_kernel_size
        return self.conv_channels[-1] * length


class MetadataConfig(_Published):
    """The perceptron that encodes catalogue columns."""

    input_dim: int = Field(default=34, gt=0)
    hidden_dim: int = Field(default=512, gt=0)
    dropout: float = Field(default=0.2, ge=0, lt=1)

    @property
    def width(self) -> int:
        """Features that leave the encoder."""
        return self.hidden_dim


class AstroM3Config(_Published):
    """The three encoders and their common space."""

    fusion: Literal["avg", "concat"] = "avg"
    hidden_dim: int = Field(default=512, gt=0)
    seq_len: int = Field(default=200, gt=1)
    p_enc_in: int = Field(default=9, gt=0)
    p_d_model: int = Field(default=128, gt=0)
    p_dropout: float = Field(default=0.2, ge=0, lt=1)
    p_factor: int = Field(default=1, gt=0)
    p_output_attention: bool = False
    p_n_heads: int = Field(default=4, gt=0)
    p_d_ff: int = Field(default=512, gt=0)
    p_activation: Literal["gelu", "relu"] = "gelu"
    p_e_layers: int = Field(default=8, gt=0)
    s_dropout: float = Field(default=0.2, ge=0, lt=1)
    s_conv_channels: tuple[int, ...] = (3, 64, 64, 32, 32)
    s_kernel_size: int = Field(default=3, gt=0)
    s_mp_kernel_size: int = Field(default=4, gt=0)
    m_input_dim: int = Field(default=34, gt=0)
    m_hidden_dim: int = Field(default=512, gt=0)
    m_dropout: float = Field(default=0.2, ge=0, lt=1)

    def photometry(self) -> PhotometryConfig:
        """Return the part about light curves."""
        return PhotometryConfig(seq_len=self.seq_len, **self._part("p_"))

    def spectra(self) -> SpectraConfig:
        """Return the part about spectra."""
        return SpectraConfig(**self._part("s_"))

    def metadata(self) -> MetadataConfig:
        """Return the part about catalogue columns."""
        return MetadataConfig(**self._part("m_"))

    def _part(self, prefix: str) -> dict[str, Any]:
        fields = self.model_dump()
        return {name.removeprefix(prefix): fields[name] for name in fields if name.startswith(prefix)}


Config = AstroM3Config | PhotometryConfig | SpectraConfig | MetadataConfig

_MARKS: tuple[tuple[str, type[Config]], ...] = (
    ("p_enc_in", AstroM3Config),
    ("enc_in", PhotometryConfig),
    ("conv_channels", SpectraConfig),
    ("input_dim", MetadataConfig),
)
"""A field that only one kind of checkpoint has: the files do not say of what kind they are."""


def parse_config(content: Mapping[str, Any]) -> Config:
    """Return the config of whichever kind a config.json is of.

    Raises
    ------
    ConfigurationError
        If it is of no known kind, or a field is unknown or impossible.

    Examples
    --------
    >>> parse_config({"classification": True, "input_dim": 34, "hidden_dim": 512}).width
    512
    """
    for mark, kind in _MARKS:
        if mark in content:
            try:
                return kind.model_validate(content)
            except ValidationError as error:
                raise ConfigurationError(f"config.json of a {kind.__name__}: {error}") from error
    marks = ", ".join(mark for mark, _ in _MARKS)
    raise ConfigurationError(f"this config.json is of no AstroM3 model: it has none of the fields {marks}")


def queries_that_attend(seq_len: int, factor: int) -> int:
    """Return how many queries of a head get true attention, and how many keys the original samples.

    Examples
    --------
    >>> queries_that_attend(200, 1)
    6
    """
    return min(seq_len, factor * math.ceil(math.log(seq_len)))
