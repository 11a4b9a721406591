# SPDX-License-Identifier: BSD-3-Clause
"""`python -m export.astrom3`: a checkpoint of the paper's model to deterministic ONNX graphs.

The graphs keep the layout that the published weights were trained with and choose queries by all keys, so the
same light curve has the same embedding on every call. `parity.json` says how far they are from torch.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from cyclopts import App, Parameter
from numpy.typing import NDArray
from rich.console import Console
from rich.markup import escape
from torch import nn

from broker_plugin.errors import ConfigurationError
from export.graphs import EXAMPLE_BATCH, export_module
from export.parity import COSINE_MIN, PERMUTATIONS, THREADS, ParityError, session
from trainer.astrom3.checkpoint import load_checkpoint
from trainer.astrom3.config import N_WAVELENGTHS
from trainer.astrom3.informer import Informer
from trainer.astrom3.metadata import MetaModel
from trainer.astrom3.model import AstroM3, Model
from trainer.astrom3.spectra import GalSpecNet

__all__ = ["export_astrom3", "main"]

PARITY_BATCH = 16
"""Objects that a graph is compared on."""

app = App(name="export.astrom3")

_console = Console(stderr=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Graph:
    """One graph to be: what it computes, and an example of what it takes."""

    name: str
    module: nn.Module
    example: Callable[[np.random.Generator, int], dict[str, NDArray[np.float32]]]
    output: str


class _Call(nn.Module):
    """A method as a module, since that is what the exporter takes."""

    def __init__(self, model: nn.Module, method: str) -> None:
        super().__init__()
        self.model, self.method = model, method


class _OfPhotometry(_Call):
    def forward(self, tokens: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = getattr(self.model, self.method)(tokens, mask)
        return out


class _OfSpectra(_Call):
    def forward(self, spectra: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = getattr(self.model, self.method)(spectra)
        return out


class _OfMetadata(_Call):
    def forward(self, metadata: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = getattr(self.model, self.method)(metadata)
        return out


class _Classifier(nn.Module):
    def __init__(self, model: AstroM3) -> None:
        super().__init__()
        self.model = model

    def forward(
        self, photometry: torch.Tensor, spectra: torch.Tensor, metadata: torch.Tensor
    ) -> torch.Tensor:
        logits: torch.Tensor = self.model.fc(self.model.fuse(photometry, spectra, metadata))
        return logits


@app.default
def export(
    *,
    checkpoint: Annotated[str, Parameter(help="Folder of config.json and weights, or name on the hub.")],
    out: Annotated[Path, Parameter(help="Folder of the graphs.")],
) -> None:
    """Export a checkpoint of the paper's model and check every graph against torch."""
    for name, found in export_astrom3(checkpoint, out).items():
        _console.print(f"{name}.onnx: cosine to torch >= {found['cosine_min']:.7f}", highlight=False)


def export_astrom3(checkpoint: str | Path, out: Path) -> dict[str, dict[str, float]]:
    """Write the graphs of a checkpoint and return how far each is from torch.

    A trimodal model gives photometry, spectra and metadata (unit embeddings, 512) and, if it was fine-tuned,
    classifier; a model of one modality gives that one (logits of a classifier, else features).

    Raises
    ------
    ParityError
        If a graph is not torch's function, or its rows depend on their order, or its bits on the threads.
    """
    model = load_checkpoint(checkpoint)
    made = {graph.name: (_bytes(graph), graph) for graph in _graphs(model)}
    parity = {name: _parity(content, graph) for name, (content, graph) in made.items()}
    out.mkdir(parents=True, exist_ok=True)
    for name, (content, _) in made.items():
        (out / f"{name}.onnx").write_bytes(content)
    (out / "config.json").write_text(json.dumps(model.config.model_dump(mode="json"), indent=2) + "\n")
    (out / "parity.json").write_text(json.dumps(parity, indent=2) + "\n")
    return parity


def main() -> None:
    """Run the command line."""
    try:
        app()
    except (ConfigurationError, ParityError) as error:
        said = f"[bold red]export.astrom3:[/] {escape(str(error))}"
        _console.print(said, highlight=False, soft_wrap=True)
        sys.exit(2)


