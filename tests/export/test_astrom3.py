# SPDX-License-Identifier: BSD-3-Clause
"""Graphs of the paper's model against torch, for any batch."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from export.astrom3 import export_astrom3
from export.parity import session
from trainer.astrom3.checkpoint import save_checkpoint
from trainer.astrom3.config import AstroM3Config, MetadataConfig
from trainer.astrom3.model import AstroM3, Inputs, new_model

ROUNDING = 1e-5
"""Float32 through the layers, in two libraries."""

CONFIG = AstroM3Config(classification=True, p_e_layers=1)


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[AstroM3, Path]:
    """A fine-tuned model of one layer, and the folder of its graphs."""
    folder = tmp_path_factory.mktemp("astrom3")
    torch.manual_seed(3)
    model = AstroM3(CONFIG).eval()
    save_checkpoint(model, folder / "checkpoint")
    export_astrom3(folder / "checkpoint", folder / "graphs")
    return model, folder / "graphs"


@pytest.mark.parametrize("batch", [1, 2, 7])
def test_graphs_are_torchs_function_for_any_batch(
    exported: tuple[AstroM3, Path], batch: int, rng: np.random.Generator
) -> None:
    model, folder = exported
    mask = (np.arange(200) < rng.integers(1, 201, (batch, 1))).astype(np.float32)
    arrays = {
        "tokens": rng.normal(size=(batch, 200, 9)).astype(np.float32) * mask[..., None],
        "mask": mask,
        "spectra": rng.normal(size=(batch, 3, 2575)).astype(np.float32),
        "metadata": rng.normal(size=(batch, 34)).astype(np.float32),
    }
    inputs = Inputs(**{name: torch.from_numpy(array) for name, array in arrays.items()})
    with torch.no_grad():
        expected = [each.numpy() for each in model.embed(inputs)]
        logits = model.classify(inputs).numpy()
    takes = {"photometry": ("tokens", "mask"), "spectra": ("spectra",), "metadata": ("metadata",)}
    found = {}
    for (name, needed), embedding in zip(takes.items(), expected, strict=True):
        graph = session((folder / f"{name}.onnx").read_bytes())
        found[name] = graph.run(None, {key: arrays[key] for key in needed})[0]
        assert np.allclose(found[name], embedding, atol=ROUNDING)
        again = graph.run(None, {key: arrays[key] for key in needed})[0]
        assert np.array_equal(again, found[name])
    classified = session((folder / "classifier.onnx").read_bytes()).run(None, found)[0]
    assert np.allclose(classified, logits, atol=ROUNDING)


def test_the_folder_says_what_it_is_and_how_exact(exported: tuple[AstroM3, Path]) -> None:
    _, folder = exported
    assert json.loads((folder / "config.json").read_text()) == json.loads(CONFIG.model_dump_json())
    parity = json.loads((folder / "parity.json").read_text())
    assert parity.keys() == {"photometry", "spectra", "metadata", "classifier"}
    assert all(each["cosine_min"] > 0.9999 for each in parity.values())


def test_a_single_modality_gives_its_logits(tmp_path: Path, rng: np.random.Generator) -> None:
    model = new_model(MetadataConfig(classification=True)).eval()
    save_checkpoint(model, tmp_path / "checkpoint")
    export_astrom3(tmp_path / "checkpoint", tmp_path / "graphs")
    metadata = rng.normal(size=(2, 34)).astype(np.float32)
    graph = session((tmp_path / "graphs/metadata.onnx").read_bytes())
    assert [output.name for output in graph.get_outputs()] == ["logits"]
    with torch.no_grad():
        expected = model(torch.from_numpy(metadata)).numpy()
    assert np.allclose(graph.run(None, {"metadata": metadata})[0], expected, atol=ROUNDING)
