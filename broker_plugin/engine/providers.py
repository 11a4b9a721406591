# SPDX-License-Identifier: BSD-3-Clause
"""Which device the graphs run on. There is no silent fallback.

ONNX Runtime lists CUDA as available wherever its CUDA wheel is installed, and a session that cannot have it
comes up on the CPU with a line on standard error; OpenVINO's does so without. Here `cuda` means CUDA and
`openvino` OpenVINO, or an error that names the cause, and only `auto` may choose, and says what it took and
why. What counts is a session that was opened and ran.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType

from broker_plugin.engine.cuda import CudaFault, Driver, find_cuda_fault, find_driver, gpu_of_worker
from broker_plugin.engine.openvino import OPENVINO_OPTIONS, require_openvino
from broker_plugin.engine.runtime import (
    CPU_PROVIDER,
    CUDA_PROVIDER,
    OPENVINO_PROVIDER,
    load_runtime,
    named_wheels,
)
from broker_plugin.errors import ProviderError
from broker_plugin.precision import Precision

__all__ = ["CUDA_OPTIONS", "Device", "ProviderChoice", "choose", "cpu_choice", "cuda_options"]

CUDA_OPTIONS: Mapping[str, str] = MappingProxyType(
    {
        "use_tf32": "0",
        "cudnn_conv_algo_search": "HEURISTIC",
        "arena_extend_strategy": "kSameAsRequested",
    }
)
"""Without the first, Ampere and later GPUs round the factors of a matrix product to 10 bits and call it fp32;
without the second, kernels are timed at every new shape and the fastest of that moment wins, so that two runs
differ; without the third, the memory pool grows by doubling."""


class Device(StrEnum):
    """Where to compute."""

    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"
    OPENVINO = "openvino"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderChoice:
    """The provider that was taken.

    Parameters
    ----------
    provider, options
        ONNX Runtime's name for it, and its settings: such as can be handed to another process.
    device
        `cpu`, `cuda` or `openvino`, never `auto`.
    precision
        The finest that it computes in. Nothing is computed in less than the graphs are made for.
    reason
        One line on why this provider, for a log.
    warnings
        What an operator should look at, such as a GPU that is there and cannot be used.
    """

    provider: str
    device: Device
    reason: str
    options: Mapping[str, str] = field(default_factory=dict)
    precision: Precision = Precision.FP32
    warnings: tuple[str, ...] = ()


def choose(device: Device | str = Device.AUTO, *, worker: int = 0) -> ProviderChoice:
    """Return the provider for a device, after a probe has run on it.

    Parameters
    ----------
    worker
        Number of this process among those that share the machine's GPUs: each takes the next GPU.

    Raises
    ------
    ProviderError
        If the device cannot be had; the message says what is missing and what to install. Also, for every
        device, if ONNX Runtime is missing or installed twice.

    Examples
    --------
    >>> choose("cpu").provider
    'CPUExecutionProvider'
    """
    if device not in set(Device):
        raise ProviderError(f"there is no device {device!r}", remedy=f"set it to {', '.join(Device)}")
    wanted = Device(device)
    load_runtime()
    if wanted is Device.CPU:
        return cpu_choice()
    if wanted is Device.OPENVINO:
        return _openvino_choice()
    gpu = gpu_of_worker(worker)
    fault = find_cuda_fault(cuda_options(gpu))
    if fault is None:
        return _cuda_choice(wanted, gpu)
    if wanted is Device.CUDA:
        raise ProviderError(
            f"device cuda cannot be had: {fault.what}", remedy=f"{fault.remedy}, or set the device to cpu"
        )
    return _cpu_instead(fault)


def cpu_choice() -> ProviderChoice:
    """Return the CPU provider: also that of forests on any device, since trees have no CUDA kernel."""
    load_runtime()
    return ProviderChoice(
        provider=CPU_PROVIDER, device=Device.CPU, reason=f"cpu was asked for; {named_wheels()}"
    )


def cuda_options(gpu: int) -> dict[str, str]:
    """Return the settings of the CUDA provider on a GPU, by its number among those that CUDA shows.

    Examples
    --------
    >>> cuda_options(1)["device_id"]
    '1'
    """
    # The first is its default, and then it looks for no plug-in that would know of devices by number.
    return {**CUDA_OPTIONS, **({} if gpu == 0 else {"device_id": str(gpu)})}


def _cuda_choice(wanted: Device, gpu: int) -> ProviderChoice:
    took = "auto took cuda" if wanted is Device.AUTO else "cuda was asked for"
    driver = find_driver()
    named = _named(driver.gpus, gpu) if isinstance(driver, Driver) else "the GPU"
    return ProviderChoice(
        provider=CUDA_PROVIDER,
        options=cuda_options(gpu),
        device=Device.CUDA,
        reason=f"{took}: a probe ran on {named}; {named_wheels()}",
    )


def _named(gpus: tuple[str, ...], gpu: int) -> str:
    return gpus[gpu] if len(gpus) == 1 else f"GPU {gpu} of 0 to {len(gpus) - 1}, {gpus[gpu]}"


def _openvino_choice() -> ProviderChoice:
    require_openvino()
    return ProviderChoice(
        provider=OPENVINO_PROVIDER,
        options=dict(OPENVINO_OPTIONS),
        device=Device.OPENVINO,
        reason=f"openvino was asked for: a probe ran; {named_wheels()}",
    )


def _cpu_instead(fault: CudaFault) -> ProviderChoice:
    warnings = (f"a GPU lies idle: {fault.what}; {fault.remedy}",) if fault.gpu_idle else ()
    return ProviderChoice(
        provider=CPU_PROVIDER,
        device=Device.CPU,
        reason=f"auto took cpu: {fault.what}",
        warnings=warnings,
    )
