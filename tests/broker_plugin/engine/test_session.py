# SPDX-License-Identifier: BSD-3-Clause
from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx.reference import ReferenceEvaluator

from broker_plugin.bundle import open_bundle
from broker_plugin.engine.providers import CUDA_OPTIONS, Device, ProviderChoice, choose, cpu_choice
from broker_plugin.engine.runtime import (
    CPU_PROVIDER,
    CUDA_PROVIDER,
    offered_providers,
    open_raw_session,
    placement_is_known,
)
from broker_plugin.engine.session import open_session
from broker_plugin.errors import BundleError, ProviderError
from broker_plugin.features.base import build_modality
from tests.broker_plugin.engine.graphs import attention_graph, attention_inputs, forest_graph

AZURE = "AzureExecutionProvider"
"""A provider of the CPU wheel that takes any session and computes nothing itself."""

SHAPES = [(1, 3), (16, 32), (4, 200)]

ROUNDING = 2e-6
"""Largest error of sums of up to 200 products of order 1 in fp32 (eps 6e-8), in any order: about 30 eps."""


@pytest.mark.parametrize(("batch", "length"), SHAPES)
def test_a_session_computes_what_the_reference_implementation_does(
    rng: np.random.Generator, batch: int, length: int
) -> None:
    graph = attention_graph(rng)
    inputs = attention_inputs(rng, batch, length)
    (expected,) = ReferenceEvaluator(onnx.load_from_string(graph)).run(None, inputs)
    found = open_session(graph, cpu_choice()).run(inputs)
    assert list(found) == ["embedding"]
    np.testing.assert_allclose(found["embedding"], expected, rtol=0, atol=ROUNDING)


def test_two_sessions_give_the_same_bits(rng: np.random.Generator) -> None:
    graph = attention_graph(rng)
    inputs = attention_inputs(rng, 64, 128)
    first = open_session(graph, cpu_choice()).run(inputs)["embedding"]
    second = open_session(graph, cpu_choice()).run(inputs)["embedding"]
    assert np.array_equal(first, second)


def test_an_alert_is_the_same_in_every_row_of_a_batch(rng: np.random.Generator) -> None:
    session = open_session(attention_graph(rng), cpu_choice())
    tokens = attention_inputs(rng, 16, 32)["tokens"]
    whole = session.run({"tokens": tokens})["embedding"]
    reversed_rows = session.run({"tokens": np.ascontiguousarray(tokens[::-1])})["embedding"]
    assert np.array_equal(whole, reversed_rows[::-1])


def test_a_shape_that_the_graph_does_not_have_is_refused(rng: np.random.Generator) -> None:
    session = open_session(attention_graph(rng), cpu_choice())
    with pytest.raises(Exception, match=r"Got invalid dimensions"):
        session.run({"tokens": np.zeros((1, 3, 8), np.float32)})


@pytest.mark.skipif(
    AZURE not in offered_providers(), reason="this wheel has no provider that computes nothing"
)
@pytest.mark.skipif(not placement_is_known(), reason="this ONNX Runtime does not say where a node runs")
def test_a_provider_that_leaves_the_work_to_the_cpu_is_refused(rng: np.random.Generator) -> None:
    graph = attention_graph(rng)
    choice = ProviderChoice(provider=AZURE, device=Device.CPU, reason="for a test")
    # Looking at the first provider alone would have believed it.
    assert open_raw_session(graph, AZURE, {}).get_providers()[0] == AZURE
    with pytest.raises(ProviderError, match=r"left .*MatMul.* to the CPU"):
        open_session(graph, choice)


def test_a_provider_that_the_wheel_lacks_is_refused_before_a_session_is_opened(
    rng: np.random.Generator,
) -> None:
    choice = ProviderChoice(provider="CoreMLExecutionProvider", device=Device.CPU, reason="for a test")
    with pytest.raises(ProviderError, match="CoreMLExecutionProvider"):
        open_session(attention_graph(rng), choice)


