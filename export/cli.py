# SPDX-License-Identifier: BSD-3-Clause
"""The command `python -m export`: a training run to a verified bundle."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter
from rich.console import Console
from rich.markup import escape

from broker_plugin.bundle import Bundle, open_bundle
from broker_plugin.errors import ConfigurationError
from broker_plugin.signals import InterruptedBySignal, interrupt_on_signal
from export.parity import ParityError
from export.recard import write_recarded_bundle
from export.reshape import write_reshaped_bundle
from export.stream import write_stream_bundle
from export.writer import write_bundle
from trainer.bundle_folder import require_bundle_folder

__all__ = ["main"]

app = App(name="export")

_console = Console(stderr=True)


@app.default
def export(
    *,
    out: Annotated[Path, Parameter(help="Folder of the bundle; an older one is replaced.")],
    checkpoint: Annotated[
        Path | None, Parameter(help="Folder of a run that `trainer fit-anomaly --run` has finished.")
    ] = None,
    bundle: Annotated[
        str | None, Parameter(help="A finished bundle, by name or directory, to make a new version of.")
    ] = None,
    stream: Annotated[
        Path | None,
        Parameter(
            help="Folder that `trainer fit-anomaly --alerts` has written for it. Without it the new version "
            "differs only in the lengths that its encoders run at."
        ),
    ] = None,
    card: Annotated[
        bool,
        Parameter(
            negative="", help="The new version differs only in its model card, written by this version."
        ),
    ] = False,
    version: Annotated[str | None, Parameter(help="Version of that; by default the next.")] = None,
) -> None:
    """Export a training run as a bundle of ONNX graphs, or a finished bundle in a new version.

    Every graph is checked before the bundle is moved into place.
    """
    require_bundle_folder(out)
    if checkpoint is not None and bundle is None and stream is None and not card:
        written = write_bundle(checkpoint, out)
    elif checkpoint is not None or bundle is None or (stream is not None and card):
        raise ConfigurationError(
            "give either --checkpoint, or --bundle alone or with one of --stream and --card"
        )
    elif stream is not None:
        written = write_stream_bundle(open_bundle(bundle), stream, out, version=version)
    else:
        write = write_recarded_bundle if card else write_reshaped_bundle
        written = write(open_bundle(bundle), out, version=version)
    _report(open_bundle(written), out)


def _report(bundle: Bundle, out: Path) -> None:
    size = sum(len(content) for content in bundle.contents.values())
    named = f"{bundle.manifest.name} {bundle.manifest.version} {bundle.digest[:12]}"
    said = f"{out}: bundle {named}, {size / 1e6:.1f} MB"
    _console.print(said, markup=False, highlight=False, soft_wrap=True)


def main() -> None:
    """Run the command line."""
    try:
        with interrupt_on_signal():
            app()
    except InterruptedBySignal as signal:
        _console.print(f"[bold red]export:[/] stopped by {signal}", highlight=False, soft_wrap=True)
        signal.end_process()
    except (ConfigurationError, ParityError) as error:
        _console.print(f"[bold red]export:[/] {escape(str(error))}", highlight=False, soft_wrap=True)
        sys.exit(2)
