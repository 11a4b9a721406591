# SPDX-License-Identifier: BSD-3-Clause
"""The command `trainer`: from labelled light curves to a bundle.

A subcommand is imported only when it is called: torch and its like take seconds.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from types import MappingProxyType

from cyclopts import App
from rich.markup import escape

from broker_plugin.allocator import keep_freed_memory
from broker_plugin.errors import ConfigurationError
from broker_plugin.service.logging import configure_logging
from broker_plugin.signals import InterruptedBySignal, interrupt_on_signal
from trainer.options import console

__all__ = ["COMMANDS", "main", "make_app"]

HELP = """Train the encoders, the forests and the calibration of a bundle.

A scientist's loop is: edit a copy of trainer/configs/default.toml, `trainer train --config COPY --out
runs/mine --bundle my-bundle`, compare the two MODEL_CARD.md, and point `broker-plugin run --bundle` at the
better one. Stopped runs go on where they were.
"""

COMMANDS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "train": (
            "trainer.run_commands:train",
            "Do everything: imitate alerts, train, fit forests, calibrate, evaluate and export the bundle.",
        ),
        "pretrain": (
            "trainer.stage_commands:pretrain",
            "Train encoders on unlabelled objects or alerts by contrast alone.",
        ),
        "finetune": (
            "trainer.stage_commands:finetune",
            "Train for the classes, from pre-trained encoders or from random weights.",
        ),
        "fit-anomaly": (
            "trainer.run_commands:fit_anomaly",
            "Fit what is normal: for a finished bundle on a stream's own alerts, or for a training run.",
        ),
        "evaluate": (
            "trainer.evaluate_command:evaluate",
            "Measure a finished bundle on catalogued stars, with all epochs and with the first ones.",
        ),
        "measure": (
            "trainer.run_commands:measure",
            "Measure a trained run on imitated alerts of its test split.",
        ),
        "report": (
            "trainer.report.command:report",
            "Put everything that is known of a bundle on one page, beside its baselines.",
        ),
        "seeds": (
            "trainer.seeds:seeds",
            "Train a run again with other seeds, to know how far results move by chance.",
        ),
        "baselines": (
            "trainer.catalogue_baselines.command:baselines",
            "Train what a run's bundle is compared with, and ask it the same.",
        ),
        "baseline": (
            "trainer.plain_pipeline.command:baseline",
            "Measure how fast a plain pipeline is, for broker-plugin bench.",
        ),
        "limited-labels": (
            "trainer.limited.command:limited_labels",
            "Measure what contrastive pre-training gains when few stars have a label.",
        ),
        "cross-survey": (
            "trainer.cross_survey.command:cross_survey",
            "Measure a bundle on stars of other surveys.",
        ),
        "inject": (
            "trainer.injection.command:inject",
            "Plant events into light curves, and measure how many are found.",
        ),
        "retrieve": (
            "trainer.run_commands:retrieve",
            "Measure how well one modality of an object finds another of the same object.",
        ),
        "reproduce": (
            "trainer.astrom3.command:reproduce",
            "Train the paper's own model and compare with the table of the paper.",
        ),
        "build": (
            "trainer.crossmatch.command:build",
            "Build a multimodal dataset: cross-match light curves, spectra and catalogue rows.",
        ),
        "simulate": (
            "trainer.simulate.command:simulate",
            "Simulate variable stars with light curves, spectra and catalogue values.",
        ),
        "embed": (
            "trainer.downstream.embedding:embed_command",
            "Write embeddings of stars or alerts to a table, for the commands below.",
        ),
        "similar": ("trainer.downstream.similar:similar", "Find objects like a given one."),
        "audit": ("trainer.downstream.audit:audit", "Find labels that are probably wrong."),
        "rank": ("trainer.downstream.rank:rank", "Rank objects by how strange they are."),
        "map": (
            "trainer.downstream.chart:chart",
            "Draw the map of a table of embeddings, with its clusters.",
        ),
    }
)
"""Where the subcommands are, and what the overview says; a function's docstring is its full help."""


def make_app(chosen: str = "") -> App:
    """Return the command line.

    Parameters
    ----------
    chosen
        The subcommand that will be called: its help is its docstring, the others' a line without importing.
    """
    app = App(name="trainer", help=HELP)
    for name, (place, summary) in COMMANDS.items():
        app.command(place, name=name, help=None if name == chosen else summary)
    return app


def main() -> None:
    """Run the command line; errors that the user can mend are printed without a traceback."""
    given = sys.argv[1:]
    configure_logging(level="warning")
    keep_freed_memory()
    try:
        with interrupt_on_signal():
            make_app(given[0] if given else "")(given)
    except InterruptedBySignal as signal:
        console.print(f"[bold red]trainer:[/] stopped by {signal}", highlight=False, soft_wrap=True)
        signal.end_process()
    except ConfigurationError as error:
        console.print(f"[bold red]trainer:[/] {escape(str(error))}", highlight=False, soft_wrap=True)
        sys.exit(2)
