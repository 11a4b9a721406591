# SPDX-License-Identifier: BSD-3-Clause
"""`trainer baseline`: the rate of the plain pipeline, for `broker-plugin bench`."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from broker_plugin.benchmark.measuring import median_rate
from broker_plugin.benchmark.team import Task, Team, Work
from trainer.options import COUNT
from trainer.plain_pipeline.setup import BATCH, described

__all__ = ["baseline"]

Positive = Annotated[int, Parameter(validator=COUNT)]


def baseline(
    *names: Annotated[str, Parameter(help="Names of corpora.")],
    corpora: Annotated[Path, Parameter(help="Folder of corpora, as `broker-plugin bench` makes it.")],
    out: Annotated[Path, Parameter(help="JSON file of the rates.")],
    workers: Positive = 1,
    repeats: Positive = 3,
    batches: Annotated[Positive, Parameter(help="Batches of each process in one measurement.")] = 1,
) -> None:
    """Measure how fast a plain pipeline scores alerts; `broker-plugin bench` calls this.

    The plain pipeline is fastavro, features object by object, the paper's light-curve encoder in eager torch
    on 200 padded rows, an isolation forest of scikit-learn and JSON. The weights are random.
    """
    rates = {}
    with Team(partial(_opened, corpora), corpora, workers) as team:
        team.measure(_task(names[0], workers, batches))  # warms up torch, to which all corpora are alike
        for name in names:
            task = _task(name, workers, batches)
            done = [team.measure(task) for _ in range(repeats)]
            counts = done[0][0]
            rates[name] = median_rate(counts.verdicts, [effort for _, effort in done]).as_json() | {
                "messages": counts.verdicts,
                "batches": counts.batches,
            }
    out.write_text(json.dumps({"what": described() | {"workers": workers}, "rates": rates}), "utf-8")


def _opened(corpora: Path) -> Work:
    from trainer.plain_pipeline.pipeline import open_plain_pipeline  # torch: seconds that only a member needs

    return open_plain_pipeline(corpora)


def _task(name: str, workers: int, batches: int) -> Task:
    return Task(corpus=name, batch=BATCH, messages_max=BATCH * batches * workers)
