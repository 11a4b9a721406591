# SPDX-License-Identifier: BSD-3-Clause
"""One graph on one provider."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray

from broker_plugin.engine.opening import begin_step
from broker_plugin.engine.providers import ProviderChoice
from broker_plugin.engine.runtime import (
    CPU_PROVIDER,
    node_types_by_provider,
    offered_providers,
    open_raw_session,
    placement_is_known,
    runtime_errors,
)
from broker_plugin.errors import BundleError, ProviderError

__all__ = ["FixedShapeSession", "open_session"]

COSTLY_NODES = frozenset(
    {
        "Attention",
        "Conv",
        "Einsum",
        "FusedConv",
        "FusedGemm",
        "FusedMatMul",
        "Gemm",
        "LayerNormalization",
        "MatMul",
        "MultiHeadAttention",
        "Softmax",
        "TreeEnsemble",
        "TreeEnsembleClassifier",
        "TreeEnsembleRegressor",
    }
)
"""Nodes that must lie on the chosen provider. The others may go to the CPU: ONNX Runtime keeps arithmetic on
shapes there on purpose, and to forbid that would refuse every graph of flexible length."""


class FixedShapeSession:
    """A graph that is run at a few fixed shapes. Make it with `open_session`.

    The last bits of a result may depend on the shape, so callers pad their batches to shapes that never vary.
    """

    def __init__(self, session: Any, choice: ProviderChoice) -> None:
        self.choice = choice
        self._session = session
        self._outputs = [output.name for output in session.get_outputs()]

    @property
    def on_cpu(self) -> bool:
        """Tell whether ONNX Runtime's own kernels for the CPU run it."""
        return self.choice.provider == CPU_PROVIDER

    @property
    def node_types(self) -> dict[str, frozenset[str]]:
        """Return which kinds of node each provider was given."""
        return node_types_by_provider(self._session)

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Return the graph's outputs by name."""
        return dict(zip(self._outputs, self._session.run(self._outputs, dict(inputs)), strict=True))


def open_session(graph: bytes, choice: ProviderChoice, *, threads: int = 1) -> FixedShapeSession:
    """Open a graph on the chosen provider, and on no other.

    Parameters
    ----------
    graph
        The bytes of an ONNX file.
    choice
        What `providers.choose` returned.
    threads
        Threads within one graph; one process a core with one thread each is faster.

    Raises
    ------
    ProviderError
        If the session came up on another provider, or left the work of the graph to the CPU.
    BundleError
        If the CPU cannot open the graph either.
    """
    begin_step()
    if choice.provider not in offered_providers():
        raise ProviderError(
            f"this wheel of ONNX Runtime has no {choice.provider}, only {', '.join(offered_providers())}",
            remedy="choose the device again",
        )
    try:
        # Where the CPU's share cannot be seen, it may have none.
        session = open_raw_session(
            graph, choice.provider, choice.options, threads=threads, cpu_may_help=placement_is_known()
        )
    except runtime_errors() as error:
        raise _cannot_open(error, choice) from error
    _require_provider(session, choice)
    return FixedShapeSession(session, choice)


def _cannot_open(error: Exception, choice: ProviderChoice) -> ProviderError | BundleError:
    found = f"ONNX Runtime cannot open a graph on {choice.provider} ({error})"
    if choice.provider == CPU_PROVIDER:
        return BundleError(found, remedy="restore the bundle, or install a newer ONNX Runtime")
    return ProviderError(
        found, remedy="see whether the GPU has memory left (`nvidia-smi`), or set the device to cpu"
    )


def _require_provider(session: Any, choice: ProviderChoice) -> None:
    got = session.get_providers()
    if got[0] != choice.provider:
        raise ProviderError(
            f"a session was opened on {choice.provider} and came up on {', '.join(got)}",
            remedy="run `broker-plugin doctor`, or set the device to cpu",
        )
    if choice.provider == CPU_PROVIDER:
        return
    strayed = node_types_by_provider(session).get(CPU_PROVIDER, frozenset()) & COSTLY_NODES
    if strayed:
        raise ProviderError(
            f"{choice.provider} took the session but left {', '.join(sorted(strayed))} to the CPU",
            remedy="set the device to cpu, or export the bundle for this provider",
        )
