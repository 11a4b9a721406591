# SPDX-License-Identifier: BSD-3-Clause
"""The benchmark's document as tables for a person."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rich.markup import escape
from rich.table import Table

from broker_plugin.benchmark.stages import STAGES, WHOLE
from broker_plugin.benchmark.through_kafka import PERCENTILES

__all__ = ["processor_line", "remarks", "tables"]

Document = Mapping[str, Any]

BUSY = 0.5
"""Load per core before the start from which on the wall clock measures the machine's other users too."""

AXES = {
    "history": ("rows", "rows of history"),
    "batch": ("batch", "batch"),
    "workers": ("workers", "processes"),
}


def tables(document: Document) -> Iterator[Table]:
    """Yield the tables of a document, the most important first; each says on which processor."""
    yield _end_to_end(document)
    yield _stages(document)
    if document["kafka"] is not None:
        yield _through_kafka(document)
        if document["kafka"].get("scaling"):
            yield _scaling(document)
    for kind, points in document["growth"].items():
        if points:
            yield _growth(document, kind, points)


def processor_line(document: Document) -> str:
    """Return what the rates were measured on, in one line."""
    processor = document["processor"]
    kinds = " ".join(processor["features"]) or "instruction sets unknown"
    gflops = processor["matmul_gflops_fp32_one_core"]
    line = (
        f"{processor['name']}, {processor['cores']} cores, {kinds}; fp32 products {gflops:.0f} GFLOP/s a core"
    )
    gpu = document.get("gpu")
    return line if gpu is None else f"{' and '.join(gpu['names'])}; {line}"


def remarks(document: Document) -> Iterator[str]:
    """Yield what a reader must know before believing the numbers."""
    process = document["process"]
    yield (
        f"a process is ready after {process['ready_cpu_s']:.1f} s of processor time, and took up to "
        f"{process['peak_memory_mb']:,} MB with all alerts that were measured"
    )
    if gpu := document.get("gpu"):
        used = ", ".join(
            f"{when} {' and '.join(f'{mb:,}' for mb in each)}" for when, each in gpu["memory_used_mb"].items()
        )
        yield (
            "the encoders ran on CUDA, so the wall clock counts for ratios and stages; MB of GPU memory in "
            f"use: {used}"
        )
    for name, why in document["missing"].items():
        yield f"{name} was not measured: {why}"
    if "missing" in document["baseline"]:
        yield f"no ratios: {document['baseline']['missing']}"
    load, cores = document["load_average"]["before"], document["processor"]["cores"]
    if load > BUSY * cores:
        yield (
            f"the machine was busy (load {load:.1f} on {cores} cores): rates on the wall are too low; rates "
            "by processor time and ratios suffer less"
        )
    if document["settings"]["workers"] > cores:
        yield f"{document['settings']['workers']} processes share {cores} cores"


def _end_to_end(document: Document) -> Table:
    workers = document["settings"]["workers"]
    table = Table(title="From bytes to encoded verdicts", caption=processor_line(document))
    table.add_column("alerts")
    for heading in (
        "median rows",
        f"alerts/s, {workers} processes",
        "alerts/s of a core",
        "x baseline",
        "spread",
    ):
        table.add_column(heading, justify="right")
    for name, found in document["end_to_end"].items():
        if found is None:
            table.add_row(name, "-", "not measured", "-", "-", "-")
            continue
        ratio = found["ratio_to_baseline"]
        table.add_row(
            name,
            str(document["corpora"][name]["history_rows"]["0.5"]),
            f"{found['alerts_per_s']:,.0f}",
            f"{found['alerts_per_cpu_s']:,.0f}",
            "-" if ratio is None else f"{ratio:.1f}",
            f"{100 * found['spread']:.0f} %",
        )
    return table


def _stages(document: Document) -> Table:
    stages = document["stages"]
    table = Table(title="Microseconds of an alert, one core", caption=processor_line(document))
    table.add_column("stage")
    for name in stages:
        table.add_column(name, justify="right")
    for stage in STAGES:
        cells = [
            f"{found[stage]['us_per_alert']:,.1f} {found[stage]['share']:5.0%}" for found in stages.values()
        ]
        table.add_row(stage, *cells)
    table.add_section()
    table.add_row("in one go", *(f"{found[WHOLE]['us_per_alert']:,.1f}      " for found in stages.values()))
    return table


def _through_kafka(document: Document) -> Table:
    found = document["kafka"]
    steady, burst = found["steady"], found.get("burst")
    title = f"Through Kafka ({escape(found['cluster'])}), {found['workers']} processes, {found['corpus']}"
    table = Table(
        "", "sent", "done", "alerts/s", "latency or time", title=title, caption=processor_line(document)
    )
    latencies = ", ".join(f"p{percent} {steady[f'p{percent}_ms']} ms" for percent in PERCENTILES)
    counts = (f"{steady['sent']:,}", f"{steady['delivered']:,}")
    table.add_row("steady", *counts, f"{steady['sent_per_s']:,.0f}", latencies)
    if burst is not None:
        rate = "-" if burst["alerts_per_s"] is None else f"{burst['alerts_per_s']:,.0f}"
        counts = (f"{burst['messages']:,}", f"{burst['delivered']:,}")
        table.add_row(
            "burst", *counts, rate, f"{burst['drained_in_s']} s, sent in {burst['produced_in_s']} s"
        )
    return table


def _scaling(document: Document) -> Table:
    found = document["kafka"]
    title = f"Through Kafka ({escape(found['cluster'])}), each process on one core, {found['corpus']}"
    table = Table(title=title, caption=processor_line(document))
    for column in (
        "processes",
        "alerts/s",
        "speed-up",
        "us of the service",
        "us of the broker",
        "cores busy",
    ):
        table.add_column(column, justify="right")
    for point in found["scaling"]:
        broker = point["broker_us_per_alert"]
        table.add_row(
            str(point["workers"]),
            f"{point['alerts_per_s']:,.0f}",
            str(point["speed_up"]),
            f"{point['service_us_per_alert']}",
            "elsewhere" if broker is None else f"{broker}",
            str(point["cores"]),
        )
    return table


def _growth(document: Document, kind: str, points: list[Mapping[str, Any]]) -> Table:
    axis, heading = AXES[kind]
    table = Table(title=f"By {heading}", caption=processor_line(document))
    for column in (heading, "alerts/s", "alerts/s of a core"):
        table.add_column(column, justify="right")
    for point in points:
        table.add_row(str(point[axis]), f"{point['alerts_per_s']:,.0f}", f"{point['alerts_per_cpu_s']:,.0f}")
    return table
