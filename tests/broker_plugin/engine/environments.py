# SPDX-License-Identifier: BSD-3-Clause
"""Environments that differ in what is installed, and machines that differ in their driver.

The distributions and libraries are real to whoever looks for them: metadata on the import path, and a shared
library that the loader finds. Only their contents are ours.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tests.support.artefacts import REPOSITORY
from tests.support.tiers import unavailable

__all__ = ["add_distribution", "driver_library", "replayed_by_two", "run_python", "site_with_numpy_alone"]

DRIVER_SOURCE = """
int cuInit(unsigned flags) { return 0; }
int cuDriverGetVersion(int *version) { *version = VERSION; return 0; }
int cuDeviceGetCount(int *count) { *count = COUNT; return 0; }
int cuDeviceGet(int *device, int ordinal) { *device = ordinal; return 0; }
int cuDeviceGetName(char *name, int room, int device) { name[0] = 'G'; name[1] = 0; return 0; }
"""
"""The five functions of the NVIDIA driver that say what there is."""

SETTLE = {"OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "error"}


def add_distribution(folder: Path, name: str, version: str) -> Path:
    """Make `folder` a place where this distribution is installed, as far as its metadata says."""
    metadata = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    return folder


def site_with_numpy_alone(folder: Path) -> Path:
    """Make `folder` a site directory with numpy and nothing else; for `python -S`."""
    folder.mkdir(parents=True, exist_ok=True)
    for package in Path(np.__file__).parents[1].glob("numpy*"):
        (folder / package.name).symlink_to(package)
    return folder


def driver_library(folder: Path, *, cuda_version: int = 13_000, gpus: int = 1) -> Path:
    """Make `folder` one where the loader finds a `libcuda.so.1` that says this; needs a compiler."""
    compiler = shutil.which("cc")
    if compiler is None:
        unavailable("no C compiler (cc) to make a stand-in for the driver with")
    folder.mkdir(parents=True, exist_ok=True)
    flags = ["-shared", "-fPIC", f"-DVERSION={cuda_version}", f"-DCOUNT={gpus}", "-x", "c", "-"]
    library = ["-o", str(folder / "libcuda.so.1")]
    subprocess.run([compiler, *flags, *library], input=DRIVER_SOURCE, text=True, check=True)
    return folder


def run_python(
    arguments: Sequence[str],
    *,
    interpreter: str | Path = sys.executable,
    paths: Sequence[Path] = (),
    libraries: Path | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run an interpreter with this checkout and `paths` importable, and `libraries` first for the loader."""
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("PYTHON")
    } | SETTLE
    environment["PYTHONPATH"] = os.pathsep.join(str(path) for path in (REPOSITORY, *paths))
    if libraries is not None:
        environment["LD_LIBRARY_PATH"] = str(libraries)
    return subprocess.run(
        [str(interpreter), *arguments],
        cwd=REPOSITORY,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def replayed_by_two(
    data_dir: Path, folder: Path, *, device: str, interpreter: str | Path = sys.executable
) -> tuple[str, list[dict[str, Any]]]:
    """Have two workers replay a few real packets on a device; return what was said, and the verdicts."""
    packets, out = sorted((data_dir / "alerts/ztf/native").glob("*.avro"))[:4], folder / "out.jsonl"
    command = ["-W", "ignore", "-m", "broker_plugin", "replay", *map(str, packets), "--out", str(out)]
    done = run_python([*command, "--device", device, "--workers", "2"], interpreter=interpreter)
    assert done.returncode == 0, done.stderr
    verdicts = [json.loads(line) for line in out.read_text("utf-8").splitlines()]
    assert len(verdicts) == len(packets)
    return done.stdout + done.stderr, verdicts
