# SPDX-License-Identifier: BSD-3-Clause
"""`broker-plugin bundles compare`: two bundles on the same alerts."""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter, validators
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from broker_plugin.client.opening import CONNECT_S, reading_address, reading_schemas
from broker_plugin.codec.verdict import Verdict
from broker_plugin.comparison.page import comparison_page
from broker_plugin.comparison.statistics import Comparison, compare_verdicts
from broker_plugin.comparison.verdicts import ByKey, read_file, read_topic, seen_by_key
from broker_plugin.errors import ConfigurationError
from broker_plugin.pipeline.verdict_reader import RecordReader, verdict_reader
from broker_plugin.service.logging import configure_logging
from broker_plugin.service.settings_sources import load_settings
from broker_plugin.signals import stop_on_signal
from broker_plugin.streams.kafka import KafkaAddress, KafkaTail
from broker_plugin.streams.output_files import check_outputs, complete_files

__all__ = ["compare"]


def compare(
    *files: Path,
    bootstrap: str | None = None,
    topic: str | None = None,
    shadow_topic: str | None = None,
    registry: str | None = None,
    config: Path | None = None,
    limit: Annotated[int | None, Parameter(validator=validators.Number(gte=1))] = None,
    quiet_s: Annotated[float, Parameter(validator=validators.Number(gt=0))] = 5.0,
    html: Path | None = None,
    json_file: Annotated[Path | None, Parameter(name="--json")] = None,
) -> int:
    """Compare the verdicts of two bundles on the same alerts: as a table, a page and JSON.

    Takes two files that `replay` wrote, or else the topics of verdicts and of a shadow, from their beginning.
    Only alerts with a verdict of both count. Tells how often classes agree and which are taken for which, how
    far probabilities and p-values lie apart, whether the anomaly scores rank alerts alike, how many of the
    strangest are the same, and of topics how long the verdicts took: those of files were not waited for.

        broker-plugin bundles compare old.parquet new.parquet --html comparison.html
        broker-plugin bundles compare --bootstrap localhost:9092 --topic verdicts --shadow-topic shadow

    Parameters
    ----------
    files
        Two files of verdicts, in .avro, .parquet or .jsonl: the old bundle's first.
    bootstrap
        host:port of the Kafka cluster; by default the one that run writes to.
    topic
        Topic of verdicts; by default the output of run.
    shadow_topic
        Topic of the shadow; by default that of run.
    registry
        URL of the schema registry, where the verdicts are framed.
    config
        The settings of run, a TOML file; the environment counts too.
    limit
        Most verdicts to read of each topic.
    quiet_s
        A topic is read until nothing has come for so long, s.
    html
        Where to write a page with charts.
    json_file
        Where to write all numbers as JSON.
    """
    configure_logging(level="warning")
    outputs = [path for path in (html, json_file) if path is not None]
    check_outputs(outputs, files)
    if files:
        if len(files) != 2:
            raise ConfigurationError("a comparison takes two files of verdicts, the old bundle's first")
        first, second = (seen_by_key(read_file(path)) for path in files)
    else:
        settings = load_settings({}, config=config)
        topics = (topic or settings.output, shadow_topic or settings.shadow_topic)
        if not all(topics):
            raise ConfigurationError("nothing to compare; give two files, or --topic and --shadow-topic")
        reader = verdict_reader(reading_schemas(registry or settings.registry))
        address = reading_address(settings, bootstrap)
        first, second = (_read(address, each, reader, quiet_s=quiet_s, limit=limit) for each in topics)
    comparison = compare_verdicts(first, second)
    with complete_files(*outputs) as handles:
        for path, handle in zip(outputs, handles, strict=True):
            text = comparison_page(comparison) if path is html else _json(comparison)
            handle.write(text.encode())
    _show(Console(), comparison, outputs)
    return 0


def _read(
    address: KafkaAddress, topic: str, reader: RecordReader[Verdict], *, quiet_s: float, limit: int | None
) -> ByKey:
    stop = threading.Event()
    tail = KafkaTail(address, topic, from_beginning=True)
    with stop_on_signal(stop), closing(tail):
        tail.connect(deadline_s=CONNECT_S, stop=stop)
        return seen_by_key(read_topic(tail, reader, quiet_s=quiet_s, limit=limit, stop=stop))


def _json(comparison: Comparison) -> str:
    return json.dumps(asdict(comparison), allow_nan=False, indent=1) + "\n"


def _show(console: Console, comparison: Comparison, outputs: Sequence[Path]) -> None:
    sides = (comparison.first, comparison.second)
    table = Table("", "first", "second", box=None)
    for column in table.columns[1:]:
        column.justify = "right"
    table.add_row("bundle", *(escape("; ".join(side.bundles)) for side in sides))
    table.add_row("alerts that only it has", *(f"{side.only_here:,}" for side in sides))
    for level in comparison.first.shares:
        table.add_row(f"p-values at or below {level}", *(f"{side.shares[level]:.2%}" for side in sides))
    table.add_row("KS distance of p-values from uniform", *(f"{side.ks_from_uniform:.3f}" for side in sides))
    for level in comparison.first.latency_s:
        table.add_row(f"latency, quantile {level}", *(f"{side.latency_s[level]:.3f} s" for side in sides))
    console.print(table)
    both = Table(box=None, show_header=False)
    both.add_row("alerts with a verdict of both", f"{comparison.n:,}")
    both.add_row("of the same inputs", f"{comparison.same_inputs:.1%}")
    if comparison.agreement is not None:
        both.add_row("same top class", f"{comparison.agreement:.1%} of {comparison.n_classified:,}")
    if comparison.kappa is not None:
        both.add_row("Cohen's kappa", f"{comparison.kappa:.3f}")
    for level, value in comparison.distance.items():
        both.add_row(f"distance of class probabilities, quantile {level}", f"{value:.4f}")
    if comparison.rank_correlation is not None:
        both.add_row("rank correlation of anomaly scores", f"{comparison.rank_correlation:.3f}")
    for each in comparison.overlaps:
        both.add_row(f"of the {each.n} strangest in both", f"{each.shared} (by chance {each.by_chance:.1f})")
    console.print(both)
    for path in outputs:
        console.print(f"written: {path}", soft_wrap=True, highlight=False, markup=False)
