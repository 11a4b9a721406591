# SPDX-License-Identifier: BSD-3-Clause
"""The arithmetic of the sizing guide: from its tables of rates and assumptions to what each case takes."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

__all__ = ["CASES", "Case", "needs", "read_values", "table_of_needs", "worked_example"]

ROW = re.compile(r"^\| `(\w+)` \| ([\d.,]+) \|", re.MULTILINE)

DAY_S = 86_400
GB = 1e9


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A stream: how many alerts a night, of what, and how many objects are remembered."""

    name: str
    alerts: float
    deep_share: float
    """Of Rubin's alerts, those with the long histories of deep fields; nothing where the survey is ZTF."""
    objects: float
    is_ztf: bool = False
    replicas: int = 3


CASES = (
    Case(
        name="ZTF's public stream, on a laptop",
        alerts=3e5,
        deep_share=0,
        objects=3e6,
        is_ztf=True,
        replicas=1,
    ),
    Case(name="a tenth of Rubin, from another broker", alerts=1e6, deep_share=0.1, objects=1e7, replicas=1),
    Case(name="all of Rubin", alerts=1e7, deep_share=0.1, objects=1e8),
    Case(name="all of Rubin, nothing but deep fields", alerts=1e7, deep_share=1, objects=1e8),
)


def read_values(page: str) -> dict[str, float]:
    """Return the rates and assumptions of the page, by symbol.

    Examples
    --------
    >>> read_values("| `r_ztf` | 1,800 | alerts a second | measured |")
    {'r_ztf': 1800.0}
    """
    return {name: float(value.replace(",", "")) for name, value in ROW.findall(page)}


def needs(case: Case, v: dict[str, float]) -> dict[str, float]:
    """Return what a case takes, by the formulas of the page."""
    rate = (
        v["r_ztf"]
        if case.is_ztf
        else 1 / ((1 - case.deep_share) / v["r_main"] + case.deep_share / v["r_deep"])
    )
    mean = case.alerts / (3600 * v["h"])
    peak = v["p"] * mean
    processes = math.ceil(peak / (v["u"] * rate))
    alert_bytes = v["b_ztf"] if case.is_ztf else v["b_lsst"]
    disk_gb = case.alerts * v["b_verdict"] * v["d_verdict"] * case.replicas / GB
    store_gb = case.objects * v["b_object"] / GB
    cost = processes * v["h"] * v["c_core"] + (disk_gb + store_gb * v["f_store"]) * v["c_disk"] / 30
    return {
        "mean": mean,
        "peak": peak,
        "rate": rate,
        "processes": processes,
        "partitions": 2 ** math.ceil(math.log2(max(8, 2 * processes))),
        "memory_gb": processes * v["m_process"],
        "in_mbit": peak * alert_bytes * 8 / 1e6,
        "input_gb": case.alerts * alert_bytes / GB,
        "verdicts_gb": disk_gb,
        "store_gb": store_gb,
        "cost": cost,
    }


def table_of_needs(v: dict[str, float]) -> str:
    """Return the table of all cases, in Markdown."""
    columns = [needs(case, v) for case in CASES]
    head = ["", *(case.name for case in CASES)]
    rows = [
        ("alerts a night, `N`", [f"{case.alerts:,.0f}" for case in CASES]),
        ("mean rate, alerts/s", [f"{one['mean']:,.0f}" for one in columns]),
        ("peak rate, alerts/s", [f"{one['peak']:,.0f}" for one in columns]),
        ("rate of a process, alerts/s", [f"{one['rate']:,.0f}" for one in columns]),
        ("**processes** (cores)", [f"**{one['processes']:,.0f}**" for one in columns]),
        ("partitions", [f"{one['partitions']:,.0f}" for one in columns]),
        ("memory of the processes, GB", [f"{one['memory_gb']:,.1f}" for one in columns]),
        ("network in at the peak, Mbit/s", [f"{one['in_mbit']:,.0f}" for one in columns]),
        ("input of a night, GB", [f"{one['input_gb']:,.0f}" for one in columns]),
        ("disk of the verdicts, GB", [f"{one['verdicts_gb']:,.0f}" for one in columns]),
        ("store, GB", [f"{one['store_gb']:,.1f}" for one in columns]),
        ("cost of a night, USD", [f"{one['cost']:,.2f}" for one in columns]),
    ]
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    return "\n".join([*lines, *(f"| {name} | {' | '.join(cells)} |" for name, cells in rows)]) + "\n"


def worked_example(v: dict[str, float]) -> str:
    """Return the arithmetic of all of Rubin in words."""
    case = CASES[2]
    one = needs(case, v)
    planned, deep = v["u"] * one["rate"], f"{case.deep_share:.0%}"
    processes = "one process" if one["processes"] == 1 else f"{one['processes']:.0f} processes"
    return (
        f"Worked, for {case.name} with {deep} of its alerts from deep fields: {case.alerts:,.0f} alerts in "
        f"{v['h']:.0f} hours\nare {one['mean']:.0f} a second, {one['peak']:.0f} at the peak. One core does "
        f"{one['rate']:,.0f} such alerts a second, and is planned with\n{planned:.0f}: "
        f"{one['peak']:.0f} / {planned:.0f} makes {processes}.\n"
    )
