# SPDX-License-Identifier: BSD-3-Clause
"""A bundle at other lengths is the same bundle, or is not written."""

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from broker_plugin.bundle import Bundle, installed_bundles, open_bundle
from broker_plugin.engine.encoders import Encoder
from broker_plugin.engine.providers import cpu_choice
from broker_plugin.features.base import Tokens, build_modality
from broker_plugin.parity import SHAPES_MAX, parity_defects
from export.card import CARD
from export.parity import ParityError
from export.reshape import write_reshaped_bundle
from export.writer import encoder_shapes


def bundle_of_one_length(folder: Path, *, graph: bytes | None = None) -> Bundle:
    """The default bundle, all its light curves padded to the longest; of another graph if one is given."""
    copy = Path(shutil.copytree(installed_bundles()["default"], folder / "one-length"))
    manifest = json.loads((copy / "manifest.json").read_text())
    (model,) = (each for each in manifest["modalities"] if each["name"] == "light_curve")
    model["shapes"] = model["shapes"][-1:]
    if graph is not None:
        model["lone"] = None
        (copy / model["file"]).write_bytes(graph)
        manifest["files"][model["file"]] = hashlib.sha256(graph).hexdigest()
    (copy / "manifest.json").write_text(json.dumps(manifest))
    return open_bundle(copy)


def unmasked_mean(width: int) -> bytes:
    """A graph that takes the padding for tokens."""
    tokens = helper.make_tensor_value_info("tokens", TensorProto.FLOAT, ["batch", "length", width])
    mask = helper.make_tensor_value_info("mask", TensorProto.BOOL, ["batch", "length"])
    embedding = helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["batch", width])
    mean = helper.make_node("ReduceMean", ["tokens"], ["embedding"], axes=[1], keepdims=0)
    graph = helper.make_graph([mean], "mean", [tokens, mask], [embedding])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def test_embeddings_stay_within_rounding(tmp_path: Path, rng: np.random.Generator) -> None:
    old = bundle_of_one_length(tmp_path)
    new = open_bundle(write_reshaped_bundle(old, tmp_path / "new"))
    before, after = (
        next(model for model in bundle.manifest.modalities if model.name == "light_curve")
        for bundle in (old, new)
    )
    modality = build_modality(after.name, after.spec)
    assert after.shapes == encoder_shapes(modality.longest) != before.shapes
    lengths = [1, 2, 3, 4, 5, 7, 8, 0]
    tokens = Tokens(
        values=rng.normal(size=(sum(lengths), modality.width)).astype(np.float32),
        offsets=np.concatenate([[0], np.cumsum(lengths)]),
    )
    found = [
        Encoder(bundle, model, cpu_choice(), threads=1).encode(tokens)
        for bundle, model in ((old, before), (new, after))
    ]
    np.testing.assert_allclose(found[0], found[1], rtol=0, atol=SHAPES_MAX)


def test_nothing_else_changes_but_the_version_and_what_was_measured(tmp_path: Path) -> None:
    old = bundle_of_one_length(tmp_path)
    new = open_bundle(write_reshaped_bundle(old, tmp_path / "new", version="9.9"))
    assert new.manifest.version == "9.9"
    contents = dict(new.contents)
    title, _, rest = contents.pop(CARD).partition(b"\n")
    assert title == b"# Model card: default 9.9"
    assert rest == old.contents[CARD].partition(b"\n")[2]
    assert contents.items() < old.contents.items()
    changed = {"format_version", "version", "modalities", "parity", "files"}
    assert new.manifest.model_dump(exclude=changed) == old.manifest.model_dump(exclude=changed)
    assert {"light_curve_shapes_difference_max", "metadata_shapes_difference_max"} <= set(new.manifest.parity)
    assert list(parity_defects(new.manifest.parity, ("light_curve", "metadata"))) == []


def test_a_repository_takes_no_bundle_whose_lengths_matter() -> None:
    parity = {"probability_difference_max": 0.0, "light_curve_shapes_difference_max": 1e-3}
    assert [defect.split()[0] for defect in parity_defects(parity)] == ["light_curve_shapes_difference_max"]


def test_an_encoder_that_sees_its_padding_is_not_written(tmp_path: Path) -> None:
    width = build_modality("light_curve", open_bundle("default").manifest.modalities[0].spec).width
    old = bundle_of_one_length(tmp_path, graph=unmasked_mean(width))
    with pytest.raises(ParityError, match="light_curve: embeddings at other lengths differ"):
        write_reshaped_bundle(old, tmp_path / "new")
    assert not (tmp_path / "new").exists()
