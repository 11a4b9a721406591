# SPDX-License-Identifier: BSD-3-Clause
"""Whether CUDA computes here, and if not, which part is missing.

A tiny graph is opened with CUDA as its only provider, and run. If that fails, ONNX Runtime's own message does
not name the cause, so the parts are asked one by one: wheel, driver, GPU, libraries.
"""

from __future__ import annotations

import contextlib
import ctypes
import io
import os
import re
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from broker_plugin.engine.probe import probe_failure
from broker_plugin.engine.runtime import (
    CUDA_PROVIDER,
    installed_wheels,
    load_runtime,
    named_wheels,
    offered_providers,
)

__all__ = [
    "CudaFault",
    "Driver",
    "find_cuda_fault",
    "find_driver",
    "gpu_of_worker",
]

DRIVER_LIBRARY = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
"""The driver's own library. No package brings it: it belongs to the kernel module of the machine."""

CUDA_LIBRARIES = ("libcudart.so.{major}", "libcublasLt.so.{major}", "libcublas.so.{major}", "libcurand.so.10")
"""What ONNX Runtime's CUDA provider is linked to, by the CUDA major that it was built for."""

CUDNN_LIBRARY = "libcudnn.so.9"
"""Opened by the CUDA provider when it starts; version 9 since ONNX Runtime 1.19."""

NAME_BYTES = 256
"""Room for a GPU's name; NVIDIA's are far shorter."""

ESCAPES = re.compile(r"\x1b\[[0-9;]*m")
LOG_HEAD = re.compile(r"^\S+ \S+ \[[^\]]*\] ")
"""Colours, and time and place, that ONNX Runtime puts into its log."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Driver:
    """What the NVIDIA driver says: the newest CUDA that it can run, and the names of the GPUs."""

    cuda_version: tuple[int, int]
    gpus: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CudaFault:
    """Why CUDA cannot be had, what to do about it, and whether there is a GPU that lies idle for it."""

    what: str
    remedy: str
    gpu_idle: bool = False


def find_cuda_fault(options: Mapping[str, str]) -> CudaFault | None:
    """Run the probe on CUDA and return what is wrong, or None if it ran."""
    if CUDA_PROVIDER not in offered_providers():
        return _wrong_wheel()
    with _native_output() as written:
        _preload()
        failure = probe_failure(CUDA_PROVIDER, options)
        if failure is None:
            return None
        log = [LOG_HEAD.sub("", line) for line in written()]
    return _missing_part() or CudaFault(
        what=f"the CUDA provider does not start: {log[0] if log else failure}",
        remedy="update the driver and reinstall `astrom3-broker[gpu]`",
        gpu_idle=True,
    )


def find_driver() -> Driver | CudaFault:
    """Return the driver's own account of itself, or why it has none."""
    try:
        library = ctypes.CDLL(DRIVER_LIBRARY)
    except OSError:
        return CudaFault(
            what=f"no NVIDIA driver ({DRIVER_LIBRARY} is missing)",
            remedy="install it until `nvidia-smi` works (a container must be started with `--gpus all`)",
        )
    try:
        return _ask(library)
    except AttributeError as error:
        return CudaFault(
            what=f"{DRIVER_LIBRARY} is not that of an NVIDIA driver ({error})", remedy="reinstall the driver"
        )


def gpu_of_worker(worker: int) -> int:
    """Return the number of the GPU that a worker takes: they are dealt out to those that the driver shows."""
    if worker == 0:
        return 0
    driver = find_driver()
    return worker % len(driver.gpus) if isinstance(driver, Driver) else 0


def _wrong_wheel() -> CudaFault:
    driver = find_driver()
    return CudaFault(
        what=f"the wheel {named_wheels()} has no CUDA",
        remedy=(
            f"run `pip uninstall --yes {' '.join(installed_wheels())}` "
            "and then `pip install 'astrom3-broker[gpu]'`"
        ),
        gpu_idle=isinstance(driver, Driver),
    )


def _preload() -> None:
    # The wheels of the CUDA libraries lie outside the loader's path; this opens them where they are. It
    # prints what it misses, which `_missing_part` says better.
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        load_runtime().preload_dlls(directory="")


def _missing_part() -> CudaFault | None:
    driver = find_driver()
    if isinstance(driver, CudaFault):
        return driver
    build = getattr(load_runtime().capi.build_and_package_info, "cuda_version", None)
    if build is None:
        return None
    major = int(build.split(".")[0])
    if driver.cuda_version[0] < major:
        newest = ".".join(str(part) for part in driver.cuda_version)
        return CudaFault(
            what=f"the driver runs CUDA up to {newest}, and {named_wheels()} needs {build}",
            remedy=f"update the driver to one for CUDA {major}",
            gpu_idle=True,
        )
    wanted = [name.format(major=major) for name in (*CUDA_LIBRARIES, CUDNN_LIBRARY)]
    missing = [name for name in wanted if not _loads(name)] if sys.platform == "linux" else []
    if missing:
        return CudaFault(
            what=f"the CUDA {major} libraries {', '.join(missing)} are missing",
            remedy="run `pip install 'astrom3-broker[gpu]'`, which brings them",
            gpu_idle=True,
        )
    return None


def _ask(library: ctypes.CDLL) -> Driver | CudaFault:
    status = library.cuInit(0)
    count, version = ctypes.c_int(0), ctypes.c_int(0)
    library.cuDriverGetVersion(ctypes.byref(version))
    if status == 0:
        status = library.cuDeviceGetCount(ctypes.byref(count))
    if status != 0 or count.value == 0:
        return CudaFault(
            what=f"the NVIDIA driver finds no GPU (CUDA error {status})",
            remedy="see whether `nvidia-smi` lists one and CUDA_VISIBLE_DEVICES does not hide it",
        )
    return Driver(
        cuda_version=(version.value // 1000, version.value % 1000 // 10),
        gpus=tuple(_gpu_name(library, ordinal) for ordinal in range(count.value)),
    )


def _gpu_name(library: ctypes.CDLL, ordinal: int) -> str:
    handle, name = ctypes.c_int(0), ctypes.create_string_buffer(NAME_BYTES)
    library.cuDeviceGet(ctypes.byref(handle), ordinal)
    library.cuDeviceGetName(name, NAME_BYTES, handle)
    return name.value.decode(errors="replace")


def _loads(library: str) -> bool:
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True


@contextlib.contextmanager
def _native_output() -> Iterator[Callable[[], list[str]]]:
    """Keep what C++ code writes to standard error off it, and give it as lines without colours.

    The descriptor belongs to the whole process: a line that another thread writes meanwhile is held back too.
    """
    with tempfile.TemporaryFile() as kept, contextlib.ExitStack() as stack:
        try:
            saved = os.dup(2)
        except OSError:
            yield list  # a daemon without standard error has nothing to keep clean
            return
        stack.callback(os.close, saved)
        stack.callback(os.dup2, saved, 2)
        os.dup2(kept.fileno(), 2)

        def lines() -> list[str]:
            kept.seek(0)
            text = ESCAPES.sub("", kept.read().decode(errors="replace"))
            return [line for line in text.splitlines() if line.strip()]

        yield lines
