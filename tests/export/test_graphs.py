# SPDX-License-Identifier: BSD-3-Clause
"""Exported encoders and heads against torch; rows that do not know of one another."""

import numpy as np
import onnx
import pytest
import torch

from broker_plugin.bundle import open_bundle
from broker_plugin.features.base import build_modality
from broker_plugin.features.modalities.light_curve import CANDIDATE_WIDTH, SUMMARY_WIDTH
from export.graphs import export_module
from export.parity import COSINE_MIN, ParityError, encoder_parity, random_tokens, session
from export.writer import encoder_files
from tests.export.conftest import Exported
from tests.support.artefacts import REPOSITORY
from tests.trainer.multimodal import multimodal_settings
from trainer.model import AlertModel

LIGHT_CURVE_SPEC = {
    "mean": [0.0] * (SUMMARY_WIDTH + CANDIDATE_WIDTH),
    "std": [1.0] * (SUMMARY_WIDTH + CANDIDATE_WIDTH),
}


def encoders(exported: Exported) -> list[tuple[str, int, int]]:
    manifest = open_bundle(exported.bundle).manifest
    return [(model.name, length, batch) for model in manifest.modalities for length, batch in model.shapes]


def test_encoders_agree_with_torch_at_every_shape(exported: Exported, rng: np.random.Generator) -> None:
    bundle = open_bundle(exported.bundle)
    for name, length, batch in encoders(exported):
        width = build_modality(name, exported.prepared.run.specs[name]).width
        tokens, mask = random_tokens(rng, batch, length, width)
        graph = session(bundle.graph(f"{name}.onnx"))
        found = graph.run(None, {"tokens": tokens, "mask": mask})[0]
        with torch.no_grad():
            expected = exported.model.encode(name, torch.from_numpy(tokens), torch.from_numpy(mask)).numpy()
        assert (found * expected).sum(axis=1).min() >= COSINE_MIN


@pytest.mark.parametrize("threads", [1, 2])
def test_a_row_has_the_same_bits_at_any_place_beside_any_others(
    exported: Exported, rng: np.random.Generator, threads: int
) -> None:
    bundle = open_bundle(exported.bundle)
    for name, length, batch in encoders(exported):
        width = build_modality(name, exported.prepared.run.specs[name]).width
        graph = session(bundle.graph(f"{name}.onnx"), threads=threads)
        tokens, mask = random_tokens(rng, batch, length, width)
        expected = graph.run(None, {"tokens": tokens, "mask": mask})[0]
        for _ in range(4):
            row, place = rng.integers(batch, size=2)
            others, their_mask = random_tokens(rng, batch, length, width)
            if rng.random() < 0.5:
                others[:], their_mask[:] = 0.0, False
            others[place], their_mask[place] = tokens[row], mask[row]
            found = graph.run(None, {"tokens": others, "mask": their_mask})[0]
            assert np.isfinite(found).all()
            assert np.array_equal(found[place], expected[row])


@pytest.mark.parametrize("threads", [1, 2])
def test_the_head_agrees_with_torch_and_its_rows_are_independent(
    exported: Exported, rng: np.random.Generator, threads: int
) -> None:
    bundle = open_bundle(exported.bundle)
    head = bundle.manifest.head
    dim, n = bundle.manifest.embedding_dim, len(bundle.manifest.modalities)
    embeddings = rng.normal(size=(head.batch, n, dim)).astype(np.float32)
    embeddings /= np.linalg.norm(embeddings, axis=2, keepdims=True)
    present = rng.random((head.batch, n)) < 0.6
    present[0] = False
    graph = session(bundle.graph(head.file), threads=threads)
    outputs = graph.run(None, {"embeddings": embeddings, "present": present})
    fused, logits, similarity, neighbour, oddity, surprise = outputs
    assert all(np.isfinite(values).all() for values in (fused, logits, similarity, oddity, surprise))
    with torch.no_grad():
        plain = exported.model.head(torch.from_numpy(fused)) + exported.model.head.log_prior
        strange = exported.model.head.surprise(torch.from_numpy(fused))
    # One product of float32 matrices in another order.
    np.testing.assert_allclose(logits, plain.numpy(), atol=1e-5)
    np.testing.assert_allclose(surprise, strange.numpy(), atol=1e-4)
    np.testing.assert_allclose(oddity.sum(axis=1), 1.0, atol=1e-6)
    assert (oddity.shape[1], surprise.shape[1]) == (len(head.oddities), len(head.surprise))
    assert (np.diff(similarity, axis=1) <= 0).all()
    assert neighbour.dtype == np.int64
    order = rng.permutation(head.batch)
    again = graph.run(None, {"embeddings": embeddings[order], "present": present[order]})
    for before, after in zip(outputs, again, strict=True):
        assert np.array_equal(after, before[order])


