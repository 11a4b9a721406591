# SPDX-License-Identifier: BSD-3-Clause
"""`trainer inject`: how many events of known shape a bundle finds in light curves it has never seen."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter
from rich.console import Console

from trainer.bars import scoring_bar
from trainer.injection.run import Asked, measure_injections
from trainer.injection.table import rich_tables
from trainer.options import COUNT, SEED, TrainingRun, Unseen, Workers, warn
from trainer.seen import seen_as_asked

__all__ = ["inject"]

_console = Console()


def inject(
    *,
    data: Annotated[Path, Parameter(help="Parquet file laid out like lightcurves/catalina_sss.parquet.")],
    out: Annotated[
        Path, Parameter(help="JSON file of the measures; OUT.png beside it shows efficiencies.")
    ] = Path("injected.json"),
    bundle: Annotated[str, Parameter(help="Name of an installed bundle, or a directory.")] = "default",
    predictions: Annotated[
        Path | None, Parameter(help="Parquet file of a row for each star and injection.")
    ] = None,
    run: TrainingRun = None,
    unseen: Unseen = False,
    hosts: Annotated[
        int, Parameter(help="Stars that events are put into, one of every kind into each.", validator=COUNT)
    ] = 500,
    settings: Annotated[
        list[Literal["all", "100", "30", "10"]] | None,
        Parameter(consume_multiple=True, negative="", help="First epochs of each star; default: every one."),
    ] = None,
    seed: Annotated[int, Parameter(help="Everything that is drawn follows from it.", validator=SEED)] = 1,
    workers: Workers = 1,
) -> None:
    """Inject anomalies into observed light curves and measure how many the bundle finds.

    Microlensing, dust fades, dwarf-nova outbursts and flares, by the priors of trainer/injection/priors.py,
    into ordinary stars that the bundle must not have been trained on: --run leaves only those, and so does
    --unseen of the training file. Thresholds come from the same survey's stars without an event. Instrumental
    jumps are injected too and counted apart: they should be flagged as a glitch, and not rank as discoveries.

        trainer inject --data ../shared/data/lightcurves/catalina_sss.parquet --run runs/default

    About 6 minutes on one core with the default number of hosts.
    """
    asked = Asked(
        bundle=bundle,
        data=data,
        out=out,
        predictions=predictions,
        seen=seen_as_asked(bundle, data, run, unseen=unseen),
        hosts=hosts,
        settings=tuple(settings or ("all", "100", "30", "10")),
        seed=seed,
        workers=workers,
    )
    with scoring_bar() as (begin, advance):
        measures = measure_injections(asked, begin=begin, advance=advance)
    for table in rich_tables(measures):
        _console.print(table)
    for line in measures["remarks"]:
        warn(line)
    _console.print(f"wrote {out} and {asked.plot}", markup=False, highlight=False, soft_wrap=True)
