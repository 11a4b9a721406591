# SPDX-License-Identifier: BSD-3-Clause
"""How the cost of an alert grows with its history, and shrinks with the batch and the number of processes."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from broker_plugin.benchmark.corpus import Corpora
from broker_plugin.benchmark.dealing import whole_batches
from broker_plugin.benchmark.plan import Plan, Tell
from broker_plugin.benchmark.team import Task, Team
from broker_plugin.benchmark.whole_way import measure_team

__all__ = ["measure_growth"]


def measure_growth(
    team: Team, corpora: Corpora, plan: Plan, *, batch: int, workers: int, tell: Tell
) -> dict[str, list[dict[str, Any]]]:
    """Return rates by rows of history (Rubin), and by size of the batch and number of processes (either).

    What the corpora do not allow is left out.
    """
    mixed = next((name for name in ("ztf", "lsst") if name in corpora.by_name), None)

    def measured(task: Task, processes: int) -> dict[str, Any]:
        counts, rate = measure_team(
            team, task, repeats=plan.repeats, least_s=plan.least_s / 2, workers=processes
        )
        return rate.as_json() | asdict(counts)

    by_rows, by_batch, by_workers = [], [], []
    for rows in plan.lengths:
        if (name := f"lsst_{rows}") in corpora.by_name:
            tell(f"histories of {rows} rows")
            by_rows.append({"rows": rows, **measured(Task(corpus=name, batch=batch), workers)})
    if mixed is not None:
        for size in plan.batches:
            tell(f"batches of {size}")
            most = whole_batches(size, workers=workers)
            task = Task(corpus=mixed, batch=size, messages_max=most)
            if len(corpora.by_name[mixed]) >= most:
                by_batch.append({"batch": size, "corpus": mixed, **measured(task, workers)})
        for processes in range(1, workers + 1):
            tell(f"processes: {processes}")
            part = len(corpora.by_name[mixed]) // workers
            task = Task(corpus=mixed, batch=batch, messages_max=part * processes)
            by_workers.append({"workers": processes, "corpus": mixed, **measured(task, processes)})
    return {"history": by_rows, "batch": by_batch, "workers": by_workers}