def test_the_nearest_references_are_those_of_the_greatest_cosine(
    exported: Exported, rng: np.random.Generator
) -> None:
    bundle = open_bundle(exported.bundle)
    with np.load(exported.run / "references.npz") as archive:
        reference, label = archive["embedding"], archive["label"]
    batch, n = bundle.manifest.head.batch, len(bundle.manifest.modalities)
    embeddings = np.zeros((batch, n, reference.shape[1]), np.float32)
    rows = rng.integers(len(reference), size=batch)
    embeddings[:, 0] = reference[rows]
    present = np.zeros((batch, n), np.bool_)
    present[:, 0] = True
    graph = session(bundle.graph(bundle.manifest.head.file))
    _, _, similarity, neighbour, *_ = graph.run(None, {"embeddings": embeddings, "present": present})
    assert similarity[:, 0] == pytest.approx(np.ones(batch), abs=1e-6)  # float32 unit vectors
    expected = (reference[rows] @ reference.T)[np.arange(batch)[:, None], neighbour]
    np.testing.assert_allclose(similarity, expected, atol=1e-6)
    assert bundle.arrays(bundle.manifest.reference_file)["label"].tolist() == label.tolist()


def test_batch_and_length_are_symbolic_in_the_graphs(exported: Exported) -> None:
    bundle = open_bundle(exported.bundle)
    graph = onnx.load_from_string(bundle.graph("photometry.onnx")).graph
    names = [[axis.dim_param for axis in tensor.type.tensor_type.shape.dim[:2]] for tensor in graph.input]
    assert all(all(axes) for axes in names)


def test_a_bundle_does_not_tell_where_it_was_made(exported: Exported) -> None:
    places = (str(REPOSITORY).encode(), str(exported.bundle.parent).encode(), b"site-packages")
    for bundle in (exported.bundle, "default"):
        for name, content in open_bundle(bundle).contents.items():
            assert not any(place in content for place in places), name


def light_curve_model(seed: int) -> AlertModel:
    torch.manual_seed(seed)
    sizes = {"model_dim": 16, "heads": 2, "layers": 2, "feedforward_dim": 32}
    settings = multimodal_settings({"light_curve": {"encoder": sizes}})
    return AlertModel({"light_curve": LIGHT_CURVE_SPEC}, 2, settings).eval()


def test_alerts_of_one_token_have_a_graph_that_does_the_same(rng: np.random.Generator) -> None:
    model = light_curve_model(1)
    exported, graphs = encoder_files(model, "light_curve", LIGHT_CURVE_SPEC)
    assert exported.lone is not None
    assert (exported.file_at(1), exported.file_at(4)) == (exported.lone, exported.file)
    assert set(graphs) == set(exported.files)
    assert len(graphs[exported.lone]) < len(graphs[exported.file])
    tokens, mask = random_tokens(rng, 64, 1, SUMMARY_WIDTH + CANDIDATE_WIDTH)
    found = session(graphs[exported.lone]).run(None, {"tokens": tokens, "mask": mask})[0]
    with torch.no_grad():
        expected = model.encode("light_curve", torch.from_numpy(tokens), torch.from_numpy(mask)).numpy()
    np.testing.assert_allclose(found, expected, atol=1e-6)  # float32 unit vectors, another order of sums


def test_a_graph_of_one_token_that_does_something_else_is_not_written() -> None:
    model = light_curve_model(1)
    exported, graphs = encoder_files(model, "light_curve", LIGHT_CURVE_SPEC)
    _, others = encoder_files(light_curve_model(2), "light_curve", LIGHT_CURVE_SPEC)
    assert exported.lone is not None
    with pytest.raises(ParityError, match="light_curve: cosine"):
        encoder_parity(graphs | {exported.lone: others[exported.lone]}, model, exported)


def test_an_axis_that_was_fixed_on_export_is_refused() -> None:
    example = {"x": torch.zeros(3, 4)}
    fixed = torch.nn.Identity()
    with pytest.raises(RuntimeError, match="fixed at 3"):
        export_module(_Doubled(fixed), example, ["y"], {"x": {0: None}})


class _Doubled(torch.nn.Module):
    def __init__(self, inner: torch.nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        doubled: torch.Tensor = self.inner(x) * 2
        return doubled
