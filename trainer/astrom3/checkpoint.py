# SPDX-License-Identifier: BSD-3-Clause
"""Checkpoints in the published layout: config.json beside model.safetensors."""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from broker_plugin.errors import ConfigurationError
from trainer.astrom3.attention import Sampling
from trainer.astrom3.config import AstroM3Config, parse_config
from trainer.astrom3.model import AstroM3, Model, new_model

__all__ = [
    "fetch",
    "load_checkpoint",
    "load_encoder",
    "load_weights",
    "read_weights",
    "save_checkpoint",
]

CONFIG, WEIGHTS = "config.json", "model.safetensors"

SHOWN_MAX = 6
"""Keys of a kind that an error lists; a wrong prefix would else print a hundred."""


def load_checkpoint(source: str | Path, *, sampling: Sampling = "deterministic") -> Model:
    """Return the model of a published checkpoint, or of one of ours, ready to encode.

    Parameters
    ----------
    source
        A folder, or the name of a repository on the hub, e.g. AstroMLCore/AstroM3-CLIP.
    sampling
        How attention chooses its queries; see `trainer.astrom3.attention`.

    Raises
    ------
    ConfigurationError
        If there is none, or its weights are not those that its config.json describes.
    """
    folder = Path(source) if Path(source).is_dir() else fetch(str(source), (CONFIG, WEIGHTS))
    try:
        config = parse_config(json.loads((folder / CONFIG).read_text()))
    except OSError as error:
        raise ConfigurationError(
            f"no {CONFIG} in {folder}; a checkpoint is {CONFIG} and {WEIGHTS}"
        ) from error
    except json.JSONDecodeError as error:
        raise ConfigurationError(f"{folder / CONFIG}: {error}") from error
    model = new_model(config, sampling=sampling)
    load_weights(model, read_weights(folder), str(folder))
    return model.eval()


def save_checkpoint(model: Model, folder: Path) -> None:
    """Write a model in the published layout; the weights come last and make it valid."""
    folder.mkdir(parents=True, exist_ok=True)
    config = model.config.model_dump(mode="json")
    (folder / CONFIG).write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")
    unfinished = folder / (WEIGHTS + ".part")
    save_file({name: tensor.contiguous() for name, tensor in model.state_dict().items()}, unfinished)
    unfinished.replace(folder / WEIGHTS)


def read_weights(folder: Path) -> dict[str, torch.Tensor]:
    """Read the tensors of a checkpoint.

    Raises
    ------
    ConfigurationError
        If there are none, or the file is not whole.
    """
    path = folder / WEIGHTS
    try:
        return load_file(path)
    except OSError as error:
        raise ConfigurationError(f"no {WEIGHTS} in {folder}") from error
    except SafetensorError as error:
        raise ConfigurationError(f"{path} is damaged ({error}); download or write it again") from error


def load_weights(model: Model, weights: Mapping[str, torch.Tensor], origin: str) -> None:
    """Load weights into a model; every key must be there, none too many, every shape right.

    Raises
    ------
    ConfigurationError
        If not; the message lists what is missing, unexpected or of another shape.
    """
    wanted = model.state_dict()
    shapes = [
        f"{name} {tuple(weights[name].shape)} instead of {tuple(tensor.shape)}"
        for name, tensor in wanted.items()
        if name in weights and weights[name].shape != tensor.shape
    ]
    problems = (
        ("missing", sorted(wanted.keys() - weights.keys())),
        ("unexpected", sorted(weights.keys() - wanted.keys())),
        ("of another shape", shapes),
    )
    told = [f"{what}: {_listed(names)}" for what, names in problems if names]
    if told:
        raise ConfigurationError(
            f"the weights of {origin} do not fit a {type(model).__name__}; {'; '.join(told)}"
        )
    model.load_state_dict(dict(weights), strict=True)


def load_encoder(model: Model, clip: AstroM3) -> None:
    """Start a classifier from a contrastively trained model; its `fc` stays as it is.

    A classifier of all modalities takes encoders, projections and logit scales; one of a single modality
    takes its encoder only, as in the paper.

    Raises
    ------
    ConfigurationError
        If the encoders are not of one architecture.
    """
    if isinstance(model.config, AstroM3Config):
        source = clip.state_dict()
    else:
        encoders = (clip.photometry_encoder, clip.spectra_encoder, clip.metadata_encoder)
        source = next(each for each in encoders if type(each) is type(model)).state_dict()
    head = {name: tensor for name, tensor in model.state_dict().items() if name.startswith("fc.")}
    load_weights(model, source | head, "the contrastive model")


def fetch(repository: str, files: Iterable[str], *, kind: str = "model") -> Path:
    """Return the folder that holds files of a repository on the Hugging Face hub, downloaded if need be.

    Parameters
    ----------
    files
        Names or patterns.
    kind
        "model" or "dataset".

    Raises
    ------
    ConfigurationError
        If the client is not installed, or the hub cannot be reached or has no such repository.
    """
    try:
        hub = importlib.import_module("huggingface_hub")
    except ImportError as error:
        raise ConfigurationError(
            f"{repository} is no folder, and to fetch it from the hub huggingface_hub is needed: "
            "pip install huggingface_hub, or download it elsewhere and give the folder"
        ) from error
    try:
        folder = hub.snapshot_download(repository, repo_type=kind, allow_patterns=list(files))
    except (OSError, ValueError, hub.errors.HfHubHTTPError) as error:
        raise ConfigurationError(
            f"cannot fetch {repository} from the hub ({type(error).__name__}: {error}); "
            "check the name and the network, or download it elsewhere and give the folder"
        ) from error
    return Path(folder)


def _listed(names: list[str]) -> str:
    rest = len(names) - SHOWN_MAX
    return ", ".join(names[:SHOWN_MAX]) + (f" and {rest} more" if rest > 0 else "")
