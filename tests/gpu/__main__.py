# SPDX-License-Identifier: BSD-3-Clause
"""`python -m tests.gpu`: all that is to be seen on a GPU, within five minutes, into one JSON file.

Each step runs in a process of its own, and the file is written after each: a step that fails, or hangs, costs
no other. Exit status 1 if one failed. With --device cpu --brief it shows that the steps themselves work.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from tests.gpu.steps import STEPS, Subject
from tests.support.artefacts import REPOSITORY

DATA = Path(os.environ.get("ASTROM3_DATA") or REPOSITORY.parent / "shared" / "data")

STEP_S = 120.0
"""Longest time of one step: one that hangs leaves time for the others."""

BUDGET_S = 290.0
"""Time for all of them. What has no time left is not begun, and says so."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.gpu", description=__doc__)
    parser.add_argument("--device", choices=("cuda", "cpu", "openvino"), default="cuda")
    parser.add_argument("--data", type=Path, default=DATA, help="folder of the real data")
    parser.add_argument("--out", type=Path, default=Path("runs/gpu/gpu.json"), help="where the numbers go")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes of the benchmark")
    parser.add_argument("--budget-s", type=float, default=BUDGET_S, help="longest time of all steps")
    parser.add_argument("--brief", action="store_true", help="measure once and little: to try the steps")
    parser.add_argument("--steps", nargs="*", choices=list(STEPS), default=list(STEPS), help="which steps")
    parser.add_argument("--step", choices=list(STEPS), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.step:
        subject = Subject(device=given.device, data=given.data, brief=given.brief, workers=given.workers)
        found = STEPS[given.step](subject)
        given.out.write_text(json.dumps(found), "utf-8")
        return 0
    return _all(given)


def _all(given: argparse.Namespace) -> int:
    given.out.parent.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + given.budget_s
    document: dict[str, Any] = {"device": given.device, "brief": given.brief, "steps": {}, "seconds": {}}
    for name in given.steps:
        begun = time.monotonic()
        document["steps"][name] = _one(name, given, min(STEP_S, deadline - begun))
        document["seconds"][name] = round(time.monotonic() - begun, 1)
        given.out.write_text(json.dumps(document, indent=1) + "\n", "utf-8")
        said = "failed" if _failed(document["steps"][name]) else "done"
        print(f"{name}: {said} in {document['seconds'][name]} s", flush=True)  # noqa: T201
    return 1 if any(map(_failed, document["steps"].values())) else 0


def _one(name: str, given: argparse.Namespace, timeout_s: float) -> dict[str, Any]:
    """Do one step in a process of its own, and return what it found or why it failed."""
    if timeout_s <= 0:
        return {"failed": "no time was left for it"}
    part = given.out.with_name(f"{name}.part.json")
    command = [sys.executable, "-m", "tests.gpu", "--step", name, "--device", given.device]
    command += [
        "--data",
        str(given.data.resolve()),
        "--workers",
        str(given.workers),
        "--out",
        str(part.resolve()),
    ]
    try:
        done = subprocess.run(
            [*command, *(["--brief"] if given.brief else [])],
            cwd=REPOSITORY,
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout_s,
        )
        if done.returncode != 0:
            return {"failed": done.stderr[-4000:]}
        return dict(json.loads(part.read_text("utf-8")))
    except subprocess.TimeoutExpired:
        return {"failed": f"it took longer than {timeout_s:.0f} s"}
    finally:
        part.unlink(missing_ok=True)


def _failed(found: dict[str, Any]) -> bool:
    """Tell whether a step failed, or tests in it, or a check of `doctor`."""
    return bool(found.get("failed") or found.get("failures")) or found.get("healthy") is False


if __name__ == "__main__":
    sys.exit(main())
