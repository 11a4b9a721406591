# SPDX-License-Identifier: BSD-3-Clause
"""ONNX Runtime itself: which wheel is installed, and how a session of it is opened.

Several wheels install the module `onnxruntime`, and nothing in their metadata forbids having two: the one
unpacked last wins, and uninstalling either breaks the other. So two are refused before the first import.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Mapping
from functools import cache
from importlib import metadata
from typing import Any

from broker_plugin.errors import ProviderError
from broker_plugin.signals import unbroken

__all__ = [
    "CPU_PROVIDER",
    "CUDA_PROVIDER",
    "OPENVINO_PROVIDER",
    "TELEMETRY_OFF",
    "installed_wheels",
    "load_runtime",
    "named_wheels",
    "node_types_by_provider",
    "offered_providers",
    "open_raw_session",
    "placement_is_known",
    "runtime_errors",
]

CPU_PROVIDER = "CPUExecutionProvider"
CUDA_PROVIDER = "CUDAExecutionProvider"
OPENVINO_PROVIDER = "OpenVINOExecutionProvider"

WHEELS = (
    "onnxruntime",
    "onnxruntime-gpu",
    "onnxruntime-openvino",
    "onnxruntime-directml",
    "onnxruntime-qnn",
    "onnxruntime-rocm",
    "onnxruntime-training",
)
"""Distributions that install the module `onnxruntime`; one left out here could overwrite another unseen."""

TELEMETRY_OFF = "ORT_DISABLE_TELEMETRY"
"""Set to 1 before the import, it keeps ONNX Runtime (from 1.29 on) from telling its makers what it opens
on which machine, and from writing an identifier of the machine into the home directory (its Privacy.md)."""

FATAL_ONLY = 4
"""Severity at which the runtime's own log speaks; our message stands in place of its lines."""


def installed_wheels() -> dict[str, str]:
    """Return the installed distributions of ONNX Runtime and their versions."""
    found: dict[str, str] = {}
    for name in WHEELS:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def named_wheels() -> str:
    """Return the installed distributions of ONNX Runtime as words."""
    return " and ".join(f"{name} {version}" for name, version in installed_wheels().items()) or "none"


@cache
def load_runtime() -> Any:
    """Import ONNX Runtime and return the module.

    Raises
    ------
    ProviderError
        If no wheel of it is installed, or two are, or it cannot be imported.
    """
    wheels = installed_wheels()
    if len(wheels) > 1:
        raise ProviderError(
            f"{named_wheels()} are both installed and overwrite each other's files, so neither can be "
            "trusted",
            remedy=(
                f"run `pip uninstall --yes {' '.join(wheels)}` and then install one of "
                "`astrom3-broker[cpu]`, `astrom3-broker[gpu]`, `astrom3-broker[openvino]`"
            ),
        )
    os.environ.setdefault(TELEMETRY_OFF, "1")
    try:
        with unbroken():  # what a signal raises while it is imported looks like a damaged wheel
            module = importlib.import_module("onnxruntime")
        # The folder that a half-removed wheel leaves behind imports as an empty namespace.
        _ = module.InferenceSession
    except ModuleNotFoundError as error:
        if error.name != "onnxruntime":
            raise _broken(wheels, error) from error
        raise ProviderError(
            "ONNX Runtime is not installed",
            remedy=(
                "install one of `astrom3-broker[cpu]` (any processor), `astrom3-broker[gpu]` "
                "(NVIDIA), `astrom3-broker[openvino]` (Intel)"
            ),
        ) from error
    except (ImportError, AttributeError) as error:
        raise _broken(wheels, error) from error
    return module


def offered_providers() -> tuple[str, ...]:
    """Return the providers that the wheel was built with, whether or not this machine can run them."""
    return tuple(load_runtime().get_available_providers())


def runtime_errors() -> tuple[type[Exception], ...]:
    """Return the classes of exception that ONNX Runtime raises; they have no common base."""
    state = load_runtime().capi.onnxruntime_pybind11_state
    named = ("EPFail", "Fail", "InvalidArgument", "InvalidGraph", "InvalidProtobuf", "NotImplemented")
    own = [getattr(state, name) for name in (*named, "RuntimeException")]
    return (*own, RuntimeError, ValueError)


def open_raw_session(
    graph: bytes,
    provider: str,
    options: Mapping[str, str],
    *,
    threads: int = 1,
    cpu_may_help: bool = True,
) -> Any:
    """Open a session whose nodes go to one provider, and otherwise to the CPU, if that may help.

    The runtime's own retries on another provider, at opening and in `run`, are off.
    """
    runtime = load_runtime()
    settings = runtime.SessionOptions()
    settings.intra_op_num_threads = threads
    settings.inter_op_num_threads = 1
    settings.execution_mode = runtime.ExecutionMode.ORT_SEQUENTIAL
    settings.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_ENABLE_ALL
    settings.use_deterministic_compute = True
    settings.log_severity_level = FATAL_ONLY
    settings.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    providers: list[tuple[str, dict[str, str]]] = [(provider, dict(options))]
    if provider != CPU_PROVIDER and cpu_may_help:
        providers.append((CPU_PROVIDER, {}))
    elif provider != CPU_PROVIDER:
        settings.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
    session = runtime.InferenceSession(graph, settings, providers=providers, enable_fallback=0)
    session.disable_fallback()
    return session


def placement_is_known() -> bool:
    """Tell whether this version of ONNX Runtime says which provider was given which node (1.24 does)."""
    return hasattr(load_runtime().InferenceSession, "get_provider_graph_assignment_info")


def node_types_by_provider(session: Any) -> dict[str, frozenset[str]]:
    """Return which kinds of node each provider was given, empty where the runtime is too old to say."""
    if not placement_is_known():
        return {}
    kinds: dict[str, set[str]] = {}
    for part in session.get_provider_graph_assignment_info():
        kinds.setdefault(part.ep_name, set()).update(node.op_type for node in part.get_nodes())
    return {provider: frozenset(found) for provider, found in kinds.items()}


def _broken(wheels: Mapping[str, str], error: Exception) -> ProviderError:
    named = " ".join(wheels) or "onnxruntime"
    return ProviderError(
        f"ONNX Runtime is there but cannot be imported ({error})",
        remedy=f"run `pip install --force-reinstall {named}`",
    )
