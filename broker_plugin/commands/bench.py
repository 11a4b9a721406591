# SPDX-License-Identifier: BSD-3-Clause
"""`broker-plugin bench`: how fast this machine is, stage by stage and against a plain pipeline."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter, validators
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from broker_plugin.benchmark.archive import packet_files
from broker_plugin.benchmark.plan import FULL, QUICK, Tell
from broker_plugin.benchmark.plot import drawing
from broker_plugin.benchmark.report import remarks, tables
from broker_plugin.benchmark.session import run_bench
from broker_plugin.benchmark.through_kafka import KafkaPlan
from broker_plugin.errors import ConfigurationError
from broker_plugin.pipeline.assembly import FilterRecipe
from broker_plugin.service.bundle_choice import chosen_bundle
from broker_plugin.service.logging import configure_logging
from broker_plugin.streams.output_files import check_outputs, complete_files, make_folder

__all__ = ["bench"]


def bench(
    *,
    alerts: Path,
    json_file: Annotated[Path | None, Parameter(name="--json")] = None,
    plot: Path | None = None,
    workers: Annotated[int, Parameter(validator=validators.Number(gte=1))] = 2,
    batch: Annotated[int, Parameter(validator=validators.Number(gte=1))] = 256,
    quick: Annotated[bool, Parameter(negative="")] = False,
    kafka: str = "",
    offered: Annotated[float, Parameter(validator=validators.Number(gt=0))] = 300.0,
    burst: Annotated[int, Parameter(validator=validators.Number(gte=0))] = 10_000,
    bundle: str = "default",
    bundles: Path | None = None,
    device: Literal["auto", "cpu", "cuda", "openvino"] = "auto",
) -> None:
    """Measure how fast alerts become verdicts on this machine, against a plain pipeline.

    Reads real packets and makes of them the messages that the surveys send. Four kinds are measured, stage by
    stage and from end to end: ztf and lsst, all that is there, and Rubin's deep fields with histories of 100
    and of 600 rows (lsst_100, lsst_600). A kind that the directory does not hold is named, and not made up;
    copies under ids of their own fill the batches, and ZTF's archived packets are lent the images of others.

    The baseline runs on the same messages in the same run: fastavro, features object by object, the paper's
    light-curve encoder in eager torch, an isolation forest of scikit-learn, JSON. It needs the extra `train`;
    without it there are no ratios. Compare machines by the ratios and by the processor's own speed, which
    stands beside every table. Let nothing else run meanwhile.

        broker-plugin bench --alerts shared/data/alerts --json bench.json --plot bench.svg

    Parameters
    ----------
    alerts
        Directory with the sub-folders ztf and lsst, of Avro container files of packets.
    json_file
        Where all numbers go; an older file stays as it is if the run fails.
    plot
        Where a drawing of them goes, SVG; likewise.
    workers
        Processes that share the alerts: one for each core.
    batch
        Alerts that are judged at a time.
    quick
        Take a minute: fewer alerts, each measured once. Good for orders of magnitude.
    kafka
        host:port of a Kafka broker without passwords: measure through it too, with the service itself, on
        topics of this run's own that are deleted in the end. Or embedded, for latencies without a server: a
        cluster inside this process, which holds no burst.
    offered
        Alerts a second that are sent through Kafka for the latencies.
    burst
        Alerts that are sent through Kafka at once; 0 for none.
    bundle
        NAME of a bundle, in the repository or installed; NAME@VERSION in the repository; or a directory.
    bundles
        Repository of bundles, a directory; by default ASTROM3_BUNDLES.
    device
        Where the encoders run. Only auto may choose.
    """
    configure_logging(level="error")
    console = Console(stderr=True)
    if not alerts.is_dir():
        raise ConfigurationError(f"{alerts} is no directory", remedy="give --alerts one with ztf/ and lsst/")
    if plot is not None and plot.suffix != ".svg":
        raise ConfigurationError(f"{plot}: the drawing is SVG", remedy="let its name end in .svg")
    recipe = FilterRecipe(bundle=chosen_bundle(bundle, bundles), device=device)
    plan = QUICK if quick else FULL
    through = KafkaPlan(bootstrap=kafka, offered_per_s=offered, offered_s=plan.offered_s, burst=burst)
    contents = {json_file: _as_json, plot: drawing}
    outputs = [path for path in (json_file, plot) if path is not None]
    _make_room(outputs, packet_files(alerts))
    with complete_files(*outputs) as files:  # not to find out after a minute that they cannot be
        with _telling(console) as tell:
            document = run_bench(
                alerts,
                recipe,
                plan,
                workers=workers,
                batch=batch,
                tell=tell,
                kafka=through if kafka else None,
            )
        out = Console()
        for table in tables(document):
            out.print(table)
        for remark in remarks(document):
            console.print(remark, style="yellow", markup=False, highlight=False, soft_wrap=True)
        for path, file in zip(outputs, files, strict=True):
            file.write(contents[path](document).encode())


@contextmanager
def _telling(console: Console) -> Iterator[Tell]:
    columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("")
        yield lambda what: progress.update(task, description=what)


def _make_room(outputs: Sequence[Path], inputs: Sequence[Path]) -> None:
    check_outputs(outputs, inputs)
    for path in outputs:
        make_folder(path.parent)


def _as_json(document: dict[str, Any]) -> str:
    return json.dumps(document, indent=1, allow_nan=False) + "\n"
