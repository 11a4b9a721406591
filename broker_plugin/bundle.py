# SPDX-License-Identifier: BSD-3-Clause
"""The bundle: the only thing that crosses from training to serving.

A bundle is a directory of ONNX graphs, plain arrays, `manifest.json` and `MODEL_CARD.md`. Opening one checks
the digest of every file and runs no code: there is no pickle in it, and `numpy` is told to refuse one.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, ValidationError

from broker_plugin.decision import ARGMAX
from broker_plugin.errors import BundleError
from broker_plugin.features.base import FEATURE_SPEC_VERSION
from broker_plugin.precision import Precision
from broker_plugin.strata import StreamStratum

__all__ = [
    "FORMAT_VERSION",
    "READABLE_FORMATS",
    "Bundle",
    "ForestModel",
    "HeadModel",
    "Manifest",
    "ModalityModel",
    "Stratum",
    "installed_bundles",
    "open_bundle",
    "stratum_name",
]

FORMAT_VERSION = 4
"""Format of the manifest: 2 added strata of a stream's own alerts, and forests of one survey; 3 the decision
rule, what may be odd about an alert, and forests over that; 4 graphs for alerts with one token."""

READABLE_FORMATS = (1, 2, 3, 4)
"""Formats whose missing fields have a meaning. A reader refuses any other, since it could misread it."""

MANIFEST = "manifest.json"
MAX_FILE_BYTES = 2**31
"""Largest file that is read into memory; ONNX itself ends at 2 GB."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ModalityModel(_Part):
    """One modality's encoder. Graph: `tokens` (B, T, F) float32, `mask` (B, T) bool -> `embedding` (B, D)."""

    name: str
    file: str
    spec: dict[str, Any] = Field(description="Settings of the preprocessing, read by the modality's file.")
    shapes: list[tuple[int, int]] = Field(
        description="Lengths T and largest batches B by rising length; an alert takes the first that fits. "
        "Smaller batches are run only where they are found to give the same bits."
    )
    lone: str | None = Field(
        default=None, description="File of a graph that does the same at T = 1 for less; 4 on."
    )

    @property
    def files(self) -> tuple[str, ...]:
        """The files of its graphs."""
        return (self.file,) if self.lone is None else (self.file, self.lone)

    def file_at(self, length: int) -> str:
        """Return the file of the graph that runs at a length."""
        return self.file if self.lone is None or length > 1 else self.lone


class HeadModel(_Part):
    """Fusion, classifier and neighbours.

    Graph: `embeddings` (B, K, D) float32 in the order of the manifest's modalities, `present` (B, K) bool
    -> `fused` (B, D) unit, `logits` (B, C), `similarity` (B, R) and `neighbour` (B, R) int64 into the
    reference objects; where `oddities` are named also `oddity` (B, O) and `surprise` (B, S).
    """

    file: str
    batch: int
    oddities: list[str] = Field(
        default_factory=list, description="What may be odd about an alert, the first for nothing; 3 on."
    )
    surprise: list[str] = Field(
        default_factory=list,
        description="Axes of the space of the `fused` forests, if not the embedding; 3 on.",
    )


class ForestModel(_Part):
    """An isolation forest over one embedding, or over the head's `surprise`.

    Graph: `embedding` (B, D or S) float32 -> `score` (B, 1 + G): the global forest, then one forest for each
    of the G classes (none for single modalities). The anomaly score is the least of the class forests, or the
    global score where there are none (Gupta et al. 2024, MCIF).
    """

    source: str = Field(description="`fused` or a modality's name.")
    file: str
    batch: int
    survey: str | None = Field(
        default=None, description="The survey whose alerts it scores in place of the common forest; 2 on."
    )


class Stratum(_Part):
    """Calibration of one stratum. Its sorted scores are the arrays `<name>/<source>` of the calibration."""

    name: str
    n: int
    temperature: float = Field(gt=0, description="Divides the logits before the softmax.")
    class_threshold: float = Field(
        ge=0, le=1, description="A class is in the 90 % conformal set if its probability reaches this."
    )
    class_weights: list[PositiveFloat] | None = Field(
        default=None,
        description="A class is named for the largest product of its weight and its probability; null for "
        "equal weights. From format 3 on.",
    )