def _graphs(model: Model) -> list[_Graph]:
    if isinstance(model, AstroM3):
        config = model.config
        seq_len, channels, columns = config.seq_len, config.p_enc_in, config.m_input_dim
        graphs = [
            _photometry(_OfPhotometry(model, "embed_photometry"), seq_len, channels, "embedding"),
            _spectra(_OfSpectra(model, "embed_spectra"), config.s_conv_channels[0], "embedding"),
            _metadata(_OfMetadata(model, "embed_metadata"), columns, "embedding"),
        ]
        if config.classification:
            graphs.append(_classifier(_Classifier(model), config.hidden_dim))
        return graphs
    output = "logits" if model.config.classification else "features"
    match model:
        case Informer():
            module = _OfPhotometry(model, "forward")
            return [_photometry(module, model.config.seq_len, model.config.enc_in, output)]
        case GalSpecNet():
            return [_spectra(_OfSpectra(model, "forward"), model.config.conv_channels[0], output)]
        case MetaModel():
            return [_metadata(_OfMetadata(model, "forward"), model.config.input_dim, output)]


def _photometry(module: nn.Module, seq_len: int, channels: int, output: str) -> _Graph:
    def example(rng: np.random.Generator, batch: int) -> dict[str, NDArray[np.float32]]:
        mask = np.arange(seq_len) < rng.integers(1, seq_len + 1, (batch, 1))
        tokens = rng.normal(size=(batch, seq_len, channels)) * mask[..., None]
        return {"tokens": tokens.astype(np.float32), "mask": mask.astype(np.float32)}

    return _Graph(name="photometry", module=module, example=example, output=output)


def _spectra(module: nn.Module, channels: int, output: str) -> _Graph:
    def example(rng: np.random.Generator, batch: int) -> dict[str, NDArray[np.float32]]:
        return {"spectra": rng.normal(size=(batch, channels, N_WAVELENGTHS)).astype(np.float32)}

    return _Graph(name="spectra", module=module, example=example, output=output)


def _metadata(module: nn.Module, columns: int, output: str) -> _Graph:
    def example(rng: np.random.Generator, batch: int) -> dict[str, NDArray[np.float32]]:
        return {"metadata": rng.normal(size=(batch, columns)).astype(np.float32)}

    return _Graph(name="metadata", module=module, example=example, output=output)


def _classifier(module: nn.Module, width: int) -> _Graph:
    def example(rng: np.random.Generator, batch: int) -> dict[str, NDArray[np.float32]]:
        names = ("photometry", "spectra", "metadata")
        made = {name: rng.normal(size=(batch, width)).astype(np.float32) for name in names}
        return {name: each / np.linalg.norm(each, axis=1, keepdims=True) for name, each in made.items()}

    return _Graph(name="classifier", module=module, example=example, output="logits")


def _bytes(graph: _Graph) -> bytes:
    example = graph.example(np.random.default_rng(0), EXAMPLE_BATCH)
    batch = torch.export.Dim("batch", min=1)
    return export_module(
        graph.module,
        {name: torch.from_numpy(array) for name, array in example.items()},
        [graph.output],
        {name: {0: batch} for name in example},
    )


def _parity(content: bytes, graph: _Graph) -> dict[str, float]:
    rng = np.random.default_rng(1)
    inputs = graph.example(rng, PARITY_BATCH)
    opened = session(content)
    found = _run(opened, inputs)
    with torch.no_grad():
        expected = graph.module(*(torch.from_numpy(array) for array in inputs.values())).numpy()
    for _ in range(PERMUTATIONS):
        order = rng.permutation(PARITY_BATCH)
        again = _run(opened, {name: array[order] for name, array in inputs.items()})
        _require(np.array_equal(again, found[order]), f"{graph.name}: a row depends on its place")
    threaded = _run(session(content, threads=THREADS), inputs)
    _require(np.array_equal(threaded, found), f"{graph.name}: bits depend on the threads")
    lengths = np.linalg.norm(found, axis=1) * np.linalg.norm(expected, axis=1)
    cosine = float(((found * expected).sum(axis=1) / lengths).min())
    _require(cosine >= COSINE_MIN, f"{graph.name}: cosine {cosine} to torch")
    return {"cosine_min": cosine, "difference_max": float(np.abs(found - expected).max())}


def _run(opened: Any, inputs: Mapping[str, NDArray[np.float32]]) -> NDArray[np.float32]:
    out: NDArray[np.float32] = opened.run(None, dict(inputs))[0]
    return out


def _require(holds: bool, what: str) -> None:
    if not holds:
        raise ParityError(f"{what}; no graph was written")


if __name__ == "__main__":
    main()
