# SPDX-License-Identifier: BSD-3-Clause
"""Checkpoints in the published layout are read strictly and written the same."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from broker_plugin.errors import ConfigurationError
from tests.trainer.astrom3.generated import info_json
from trainer.astrom3.checkpoint import load_checkpoint, load_encoder, save_checkpoint
from trainer.astrom3.config import AstroM3Config, Config, MetadataConfig, PhotometryConfig, SpectraConfig
from trainer.astrom3.model import AstroM3, new_model
from trainer.astrom3.scaler import fit_scaler, read_scaler, write_scaler

PUBLISHED_ALL = {
    "classification": True,
    "fusion": "avg",
    "hidden_dim": 512,
    "m_dropout": 0.118,
    "m_hidden_dim": 512,
    "m_input_dim": 34,
    "num_classes": 10,
    "p_activation": "gelu",
    "p_d_ff": 512,
    "p_d_model": 128,
    "p_dropout": 0.233,
    "p_e_layers": 8,
    "p_enc_in": 9,
    "p_factor": 1,
    "p_n_heads": 4,
    "p_output_attention": False,
    "s_conv_channels": [3, 64, 64, 32, 32],
    "s_dropout": 0.177,
    "s_kernel_size": 3,
    "s_mp_kernel_size": 4,
    "seq_len": 200,
}
"""The fields of AstroM3-CLIP-all's config.json."""


@pytest.mark.parametrize(
    "config",
    [
        AstroM3Config(p_e_layers=1),
        AstroM3Config(classification=True, fusion="concat", p_e_layers=1),
        PhotometryConfig(classification=True, e_layers=1),
        SpectraConfig(classification=True),
        MetadataConfig(classification=True),
    ],
)
def test_a_checkpoint_comes_back_as_it_was(config: Config, tmp_path: Path) -> None:
    model = new_model(config)
    save_checkpoint(model, tmp_path)
    back = load_checkpoint(tmp_path)
    assert back.config == config
    assert all(torch.equal(tensor, model.state_dict()[name]) for name, tensor in back.state_dict().items())
    assert not back.training


def test_the_published_config_is_read(tmp_path: Path) -> None:
    model = AstroM3(AstroM3Config.model_validate(PUBLISHED_ALL))
    save_checkpoint(model, tmp_path)
    assert json.loads((tmp_path / "config.json").read_text()) == PUBLISHED_ALL
    (tmp_path / "config.json").write_text(json.dumps(PUBLISHED_ALL | {"p_distil": True}))
    with pytest.raises(ConfigurationError, match="p_distil"):
        load_checkpoint(tmp_path)


def test_a_key_missing_or_too_many_or_of_another_shape_is_named(tmp_path: Path) -> None:
    save_checkpoint(new_model(MetadataConfig(classification=True)), tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    weights["head.weight"] = weights.pop("fc.weight")
    weights["model.0.bias"] = torch.zeros(7)
    save_file(weights, tmp_path / "model.safetensors")
    with pytest.raises(ConfigurationError) as raised:
        load_checkpoint(tmp_path)
    message = str(raised.value)
    assert "missing: fc.weight" in message
    assert "unexpected: head.weight" in message
    assert "model.0.bias (7,) instead of (512,)" in message


@pytest.mark.parametrize("damage", ["no config", "no weights", "cut weights", "config of another kind"])
def test_a_damaged_checkpoint_is_refused(damage: str, tmp_path: Path) -> None:
    save_checkpoint(new_model(SpectraConfig()), tmp_path)
    weights = tmp_path / "model.safetensors"
    match damage:
        case "no config":
            (tmp_path / "config.json").unlink()
        case "no weights":
            weights.unlink()
        case "cut weights":
            weights.write_bytes(weights.read_bytes()[:-100])
        case _:
            (tmp_path / "config.json").write_text('{"num_labels": 10}')
    with pytest.raises(ConfigurationError):
        load_checkpoint(tmp_path)


def test_without_the_hubs_client_it_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(ConfigurationError, match="pip install huggingface_hub"):
        load_checkpoint("AstroMLCore/AstroM3-CLIP")


def test_a_classifier_takes_the_encoder_and_keeps_its_own_head() -> None:
    clip = AstroM3(AstroM3Config(p_e_layers=1))
    for config, encoder in (
        (PhotometryConfig(classification=True, e_layers=1), clip.photometry_encoder),
        (SpectraConfig(classification=True), clip.spectra_encoder),
        (MetadataConfig(classification=True), clip.metadata_encoder),
        (AstroM3Config(classification=True, p_e_layers=1), clip),
    ):
        model = new_model(config)
        head = model.fc.weight.clone()
        load_encoder(model, clip)
        assert torch.equal(model.fc.weight, head)
        for name, tensor in encoder.state_dict().items():
            assert torch.equal(model.state_dict()[name], tensor), name
    with pytest.raises(ConfigurationError, match="missing"):
        load_encoder(new_model(PhotometryConfig(classification=True, e_layers=2)), clip)


def test_a_scaler_is_read_by_name_and_order(tmp_path: Path) -> None:
    content = info_json()
    path = tmp_path / "info.json"
    path.write_text(json.dumps(content))
    scaler = read_scaler(path)
    assert scaler.mean.tolist() == content["mean"]
    write_scaler(scaler, path)
    assert read_scaler(path).std.tolist() == content["std"]
    swapped = list(content["all_cols"])
    swapped[0], swapped[1] = swapped[1], swapped[0]
    path.write_text(json.dumps(content | {"all_cols": swapped}))
    with pytest.raises(ConfigurationError, match="amplitude != period"):
        read_scaler(path)
    path.write_text(json.dumps(content | {"std": [0.0, *content["std"][1:]]}))
    with pytest.raises(ConfigurationError, match="std"):
        read_scaler(path)


def test_a_scaler_standardises_what_it_was_fitted_on(rng) -> None:
    columns = rng.normal(5, 3, (50, 38))
    scaler = fit_scaler(columns, ("A", "B"))
    scaled = scaler.meta(columns[:, 4:])
    # Sums of fifty float64.
    assert abs(scaled.mean(axis=0)).max() < 1e-12
    assert abs(scaled.std(axis=0) - 1).max() < 1e-12
    columns[:, 2] = 1
    with pytest.raises(ConfigurationError, match="lksl_statistic"):
        fit_scaler(columns, ("A", "B"))
