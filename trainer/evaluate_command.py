# SPDX-License-Identifier: BSD-3-Clause
"""`trainer evaluate`: a finished bundle on catalogued stars."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from trainer.bars import scoring_bar
from trainer.bundle_evaluation import evaluate_bundle, summary_lines
from trainer.options import TrainingRun, Unseen, Workers, say, warn
from trainer.seen import seen_as_asked

__all__ = ["evaluate"]


def evaluate(
    *,
    data: Annotated[Path, Parameter(help="Parquet file laid out like lightcurves/catalina_sss.parquet.")],
    out: Annotated[Path, Parameter(help="JSON file of the measures.")] = Path("metrics.json"),
    bundle: Annotated[str, Parameter(help="Name of an installed bundle, or a directory.")] = "default",
    predictions: Annotated[
        Path | None, Parameter(help="Parquet file of what was predicted for each star and setting.")
    ] = None,
    run: TrainingRun = None,
    unseen: Unseen = False,
    workers: Workers = 1,
) -> None:
    """Measure a finished bundle on catalogued stars, by setting: with all epochs, the first 100, 30, 10 ...

    The stars must be ones that the bundle has not been trained on; --unseen leaves those of its training file
    out that it has.

        trainer evaluate --data my-stars.parquet
        trainer evaluate --bundle my-bundle --data lightcurves/catalina_sss.parquet --unseen
    """
    seen = seen_as_asked(bundle, data, run, unseen=unseen)
    with scoring_bar() as (begin, advance):
        measures = evaluate_bundle(
            bundle,
            data,
            out,
            predictions,
            seen=seen,
            workers=workers,
            begin=begin,
            advance=advance,
        )
    for line in summary_lines(measures):
        say(line)
    for line in measures["remarks"]:
        warn(line)
    say(f"wrote {out}")
