# SPDX-License-Identifier: BSD-3-Clause
"""A new version of a finished bundle, whose normal is a stream's own.

Encoders, head, references and the calibration on catalogue stars stay what they are. Forests of single
surveys, strata and a section of the model card are added; those of surveys that the archive did not hold are
kept from the old bundle.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from broker_plugin.bundle import FORMAT_VERSION, Bundle, ForestModel, Manifest
from broker_plugin.errors import ConfigurationError
from broker_plugin.strata import StreamStratum
from export.card import CARD, retitled
from export.forest import forest_graph
from export.parity import forest_parity
from export.placing import put_bundle
from export.stream_card import with_stream_section
from export.writer import BATCH, arrays_of, digests_of, npz_bytes
from trainer.anomaly import read_forests
from trainer.stream.refit import FITTED, SCORES

__all__ = ["next_version", "write_stream_bundle"]


def write_stream_bundle(base: Bundle, fitted: Path, out: Path, *, version: str | None = None) -> Path:
    """Write the new version at `out`, in the place of an older one.

    Parameters
    ----------
    base
        The bundle whose encoders were used.
    fitted
        Folder that `trainer fit-anomaly --alerts` wrote.
    version
        By default the old version with its last part counted up, see `next_version`.

    Raises
    ------
    ParityError
        If a forest's graph does not compute what it was made from. Nothing is written then.
    """
    path = fitted / FITTED
    if not path.is_file():
        raise ConfigurationError(f"no {FITTED} in {fitted}; run `trainer fit-anomaly --alerts` first")
    content = json.loads(path.read_text())
    strata = [StreamStratum.model_validate(each) for each in content["strata"]]
    kept = _kept(base.manifest, set(content["fit"]["surveys"]))
    files = {name: base.contents[name] for name in base.contents if name not in _forests_to_drop(base, kept)}
    forests = [
        model for model in base.manifest.forests if model.survey is None or model.survey in kept.surveys
    ]
    parity = {
        name: value
        for name, value in base.manifest.parity.items()
        if name in _parity_names(forests) or not name.startswith("forest_")
    }
    for each in content["forests"]:
        name = f"{each['source']}-{each['survey']}"
        forest, probes, scores = read_forests(name, fitted)
        files[f"forest-{name}.onnx"] = forest_graph(forest)
        parity |= forest_parity(files[f"forest-{name}.onnx"], name, probes, scores)
        forests.append(
            ForestModel(source=each["source"], survey=each["survey"], file=f"forest-{name}.onnx", batch=BATCH)
        )
    stream = {"fits": [*kept.fits, content["fit"] | {"strata": {each.name: each.n for each in strata}}]}
    arrays = base.arrays(base.manifest.calibration_file)
    old = {stratum.name for stratum in base.manifest.stream_strata} - {each.name for each in kept.strata}
    arrays = {name: values for name, values in arrays.items() if name.rpartition("/")[0] not in old}
    files[base.manifest.calibration_file] = npz_bytes(arrays | arrays_of(fitted / SCORES))
    version = version or next_version(base.manifest.version)
    card = retitled(base.contents[CARD].decode(), base.manifest.name, version)
    files[CARD] = with_stream_section(card, stream["fits"]).encode()
    manifest = base.manifest.model_dump(mode="json") | {
        "format_version": FORMAT_VERSION,
        "version": version,
        "forests": [model.model_dump() for model in forests],
        "stream_strata": [
            each.model_dump() for each in sorted([*strata, *kept.strata], key=lambda each: each.width)
        ],
        "stream": stream,
        "parity": parity,
        "files": digests_of(files),
    }
    return put_bundle(files, Manifest.model_validate(manifest), out)


def next_version(version: str) -> str:
    """Return the version of a bundle that was fitted to a stream again.

    Examples
    --------
    >>> next_version("1"), next_version("1.1"), next_version("2026a")
    ('1.1', '1.2', '2026a.1')
    """
    head, _, last = version.rpartition(".")
    return f"{head}.{int(last) + 1}" if head and last.isdigit() else f"{version}.1"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kept:
    """What stays of an older fit: that of surveys which the new archive does not hold."""

    surveys: set[str]
    strata: list[StreamStratum]
    fits: list[dict[str, Any]]


def _kept(manifest: Manifest, replaced: set[str]) -> _Kept:
    strata = [stratum for stratum in manifest.stream_strata if not replaced & set(stratum.surveys)]
    surveys = {survey for stratum in strata for survey in stratum.surveys}
    fits: Sequence[Mapping[str, Any]] = (manifest.stream or {}).get("fits", [])
    return _Kept(
        surveys=surveys, strata=strata, fits=[dict(fit) for fit in fits if surveys & set(fit["surveys"])]
    )


def _forests_to_drop(base: Bundle, kept: _Kept) -> set[str]:
    return {
        model.file
        for model in base.manifest.forests
        if model.survey is not None and model.survey not in kept.surveys
    }


def _parity_names(forests: Sequence[ForestModel]) -> set[str]:
    names = (model.file.removeprefix("forest-").removesuffix(".onnx") for model in forests)
    return {f"forest_{name}_difference_max" for name in names}
