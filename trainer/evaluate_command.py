# SPDX-License-Identifier: BSD-3-Clause
"""`trainer evaluate`: a finished bundle on catalogued stars."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter, validators

from broker_plugin.bundle import open_bundle
from broker_plugin.errors import ConfigurationError
from trainer.bars import scoring_bar
from trainer.bundle_evaluation import evaluate_bundle, summary_lines
from trainer.options import say, warn
from trainer.seen import seen_by_bundle

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
    unseen: Annotated[
        bool,
        Parameter(
            negative="",
            help="DATA is the file that the bundle was made from: leave out all but its test stars, as the "
            "bundle's manifest splits them.",
        ),
    ] = False,
    workers: Annotated[int, Parameter(help="Processes that score.", validator=validators.Number(gte=1))] = 1,
) -> None:
    """Measure a finished bundle on catalogued stars, by setting: with all epochs, the first 100, 30, 10 ...

    The stars must be ones that the bundle has not been trained on; --unseen leaves those of its training file
    out that it has.

        trainer evaluate --data my-stars.parquet
        trainer evaluate --bundle my-bundle --data lightcurves/catalina_sss.parquet --unseen
    """
    seen = _seen(bundle, data, run, unseen=unseen)
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


def _seen(bundle: str, data: Path, run: Path | None, *, unseen: bool) -> frozenset[str]:
    """Return the stars to leave out."""
    if run is not None and unseen:
        raise ConfigurationError("--run and --unseen name the same stars in two ways; leave one out")
    if run is not None:
        from trainer.preparation import seen_stars  # torch: seconds that only a run needs

        return seen_stars(run)
    if unseen and not data.is_file():
        raise ConfigurationError(f"there is no file {data}")
    return seen_by_bundle(open_bundle(bundle).manifest, data) if unseen else frozenset()
