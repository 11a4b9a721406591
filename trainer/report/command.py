# SPDX-License-Identifier: BSD-3-Clause
"""`trainer report`: the evaluation of a bundle in one page and one JSON file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from broker_plugin.errors import ConfigurationError
from broker_plugin.streams.output_files import complete_files, prepare_folder
from trainer.bars import progress_bar
from trainer.data.catalina import FILE
from trainer.options import COUNT, Workers, data_folder, say, warn
from trainer.predictions import read_predictions
from trainer.report.contents import RESAMPLING_SEED, Asked, assemble, require_known_stars
from trainer.report.inputs import find_inputs
from trainer.report.rendering import render_report
from trainer.report.subject import open_subject

__all__ = ["PAGE", "RECORD", "report"]

PAGE, RECORD = "report.html", "report.json"

CACHE = "cache"

Many = Parameter(consume_multiple=True, negative="")
File = Annotated[Path | None, Parameter(help="In place of the run's file.")]


def report(
    *,
    run: Annotated[
        Path | None, Parameter(help="A training run: its bundle, baselines and results of other commands.")
    ] = None,
    bundle: Annotated[
        list[str] | None,
        Many,
        Parameter(help="What is measured: a name or directory; default RUN/bundle. More: other seeds."),
    ] = None,
    data: Annotated[
        Path | None, Parameter(help=f"File of catalogued stars; default {FILE} in the data folder.")
    ] = None,
    predictions: Annotated[
        list[Path] | None,
        Many,
        Parameter(help="Predictions of further trainings, as `trainer evaluate` writes them."),
    ] = None,
    retrieval: File = None,
    injected: File = None,
    limited_labels: File = None,
    cross_survey: File = None,
    stars: Annotated[
        int | None,
        Parameter(help="Take at most so many stars, at random: for a quick look.", validator=COUNT),
    ] = None,
    workers: Workers = 1,
    out: Annotated[Path, Parameter(help="Folder of the page, the JSON file and what was scored.")] = Path(
        "report"
    ),
) -> None:
    """Put the whole evaluation of a bundle into one page, OUT/report.html, and one file, OUT/report.json.

        trainer report --run runs/default --out runs/default/report
        trainer report --bundle default --stars 500 --out quick-look

    Scores the stars in every setting of `trainer evaluate`, with modalities withheld, and again and again to
    see whether the numbers stay; compares them star by star with the run's baselines; and adds what other
    commands have measured. Stars that the bundle has seen are left out: those of its training file as DATA,
    those of its training as --run. What is missing names the command that makes it. What was scored is kept
    in OUT/cache. The page loads nothing and has no script.
    """
    own = _bundle_of(run)
    named = bundle or [own]
    path = data or data_folder(None) / FILE
    subject, *others = (
        open_subject(name, path, run=run, limit=stars, seed=RESAMPLING_SEED) for name in named
    )
    asked = Asked(
        subject=subject,
        others=others,
        predictions={each.stem: read_predictions(each) for each in predictions or ()},
        inputs=find_inputs(
            run,
            {
                "retrieval": retrieval,
                "injected": injected,
                "limited_labels": limited_labels,
                "cross_survey": cross_survey,
            },
            bundle=named[0],
            data=path,
        ),
        cache=out / CACHE,
        workers=workers,
    )
    require_known_stars(asked)
    prepare_folder(out)
    record = assemble(asked, bar=progress_bar)
    with complete_files(out / RECORD, out / PAGE) as (results, page):
        results.write(f"{json.dumps(record, indent=1, allow_nan=False)}\n".encode())
        page.write(render_report(record).encode())
    for line in record["remarks"]:
        warn(line)
    say(f"wrote {out / PAGE} and {out / RECORD}")
    for section, command in record["missing"].items():
        say(f"not there: {section.replace('_', ' ')}; {command}")


def _bundle_of(run: Path | None) -> str:
    if run is not None and not run.is_dir():
        raise ConfigurationError(f"no run in {run}; give a folder of `trainer train`, or --bundle alone")
    if run is not None and (run / "bundle").is_dir():
        return str(run / "bundle")
    return "default"
