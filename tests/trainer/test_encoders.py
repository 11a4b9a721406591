# SPDX-License-Identifier: BSD-3-Clause
"""Encoders by name: what the configuration may say of them, and laws of the spectrum's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from broker_plugin.errors import ConfigurationError
from broker_plugin.features.base import build_modality
from broker_plugin.features.modalities.light_curve import CANDIDATE_WIDTH, SUMMARY_WIDTH
from broker_plugin.features.modalities.spectrum import CHANNELS
from broker_plugin.records import Alert, AlertBatch, LightCurve
from tests.trainer.multimodal import TRIMODAL, multimodal_settings
from trainer.config import read_settings
from trainer.encoders import build_encoder, fitted_specs

SCALED = {"metadata": 4, "light_curve": SUMMARY_WIDTH + CANDIDATE_WIDTH}
"""Widths of the modalities whose scalers come from training data."""


def encoder_of(name: str, **sizes: object) -> torch.nn.Module:
    modality = TRIMODAL[name] | {"encoder": TRIMODAL[name]["encoder"] | sizes}
    torch.manual_seed(1)
    return build_encoder(name, width=len(CHANNELS), settings=multimodal_settings({name: modality})).eval()


def patches(batch: int, length: int) -> torch.Tensor:
    return torch.randn(batch, length, len(CHANNELS), generator=torch.Generator().manual_seed(length))


def test_padding_and_order_do_not_change_a_spectrum() -> None:
    encoder = encoder_of("spectrum")
    tokens, mask = patches(3, 20), torch.ones(3, 20, dtype=torch.bool)
    expected = encoder(tokens, mask)
    # float32 unit vectors, and sums of float32 in another order below.
    assert expected.norm(dim=1).tolist() == pytest.approx([1.0] * 3, abs=1e-6)
    longer = torch.full((3, 64, len(CHANNELS)), 1e4)
    longer[:, :20] = tokens
    padded = torch.zeros(3, 64, dtype=torch.bool)
    padded[:, :20] = True
    torch.testing.assert_close(encoder(longer, padded), expected, atol=1e-5, rtol=0)
    shuffled = tokens[:, torch.randperm(20, generator=torch.Generator().manual_seed(3))]
    torch.testing.assert_close(encoder(shuffled, mask), expected, atol=1e-5, rtol=0)


def test_the_place_of_a_line_matters() -> None:
    encoder = encoder_of("spectrum")
    tokens, mask = patches(2, 8), torch.ones(2, 8, dtype=torch.bool)
    moved = tokens.clone()
    moved[:, :, CHANNELS.index("position")] += 0.3
    assert (encoder(tokens, mask) - encoder(moved, mask)).abs().max() > 1e-3


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"layer": 3}, "layer"),
        ({"heads": 3}, "heads must divide"),
        ({"layers": 0}, "layers"),
        ({"model_dim": "wide"}, "model_dim"),
    ],
)
def test_wrong_sizes_are_refused_by_name(sizes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message) as refused:
        encoder_of("spectrum", **sizes)
    assert "[modalities.spectrum.encoder]" in str(refused.value)


def alert(number: int, metadata: dict[str, float]) -> Alert:
    return Alert(
        survey="test",
        alert_id=number,
        object_id=f"test:{number}",
        ra_deg=0.0,
        dec_deg=0.0,
        mjd_tai=60_000.0,
        light_curve=LightCurve.empty(),
        metadata=metadata,
    )


def test_scalers_come_from_the_alerts_that_know_a_column_unless_given() -> None:
    batch = AlertBatch.from_alerts(
        [
            alert(0, {"ps1_g_mag": 16.0, "ps1_r_mag": 15.0, "gal_lat_deg": 10.0}),
            alert(1, {"ps1_g_mag": 17.0, "ps1_r_mag": 15.0}),
            alert(2, {"ps1_g_mag": 12.0}),
        ]
    )
    columns = [
        {"name": "ps1_g_mag", "minus": "ps1_r_mag"},
        {"name": "ps1_g_mag", "mean": 14.0},
        {"name": "gal_lat_deg", "transform": "abs_sin_deg", "std": 0.4},
    ]
    settings = multimodal_settings({"metadata": TRIMODAL["metadata"] | {"spec": {"columns": columns}}})
    colour, magnitude, latitude = fitted_specs(settings, batch)["metadata"]["columns"]
    assert (colour["mean"], colour["std"]) == (1.5, 0.5)
    assert magnitude["mean"] == 14.0
    assert magnitude["std"] == pytest.approx(2.160247, abs=1e-6)  # six decimals are kept
    assert latitude["std"] == 0.4
    assert build_modality("metadata", fitted_specs(settings, batch)["metadata"]).width == 6
    with pytest.raises(ConfigurationError, match="no training object varies in ps1_z_mag"):
        fitted_specs(
            multimodal_settings(
                {"metadata": TRIMODAL["metadata"] | {"spec": {"columns": [{"name": "ps1_z_mag"}]}}}
            ),
            batch,
        )


@pytest.mark.parametrize("name", ["default", "quick", "simulated"])
def test_the_configurations_that_come_along_name_modalities_that_can_be_built(name: str) -> None:
    settings = read_settings(Path("trainer/configs") / f"{name}.toml")
    for modality, part in settings.modalities.items():
        width = SCALED.get(modality) or build_modality(modality, part.spec).width
        assert build_encoder(modality, width=width, settings=settings) is not None
    assert settings.max_epochs > 1