class Manifest(_Part):
    """Everything about a bundle that is not an array."""

    format_version: Literal[1, 2, 3, 4]
    name: str
    version: str
    description: str
    feature_spec_version: str
    precision: Precision = Field(default=Precision.FP32, description="Number format of the graphs.")
    embedding_dim: int
    modalities: list[ModalityModel]
    head: HeadModel
    forests: list[ForestModel]
    taxonomy: str = Field(description="Name of the set of classes: `taxonomy.TAXONOMY` where it is of ours.")
    classes: list[str]
    class_prior: str
    class_frequencies: list[float]
    decision_rule: str = Field(
        default=ARGMAX,
        description="Name of the rule behind the strata's class weights, which were chosen under the class "
        "prior above; from format 3 on.",
    )
    epoch_edges: list[int] = Field(description="Lower edges of the bins of the number of epochs.")
    strata: list[Stratum]
    stream_strata: list[StreamStratum] = Field(
        default_factory=list, description="Strata of anomaly scores, from narrow to wide; from format 2 on."
    )
    stream: dict[str, Any] | None = Field(
        default=None, description="What those strata were fitted on, and how they did; from format 2 on."
    )
    calibration_file: str
    reference_file: str
    nightly_alerts: dict[str, float] = Field(description="Alerts a night, by survey.")
    training: dict[str, Any] = Field(description="Digest and counts of the data, seeds, settings.")
    parity: dict[str, float] = Field(description="Largest differences between torch, scikit-learn and graph.")
    files: dict[str, str] = Field(description="SHA-256 of every other file.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """An opened, verified bundle.

    Parameters
    ----------
    digest
        SHA-256 of the manifest, which holds the digests of all other files.
    contents
        The verified bytes of each file: what was checked is what is used.
    """

    path: Path
    manifest: Manifest
    digest: str
    contents: Mapping[str, bytes]

    def graph(self, file: str) -> bytes:
        """Return the bytes of an ONNX graph."""
        return self.contents[file]

    def arrays(self, file: str) -> dict[str, NDArray[Any]]:
        """Return the arrays of an `.npz` file; object arrays are refused."""
        with np.load(io.BytesIO(self.contents[file]), allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}

    def stratum_of(self, modalities: tuple[str, ...], n_epochs: int) -> Stratum:
        """Return the calibration for an alert with these modalities and this many epochs."""
        wanted = stratum_name(modalities, n_epochs, self.manifest.epoch_edges)
        for stratum in self.manifest.strata:
            if stratum.name == wanted:
                return stratum
        raise BundleError(
            f"bundle {self.manifest.name} has no calibration for {wanted}", remedy="export it again"
        )


def stratum_name(modalities: tuple[str, ...], n_epochs: int, edges: list[int]) -> str:
    """Return the name of the stratum of an alert.

    Examples
    --------
    >>> stratum_name(("photometry", "metadata"), 5, [0, 1, 4, 8])
    'photometry+metadata/4-7'
    >>> stratum_name(("photometry",), 9, [0, 1, 4, 8])
    'photometry/8+'
    """
    position = int(np.searchsorted(edges, n_epochs, side="right")) - 1
    low = edges[position]
    upper = "+" if position + 1 == len(edges) else f"-{edges[position + 1] - 1}"
    return f"{'+'.join(modalities) or 'none'}/{low}{upper}"


def installed_bundles() -> dict[str, Path]:
    """Return the bundles that came with the package, by name."""
    root = Path(str(resources.files("broker_plugin") / "bundles"))
    return {path.parent.name: path.parent for path in sorted(root.glob(f"*/{MANIFEST}"))}


def open_bundle(name_or_path: str | Path) -> Bundle:
    """Open and verify a bundle: the name of an installed one, or a directory.

    Raises
    ------
    BundleError
        If it is not there, a file's digest differs, or its format or preprocessing is of another version.
    """
    path = _locate(name_or_path)
    text = _read(path / MANIFEST)
    try:
        raw = json.loads(text)
    except ValueError as error:
        raise BundleError(f"{path / MANIFEST} is not JSON ({error})", remedy="restore the bundle") from error
    _check_versions(raw, path)
    try:
        manifest = Manifest.model_validate(raw)
    except ValidationError as error:
        raise BundleError(f"{path / MANIFEST} is not a valid manifest: {error}") from error
    contents = dict(_verified(path, manifest.files))
    for needed in _needed_files(manifest):
        if needed not in contents:
            raise BundleError(
                f"{path / MANIFEST} lists no digest for {needed}", remedy="export the bundle again"
            )
    return Bundle(path=path, manifest=manifest, digest=hashlib.sha256(text).hexdigest(), contents=contents)


def _locate(name_or_path: str | Path) -> Path:
    installed = installed_bundles()
    if str(name_or_path) in installed:
        return installed[str(name_or_path)]
    path = Path(name_or_path)
    if not (path / MANIFEST).is_file():
        raise BundleError(
            f"no bundle {str(name_or_path)!r}",
            remedy=(
                f"give a directory with a {MANIFEST}, or one of the installed bundles: "
                f"{', '.join(installed) or 'none'}"
            ),
        )
    return path


def _check_versions(raw: Any, path: Path) -> None:
    if not isinstance(raw, dict):
        raise BundleError(f"{path / MANIFEST} is not a JSON object", remedy="restore the bundle")
    if raw.get("format_version") not in READABLE_FORMATS:
        raise BundleError(
            f"{path} has bundle format {raw.get('format_version')!r}, this version reads "
            f"{' and '.join(map(str, READABLE_FORMATS))}",
            remedy="use the astrom3-broker that exported it or export it again",
        )
    if raw.get("feature_spec_version") != FEATURE_SPEC_VERSION:
        raise BundleError(
            f"{path} was trained on feature spec {raw.get('feature_spec_version')!r}, this version "
            f"computes {FEATURE_SPEC_VERSION!r}",
            remedy="retrain it or install the matching astrom3-broker",
        )


def _verified(path: Path, digests: Mapping[str, str]) -> Iterator[tuple[str, bytes]]:
    for name, digest in digests.items():
        if Path(name).name != name:
            raise BundleError(f"{path / MANIFEST} names {name!r}, which is not a file inside the bundle")
        content = _read(path / name)
        found = hashlib.sha256(content).hexdigest()
        if found != digest:
            raise BundleError(
                f"{path / name} has SHA-256 {found[:16]}..., the manifest says {digest[:16]}...: the "
                "bundle was altered or cut short",
                remedy="restore it",
            )
        yield name, content


def _read(path: Path) -> bytes:
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise BundleError(f"{path} is larger than {MAX_FILE_BYTES} bytes", remedy="restore the bundle")
        return path.read_bytes()
    except OSError as error:
        raise BundleError(f"cannot read {path}: {error.strerror}", remedy="restore the bundle") from error


def _needed_files(manifest: Manifest) -> Iterator[str]:
    yield from (file for model in manifest.modalities for file in model.files)
    yield manifest.head.file
    yield from (forest.file for forest in manifest.forests)
    yield manifest.calibration_file
    yield manifest.reference_file
