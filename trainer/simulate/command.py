# SPDX-License-Identifier: BSD-3-Clause
"""`trainer simulate`: objects with light curves, spectra and catalogue values that nobody observed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from trainer.bars import progress_bar
from trainer.options import COUNT, SEED, say
from trainer.simulate.dataset import write_simulation

__all__ = ["simulate"]


def simulate(
    *,
    n: Annotated[int, Parameter(help="Number of objects.", validator=COUNT)],
    out: Annotated[Path, Parameter(help="Parquet file to write; its data card comes beside it.")],
    seed: Annotated[int, Parameter(help="Everything follows from it.", validator=SEED)] = 1,
) -> None:
    """Simulate variable stars with light curves, spectra and catalogue values, marked as simulated."""
    with progress_bar("simulated objects", n) as advance:
        write_simulation(out, n, seed=seed, advance=advance)
    say(f"wrote {n:,} SIMULATED objects to {out}")
