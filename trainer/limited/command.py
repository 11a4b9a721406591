# SPDX-License-Identifier: BSD-3-Clause
"""`trainer limited-labels`: what contrastive pre-training gains with few labels."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter, validators

from broker_plugin.errors import ConfigurationError
from broker_plugin.streams.output_files import prepare_folder
from trainer.bars import nested_bars, progress_bar
from trainer.checkpoint import Kept, load_run
from trainer.compute import Compute
from trainer.config import read_settings
from trainer.data.splits import Split
from trainer.json_file import write_json
from trainer.limited.experiment import Experiment, Result, Watcher, run_experiment, validation_score
from trainer.limited.measuring import first_sets, n_first
from trainer.limited.report import draw, lines_of, summarise
from trainer.object_runs import prepare_labelled
from trainer.options import COUNT, DEFAULT_SETTINGS, Config, Data, data_folder, say
from trainer.preparation import Prepared

__all__ = ["limited_labels"]

SUMMARY, PLOT = "limited_labels.json", "limited_labels.png"

Many = Parameter(consume_multiple=True, negative="")

PERCENT = validators.Number(gt=0, lte=100)

RATE = validators.Number(gt=0, lt=math.inf)


def limited_labels(
    *,
    run: Annotated[
        Path | None,
        Parameter(help="A run on the same data, whose settings and cache to use again."),
    ] = None,
    config: Config = DEFAULT_SETTINGS,
    data: Data = None,
    out: Annotated[Path, Parameter(help="Folder of the results.")] = Path("runs/limited-labels"),
    percent: Annotated[
        list[float] | None, Many, Parameter(help="Shares of labels; default 10 25 50 100.", validator=PERCENT)
    ] = None,
    seeds: Annotated[int, Parameter(help="How many seeds.", validator=COUNT)] = 5,
    learning_rates: Annotated[
        list[float] | None,
        Many,
        Parameter(help="To choose from, in each arm; default 5e-4 1.5e-3.", validator=RATE),
    ] = None,
    passes: Annotated[int, Parameter(help="Passes of each fine-tuning.", validator=COUNT)] = 8,
    windows_per_pass: Annotated[
        int, Parameter(help="Windows of labelled stars in a pass.", validator=COUNT)
    ] = 12_000,
    pretraining_passes: Annotated[
        int | None,
        Parameter(help="Passes of each pre-training; default: that of [pretraining].", validator=COUNT),
    ] = None,
) -> None:
    """Measure what contrastive pre-training gains when few stars have a label.

        trainer limited-labels --run runs/default --out runs/limited-labels

    For 10, 25, 50 and 100 % of the labelled training stars (nested, each class by its share), encoders are
    fine-tuned from random weights and from encoders pre-trained on all training stars without labels, and
    measured on the same test stars. Both arms choose among the same learning rates. On Catalina's stars with
    the default settings this takes about two hours of one core, and half an hour more the first time,
    for windows that the run's cache then keeps. That is too little for all labels to be used, and the results
    say so: with more --passes they tell more, in as many times the time. It can be stopped and goes on where
    it was; results are OUT/limited_labels.json and OUT/limited_labels.png.
    """
    prepare_folder(out)
    prepared = _prepared(run, config, data, out)
    _make_held_out(prepared)
    experiment = Experiment(
        prepared=prepared,
        out=out,
        shares=tuple(each / 100 for each in percent or (10, 25, 50, 100)),
        seeds=tuple(range(1, seeds + 1)),
        learning_rates=tuple(learning_rates or (5e-4, 1.5e-3)),
        passes=passes,
        windows_per_pass=windows_per_pass,
        pretraining_passes=pretraining_passes,
    )
    with nested_bars("trainings", experiment.n_trainings) as bars:
        watcher = Watcher(
            begin=bars.begin,
            on_pass=lambda record: bars.moved(record["pass"]),
            done=lambda result: bars.done("" if result is None else _line(result)),
        )
        results = run_experiment(
            experiment, compute=Compute.alone(prepared.run.settings.training), watcher=watcher
        )
    summary = summarise(experiment, results)
    write_json(out / SUMMARY, summary)
    draw(summary, out / PLOT)
    for line in lines_of(summary):
        say(line)
    say(f"wrote {out / SUMMARY} and {out / PLOT}")


def _prepared(run: Path | None, config: Path, data: Path | None, out: Path) -> Prepared:
    if run is None:
        return prepare_labelled(read_settings(config), data_folder(data), out, say=say)
    before = load_run(run)
    return prepare_labelled(before.settings, data_folder(data), run, say=say, kept=Kept.of(before))


def _make_held_out(prepared: Prepared) -> None:
    """Make the sets that all trainings are measured with, so that they are cached."""
    for split in (Split.VALIDATION, Split.TEST):
        n = n_first(prepared, split)
        if n == 0:
            raise ConfigurationError(f"no labelled {split.name.lower()} star; the experiment needs some")
        with progress_bar(f"{split.name.lower()} stars in settings", n) as advance:
            first_sets(prepared, split, advance=advance)


def _line(result: Result) -> str:
    arm = "pre-trained" if result["pretrained"] else "random"
    return (
        f"{arm:<11} {100 * result['share']:>3g} % of labels, seed {result['seed']}, rate "
        f"{result['learning_rate']:g}: validation macro-F1 {validation_score(result):.2f}"
    )