@pytest.mark.skipif(CUDA_PROVIDER not in offered_providers(), reason="this wheel has no CUDA provider")
def test_the_cuda_wheel_is_refused_where_it_would_fall_back(rng: np.random.Generator) -> None:
    graph = attention_graph(rng)
    taken = open_raw_session(graph, CUDA_PROVIDER, CUDA_OPTIONS).get_providers()
    choice = ProviderChoice(
        provider=CUDA_PROVIDER, options=CUDA_OPTIONS, device=Device.CUDA, reason="for a test"
    )
    if taken[0] == CUDA_PROVIDER:
        assert open_session(graph, choice).choice is choice
    else:
        with pytest.raises(ProviderError, match=CPU_PROVIDER):
            open_session(graph, choice)


@pytest.mark.parametrize("graph", [b"", b"not a graph", b"\x08\x08:\x02\x0a\x00"])
def test_bytes_that_are_no_graph_are_a_defect_of_the_bundle(graph: bytes) -> None:
    with pytest.raises(BundleError, match="restore the bundle"):
        open_session(graph, cpu_choice())


def test_a_graph_of_a_newer_opset_is_refused_with_the_way_out(rng: np.random.Generator) -> None:
    model = onnx.load_from_string(attention_graph(rng))
    model.opset_import[0].version = 999
    with pytest.raises(BundleError, match="newer ONNX Runtime"):
        open_session(model.SerializeToString(), cpu_choice())


def test_opening_and_refusing_write_nothing_but_the_error(
    rng: np.random.Generator, capfd: pytest.CaptureFixture[str]
) -> None:
    open_session(attention_graph(rng), cpu_choice())
    with pytest.raises(BundleError):
        open_session(b"not a graph", cpu_choice())
    assert capfd.readouterr() == ("", "")


def test_a_tree_sends_equality_to_the_left() -> None:
    above = np.nextafter(np.float32(0.5), np.float32(1))
    embedding = np.array([[0.5, 9.0], [above, -9.0]], np.float32)
    score = open_session(forest_graph(), cpu_choice()).run({"embedding": embedding})["score"]
    assert score.ravel().tolist() == [1.0, 2.0]


@pytest.mark.gpu
@pytest.mark.parametrize(("batch", "length"), SHAPES)
def test_cuda_agrees_with_the_cpu(rng: np.random.Generator, batch: int, length: int) -> None:
    graph = attention_graph(rng)
    inputs = attention_inputs(rng, batch, length)
    session = open_session(graph, choose("cuda"))
    assert session.choice.provider == CUDA_PROVIDER
    assert {"MatMul", "FusedMatMul"} & session.node_types[CUDA_PROVIDER]
    expected = open_session(graph, cpu_choice()).run(inputs)["embedding"]
    # Without TF32 both are fp32 and differ by the order of their sums; TF32 would be off by 1e-3.
    np.testing.assert_allclose(session.run(inputs)["embedding"], expected, rtol=0, atol=ROUNDING)


@pytest.mark.gpu
def test_every_graph_of_the_default_bundle_runs_on_cuda_as_on_the_cpu(rng: np.random.Generator) -> None:
    bundle = open_bundle("default")
    choice = choose("cuda")
    for model in bundle.manifest.modalities:
        width = build_modality(model.name, model.spec).width
        for length, batch in model.shapes:
            graph = bundle.graph(model.file_at(length))
            on_cuda, on_cpu = open_session(graph, choice), open_session(graph, cpu_choice())
            mask = np.arange(length) < rng.integers(1, length + 1, batch)[:, None]
            tokens = rng.standard_normal((batch, length, width)).astype(np.float32) * mask[:, :, None]
            inputs = {"tokens": tokens, "mask": mask}
            expected = on_cpu.run(inputs)["embedding"]
            found = on_cuda.run(inputs)["embedding"]
            # Unit vectors through a few layers of fp32; the agreement that torch and ONNX are held to.
            assert (expected * found).sum(axis=1).min() >= 0.9999
            np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4)


@pytest.mark.gpu
def test_two_cuda_sessions_give_the_same_bits(rng: np.random.Generator) -> None:
    graph, inputs = attention_graph(rng), attention_inputs(rng, 64, 128)
    choice = choose("cuda")
    first, second = (open_session(graph, choice).run(inputs)["embedding"] for _ in range(2))
    assert np.array_equal(first, second)


@pytest.mark.gpu
def test_a_forest_is_refused_on_cuda_since_it_would_run_on_the_cpu() -> None:
    with pytest.raises(ProviderError, match="TreeEnsembleRegressor"):
        open_session(forest_graph(), choose("cuda"))
