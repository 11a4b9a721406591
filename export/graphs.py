# SPDX-License-Identifier: BSD-3-Clause
"""Encoders and head as ONNX graphs of dynamic batch and length."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import onnx
import torch
from torch import nn

from broker_plugin.features.base import build_modality
from trainer.model import AlertModel, fuse

__all__ = ["OPSET", "encoder_graph", "export_module", "head_graph", "lone_graph"]

OPSET = 20
"""Newest operator set that every ONNX Runtime from 1.22 on runs, on CPU and CUDA."""

EXAMPLE_BATCH = 3
"""Rows of the example. With one row the exporter silently fixes the batch at one."""

EXAMPLE_LENGTH = 5
"""Tokens of the example, likewise."""


class _Encoder(nn.Module):
    """One modality's encoder, zero where the modality is missing."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, tokens: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        embedding: torch.Tensor = self.encoder(tokens, mask)
        return embedding


class _Head(nn.Module):
    """Fusion, classifier and nearest labelled objects."""

    reference: torch.Tensor

    def __init__(self, model: AlertModel, reference: torch.Tensor, neighbours: int) -> None:
        super().__init__()
        self.head = model.head
        self.neighbours = neighbours
        self.register_buffer("reference", reference.T.contiguous())

    def forward(self, embeddings: torch.Tensor, present: torch.Tensor) -> tuple[torch.Tensor, ...]:
        fused = fuse(embeddings, present)
        logits = self.head(fused) + self.head.log_prior
        similarity, neighbour = torch.topk(fused @ self.reference, self.neighbours, dim=1)
        if self.head.oddity is None:
            return fused, logits, similarity, neighbour
        oddity = torch.softmax(self.head.oddity(fused), dim=1)
        return fused, logits, similarity, neighbour, oddity, self.head.surprise(fused)


def encoder_graph(model: AlertModel, name: str, spec: Mapping[str, Any]) -> bytes:
    """Return the graph `tokens` (B, T, F), `mask` (B, T) -> `embedding` (B, D) of one modality."""
    axes = {0: torch.export.Dim("batch", min=1), 1: torch.export.Dim("length", min=1)}
    return _tokens_graph(model.encoders[name], name, spec, length=EXAMPLE_LENGTH, axes=axes)


def lone_graph(model: AlertModel, name: str, spec: Mapping[str, Any]) -> bytes | None:
    """Return the graph that does the same at one token for less, None where the encoder has none."""
    lone = getattr(model.encoders[name], "lone", None)
    if lone is None:
        return None
    return _tokens_graph(lone(), name, spec, length=1, axes={0: torch.export.Dim("batch", min=1)})


def head_graph(model: AlertModel, reference: torch.Tensor, *, neighbours: int) -> bytes:
    """Return the graph of fusion, logits and nearest references; see `broker_plugin.bundle.HeadModel`."""
    embeddings = torch.nn.functional.normalize(
        torch.randn(EXAMPLE_BATCH, len(model.modalities), model.embedding_dim), dim=2
    )
    present = torch.ones(EXAMPLE_BATCH, len(model.modalities), dtype=torch.bool)
    batch = torch.export.Dim("batch", min=1)
    outputs = ["fused", "logits", "similarity", "neighbour"]
    if model.head.oddity is not None:
        outputs += ["oddity", "surprise"]
    return export_module(
        _Head(model, reference, neighbours),
        {"embeddings": embeddings, "present": present},
        outputs,
        {"embeddings": {0: batch}, "present": {0: batch}},
    )


def export_module(
    module: nn.Module,
    example: Mapping[str, torch.Tensor],
    outputs: Sequence[str],
    dynamic: Mapping[str, Mapping[int, Any]],
) -> bytes:
    """Return a module as the bytes of an ONNX graph.

    Raises
    ------
    RuntimeError
        If an axis that should be dynamic was fixed.
    """
    with warnings.catch_warnings():
        # torch announces its own deprecations while it exports; they are nothing that a user could mend.
        warnings.simplefilter("ignore")
        logging.getLogger("torch.onnx").setLevel(logging.ERROR)
        program = torch.onnx.export(
            module.eval(),
            kwargs=dict(example),
            input_names=list(example),
            output_names=list(outputs),
            dynamic_shapes={name: dict(axes) for name, axes in dynamic.items()},
            opset_version=OPSET,
            dynamo=True,
            external_data=False,
            verbose=False,
        )
    if program is None:
        raise RuntimeError("torch.onnx.export gave no program; is this torch older than 2.6?")
    graph = program.model_proto
    _forget_origin(graph)
    _require_dynamic(graph, dynamic)
    onnx.checker.check_model(graph)
    return bytes(graph.SerializeToString())


def _tokens_graph(
    encoder: nn.Module, name: str, spec: Mapping[str, Any], *, length: int, axes: Mapping[int, Any]
) -> bytes:
    tokens = torch.zeros(EXAMPLE_BATCH, length, build_modality(name, spec).width)
    mask = torch.ones(EXAMPLE_BATCH, length, dtype=torch.bool)
    return export_module(
        _Encoder(encoder),
        {"tokens": tokens, "mask": mask},
        ["embedding"],
        {"tokens": axes, "mask": axes},
    )


def _forget_origin(model: onnx.ModelProto) -> None:
    """Drop what the exporter notes of each node's source: lines of code and the paths of this machine."""
    graph = model.graph
    tensors = (*graph.value_info, *graph.input, *graph.output, *graph.initializer)
    for part in (model, graph, *graph.node, *tensors):
        del part.metadata_props[:]
        part.ClearField("doc_string")


def _require_dynamic(graph: onnx.ModelProto, dynamic: Mapping[str, Mapping[int, Any]]) -> None:
    for tensor in graph.graph.input:
        for axis in dynamic[tensor.name]:
            dimension = tensor.type.tensor_type.shape.dim[axis]
            if not dimension.dim_param:
                raise RuntimeError(
                    f"axis {axis} of {tensor.name} was fixed at {dimension.dim_value} on export"
                )
