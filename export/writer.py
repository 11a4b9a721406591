# SPDX-License-Identifier: BSD-3-Clause
"""Assembling a bundle: graphs, arrays, manifest and model card, verified, then moved into place."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from broker_plugin.bundle import (
    FORMAT_VERSION,
    ForestModel,
    HeadModel,
    Manifest,
    ModalityModel,
    Stratum,
)
from broker_plugin.errors import ConfigurationError
from broker_plugin.features.base import FEATURE_SPEC_VERSION, build_modality
from broker_plugin.taxonomy import TAXONOMY
from export.card import CARD, description, model_card
from export.forest import forest_graph
from export.graphs import encoder_graph, head_graph, lone_graph
from export.parity import encoder_parity, forest_parity, head_parity
from export.placing import put_bundle
from trainer.anomaly import FUSED, read_forests
from trainer.checkpoint import Run, load_model, load_run
from trainer.fitting import CALIBRATION, CATALOGUE, EVALUATION, REFERENCES, STRATA
from trainer.lengths import padded_lengths
from trainer.model import DISCOVERIES, DOUBT, AlertModel
from trainer.outliers import ODDITIES

__all__ = ["BATCH", "arrays_of", "digests_of", "encoder_files", "encoder_shapes", "npz_bytes", "write_bundle"]

BATCH = 256
"""Rows of a run of the head and of the forests, and the most that an encoder takes."""

TOKENS = 2048
"""Tokens in a run of an encoder: as many fill the processor's cache and no more."""

NEIGHBOURS = 5
"""Analogues that a verdict names."""

NIGHTLY_ALERTS = {"ztf": 2.0e5, "lsst": 7.0e6}
"""Alerts that a survey sends in a night: ZTF's public stream, and what Rubin expects of LSST. They turn a
p-value into the number of such alerts a night."""


def write_bundle(checkpoint: Path, out: Path) -> Path:
    """Export a finished run as a bundle, verify it, and put it at `out`, in the place of an older one.

    Raises
    ------
    ParityError
        If a graph does not compute what it was made from. Nothing is written then.
    ConfigurationError
        If the run is not finished, or the bundle cannot be written. An older bundle stays then.
    """
    run = load_run(checkpoint)
    model = load_model(run, checkpoint)
    references = arrays_of(checkpoint / REFERENCES)
    files: dict[str, bytes] = {}
    parity: dict[str, float] = {}
    modalities = []
    for name in model.modalities:
        exported, graphs = encoder_files(model, name, run.specs[name])
        modalities.append(exported)
        files |= graphs
        parity |= encoder_parity(graphs, model, exported)
    files["head.onnx"] = head_graph(model, torch.from_numpy(references["embedding"]), neighbours=NEIGHBOURS)
    parity |= head_parity(files["head.onnx"], model, BATCH)
    for source in (FUSED, *model.modalities):
        forest, probes, scores = read_forests(source, checkpoint)
        files[f"forest-{source}.onnx"] = forest_graph(forest)
        parity |= forest_parity(files[f"forest-{source}.onnx"], source, probes, scores)
    files["calibration.npz"] = npz_bytes(arrays_of(checkpoint / CALIBRATION))
    files["reference.npz"] = npz_bytes(
        {name: references[name] for name in ("object_id", "label", "profile", "period_day")}
    )
    manifest = Manifest.model_validate(_manifest(run, model, checkpoint, modalities, parity))
    files[CARD] = model_card(manifest).encode()
    return put_bundle(files, manifest.model_copy(update={"files": digests_of(files)}), out)


def encoder_files(
    model: AlertModel, name: str, spec: Mapping[str, Any]
) -> tuple[ModalityModel, dict[str, bytes]]:
    """Return a modality as the manifest describes it, and the graphs that it names by file."""
    graphs = {f"{name}.onnx": encoder_graph(model, name, spec)}
    lone = lone_graph(model, name, spec)
    if lone is not None:
        graphs[f"{name}-lone.onnx"] = lone
    exported = ModalityModel(
        name=name,
        file=f"{name}.onnx",
        lone=None if lone is None else f"{name}-lone.onnx",
        spec=dict(spec),
        shapes=encoder_shapes(build_modality(name, spec).longest),
    )
    return exported, graphs


def digests_of(files: Mapping[str, bytes]) -> dict[str, str]:
    """Return the SHA-256 of each file of a bundle by name, as the manifest lists them."""
    return {name: hashlib.sha256(content).hexdigest() for name, content in sorted(files.items())}


def npz_bytes(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """Return arrays as the bytes of an `.npz` file, the same bytes whenever it is made."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, values in sorted(arrays.items()):
            content = io.BytesIO()
            np.lib.format.write_array(content, np.ascontiguousarray(values), allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(f"{name}.npy"), content.getvalue(), zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def _manifest(
    run: Run,
    model: AlertModel,
    checkpoint: Path,
    modalities: Sequence[ModalityModel],
    parity: Mapping[str, float],
) -> dict[str, Any]:
    evaluation, catalogue = checkpoint / EVALUATION, checkpoint / CATALOGUE
    strata = [Stratum.model_validate(each) for each in json.loads((checkpoint / STRATA).read_text())]
    progress = json.loads((checkpoint / "progress.json").read_text())
    knows_oddities = model.head.oddity is not None
    return {
        "format_version": FORMAT_VERSION,
        "name": run.settings.name,
        "version": run.settings.version,
        "description": description(model.modalities),
        "feature_spec_version": FEATURE_SPEC_VERSION,
        "precision": "fp32",
        "embedding_dim": model.embedding_dim,
        "modalities": list(modalities),
        "head": HeadModel(
            file="head.onnx",
            batch=BATCH,
            oddities=list(ODDITIES) if knows_oddities else [],
            surprise=[*(ODDITIES[each] for each in DISCOVERIES), DOUBT] if knows_oddities else [],
        ),
        "forests": [
            ForestModel(source=source, file=f"forest-{source}.onnx", batch=BATCH)
            for source in (FUSED, *model.modalities)
        ],
        "taxonomy": TAXONOMY,
        "classes": list(run.classes),
        "class_prior": run.class_prior,
        "class_frequencies": list(run.frequencies),
        "decision_rule": run.settings.calibration.decision_rule,
        "epoch_edges": list(run.settings.calibration.epoch_edges),
        "strata": strata,
        "calibration_file": "calibration.npz",
        "reference_file": "reference.npz",
        "nightly_alerts": NIGHTLY_ALERTS,
        "training": {
            "data": dict(run.data),
            "settings": run.settings.model_dump(mode="json"),
            "passes": progress["passes"],
            "steps": progress["steps"],
            "evaluation": json.loads(evaluation.read_text()) if evaluation.is_file() else None,
            "catalogue": json.loads(catalogue.read_text()) if catalogue.is_file() else None,
        },
        "parity": dict(parity),
        "files": {},
    }


def encoder_shapes(longest: int) -> list[tuple[int, int]]:
    """Return the lengths that a session runs at, and the most rows at each."""
    return [(length, min(BATCH, TOKENS // length)) for length in padded_lengths(longest)]


def arrays_of(path: Path) -> dict[str, NDArray[Any]]:
    """Return the arrays of a file that the trainer wrote."""
    if not path.is_file():
        raise ConfigurationError(f"no {path.name} in {path.parent}; run `trainer fit-anomaly` on it first")
    with np.load(path, allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}
