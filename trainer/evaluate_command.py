# SPDX-License-Identifier: BSD-3-Clause
"""`trainer evaluate`: a finished bundle on catalogued stars."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from trainer.bars import scoring_bar
from trainer.bundle_evaluation import evaluate_bundle, summary_lines
from trainer.options import say

__all__ = ["evaluate"]


def evaluate(
    *,
    data: Annotated[Path, Parameter(help="Parquet file laid out like lightcurves/catalina_sss.parquet.")],
    out: Annotated[Path, Parameter(help="JSON file of the measures.")] = Path("metrics.json"),
    bundle: Annotated[str, Parameter(help="Name of an installed bundle, or a directory.")] = "default",
    predictions: Annotated[
        Path | None, Parameter(help="Parquet file of what was predicted for each star and setting.")
    ] = None,
    run: Annotated[
        Path | None, Parameter(help="The bundle's training run, whose stars are left out but for its test's.")
    ] = None,
    workers: Annotated[int, Parameter(help="Processes that score.")] = 1,
) -> None:
    """Measure a finished bundle on catalogued stars, by setting: with all epochs, the first 100, 30, 10 ...

    The stars must be ones that the bundle has not been trained on; of the training file, --run leaves them.
    """
    with scoring_bar() as (begin, advance):
        measures = evaluate_bundle(
            bundle,
            data,
            out,
            predictions,
            seen=frozenset() if run is None else _seen(run),
            workers=workers,
            begin=begin,
            advance=advance,
        )
    for line in summary_lines(measures):
        say(line)
    say(f"wrote {out}")


def _seen(run: Path) -> frozenset[str]:
    from trainer.preparation import seen_stars  # torch: seconds that only a run needs

    return seen_stars(run)
