# SPDX-License-Identifier: BSD-3-Clause
"""The command `python -m export`: a training run to a verified bundle."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter
from rich.console import Console

from broker_plugin.bundle import open_bundle
from broker_plugin.errors import ConfigurationError
from export.parity import ParityError
from export.writer import write_bundle

__all__ = ["main"]

app = App(name="export")

_console = Console(stderr=True)


@app.default
def export(
    *,
    checkpoint: Annotated[Path, Parameter(help="Folder of a run that `trainer fit-anomaly` has finished.")],
    out: Annotated[Path, Parameter(help="Folder of the bundle; an older one is replaced.")],
) -> None:
    """Export a training run as a bundle of ONNX graphs, check every graph, and move it into place."""
    bundle = open_bundle(write_bundle(checkpoint, out))
    size = sum(len(content) for content in bundle.contents.values())
    _console.print(f"{out}: bundle {bundle.manifest.name} {bundle.digest[:12]}, {size / 1e6:.1f} MB")


def main() -> None:
    """Run the command line."""
    try:
        app()
    except (ConfigurationError, ParityError) as error:
        _console.print(f"[bold red]export:[/] {error}", highlight=False, soft_wrap=True)
        sys.exit(2)
