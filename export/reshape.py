# SPDX-License-Identifier: BSD-3-Clause
"""A finished bundle at the lengths that this version pads to.

Graphs, calibration and references stay what they are. An alert that is now padded to another length gets
embeddings that differ by rounding; how far is measured, and goes into the manifest.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from broker_plugin.bundle import FORMAT_VERSION, Bundle, Manifest, ModalityModel
from broker_plugin.features.base import build_modality
from broker_plugin.parity import SHAPES_MAX
from export.card import CARD, retitled
from export.parity import ParityError, random_tokens, session
from export.placing import put_bundle
from export.stream import next_version
from export.writer import digests_of, encoder_shapes

__all__ = ["write_reshaped_bundle"]

ROWS = 16
"""Alerts of each number of tokens that are compared."""


def write_reshaped_bundle(base: Bundle, out: Path, *, version: str | None = None) -> Path:
    """Write the new version at `out`, in the place of an older one.

    Raises
    ------
    ParityError
        If an embedding differs by more than rounding. Nothing is written then.
    """
    parity = dict(base.manifest.parity)
    modalities = []
    for model in base.manifest.modalities:
        shapes = encoder_shapes(build_modality(model.name, model.spec).longest)
        difference = _difference(base, model, shapes)
        if difference > SHAPES_MAX:
            raise ParityError(f"{model.name}: embeddings at other lengths differ by {difference}")
        parity[f"{model.name}_shapes_difference_max"] = difference
        modalities.append(model.model_copy(update={"shapes": shapes}).model_dump(mode="json"))
    version = version or next_version(base.manifest.version)
    files = {name: base.contents[name] for name in base.manifest.files}
    files[CARD] = retitled(files[CARD].decode(), base.manifest.name, version).encode()
    manifest = base.manifest.model_dump(mode="json") | {
        "format_version": FORMAT_VERSION,
        "version": version,
        "modalities": modalities,
        "parity": parity,
        "files": digests_of(files),
    }
    return put_bundle(files, Manifest.model_validate(manifest), out)


def _difference(base: Bundle, model: ModalityModel, shapes: list[tuple[int, int]]) -> float:
    """Return the largest difference between embeddings at the bundle's lengths and at others."""
    width = build_modality(model.name, model.spec).width
    old, new = ([length for length, _ in each] for each in (model.shapes, shapes))
    sessions = {file: session(base.graph(file)) for file in model.files}
    rng, worst = np.random.default_rng(0), 0.0
    for n_tokens in sorted(
        {length for each in (old, new) for length in (1, *each, *(n // 2 + 1 for n in each))}
    ):
        tokens, _ = random_tokens(rng, ROWS, n_tokens, width)
        found = []
        for lengths in (old, new):
            length = min(each for each in lengths if each >= n_tokens)
            padded = np.zeros((ROWS, length, width), np.float32)
            padded[:, :n_tokens] = tokens
            mask = np.broadcast_to(np.arange(length) < n_tokens, (ROWS, length))
            encoder = sessions[model.file_at(length)]
            found.append(encoder.run(None, {"tokens": padded, "mask": np.ascontiguousarray(mask)})[0])
        worst = max(worst, float(np.abs(found[0] - found[1]).max()))
    return worst
