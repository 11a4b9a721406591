# SPDX-License-Identifier: BSD-3-Clause
"""`broker-plugin audit`: see whether every message of a night was judged."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal

from cyclopts import Parameter
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from broker_plugin.codec.registry import SchemaRegistry
from broker_plugin.codec.schemas import SchemaStore
from broker_plugin.commands.output import print_table
from broker_plugin.errors import ConfigurationError
from broker_plugin.nights import night_of, noon_of
from broker_plugin.pipeline.audit import PartitionAudit
from broker_plugin.pipeline.night_evidence import AuditedTopics, Watch, audit_night
from broker_plugin.pipeline.offset_ranges import OffsetRanges
from broker_plugin.service.addresses import sink_address, source_address
from broker_plugin.service.logging import configure_logging
from broker_plugin.service.settings_sources import load_settings
from broker_plugin.settings import Settings
from broker_plugin.streams.base import Message

__all__ = ["audit", "show"]

COMPLETE, MISSING = 0, 3

SHOWN_RANGES = 8
"""Missing ranges that a cell of the table names; JSON names all."""

COLUMNS: Mapping[str, Callable[[PartitionAudit], str]] = MappingProxyType(
    {
        "partition": lambda each: f"{each.topic}[{each.partition}]",
        "offsets": lambda each: f"{each.first_offset} - {each.last_offset}",
        "in": lambda each: str(each.messages),
        "verdicts": lambda each: str(each.verdicts),
        "dead letters": lambda each: str(each.dead_letters),
        "twice": lambda each: str(each.duplicates),
        "differing": lambda each: str(each.differing),
        "missing": lambda each: "expired" if each.missing is None else _ranges(each.missing),
        "ledger": lambda each: _of_ledger(each, str(each.recorded)),
        "redone": lambda each: _of_ledger(each, str(each.redone)),
        "not in the ledger": lambda each: _of_ledger(each, _ranges(each.unrecorded)),
    }
)
"""What the table says of each partition."""

UNUSUAL = ("twice", "differing", "redone")
"""Columns of the table that are left out where they count nothing, so that it fits into 80 characters."""

FOLDED = ("partition", "offsets", "missing", "not in the ledger")
"""Columns that take another line where the terminal is narrow; numbers never do."""


def audit(
    *,
    config: Path | None = None,
    night: str | None = None,
    bootstrap: str | None = None,
    output_bootstrap: str | None = None,
    survey: Literal["ztf", "lsst"] | None = None,
    input_topics: Annotated[str | None, Parameter(name="--input")] = None,
    output: str | None = None,
    dead_letters: str | None = None,
    ledger: str | None = None,
    group: str | None = None,
    registry: str | None = None,
    output_format: Annotated[Literal["table", "json"], Parameter(name="--format")] = "table",
) -> int:
    """Compare a night's input with its verdicts, its dead letters and the ledger, and name what is missing.

    A night lasts from noon to noon at the telescope, and a message belongs to that of its Kafka timestamp.
    For each partition the table counts the messages in, what came of them, and where there is any, what is
    there twice, and what two bundles have judged or was judged again from other inputs. A message counts as
    missing if it has neither a verdict nor a dead letter, or if the ledger does not know it. The exit status
    is 0 if nothing is missing, else 3; a night without messages misses nothing, and the report says that it
    is empty.

        broker-plugin audit --config run.toml --night 2026-11-27

    Parameters
    ----------
    config
        The settings of run, a TOML file; the environment counts too.
    night
        By the date of its evening at the telescope; by default the last that is over.
    bootstrap, output_bootstrap, survey, input_topics, output, dead_letters, ledger, group, registry
        As for run, over the file and the environment. Without a ledger only the outputs are asked.
    output_format
        A table for people, or JSON.
    """
    given = {
        "bootstrap": bootstrap,
        "output_bootstrap": output_bootstrap,
        "survey": survey,
        "input": input_topics,
        "output": output,
        "dead_letters": dead_letters,
        "ledger": ledger,
        "group": group,
        "registry": registry,
    }
    settings = load_settings(
        {name: value for name, value in given.items() if value is not None}, config=config
    )
    settings.require("survey", "bootstrap", "input", "output", "dead_letters", "group")
    configure_logging(level="warning")
    asked = _night(str(settings.survey), night)
    with _progress() as watch:
        found = audit_night(
            AuditedTopics(
                source=source_address(settings).credentials_only(),
                sink=sink_address(settings).credentials_only(),
                inputs=settings.topics,
                output=settings.output,
                dead_letters=settings.dead_letters,
                ledger=settings.ledger,
            ),
            survey=str(settings.survey),
            group=settings.group,
            night=asked,
            schemas=SchemaStore(
                SchemaRegistry(settings.registry) if settings.registry else None, installed=False
            ),
            watch=watch,
        )
    if output_format == "json":
        sys.stdout.write(f"{json.dumps(_report(settings, asked, found))}\n")
    else:
        show(settings, asked, found)
    return COMPLETE if all(each.complete for each in found) else MISSING


def _night(survey: str, text: str | None) -> date:
    if text is None:
        return night_of(survey, datetime.now(UTC)) - timedelta(days=1)
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise ConfigurationError(f"--night {text} is no date", remedy="write 2026-11-27") from error


def _is_over(survey: str, night: date) -> bool:
    return datetime.now(UTC) >= noon_of(survey, night + timedelta(days=1))


def _report(settings: Settings, night: date, found: Sequence[PartitionAudit]) -> dict[str, Any]:
    survey = str(settings.survey)
    return {
        "survey": survey,
        "night": night.isoformat(),
        "begin": noon_of(survey, night).isoformat(),
        "end": noon_of(survey, night + timedelta(days=1)).isoformat(),
        "over": _is_over(survey, night),
        "complete": all(each.complete for each in found),
        "messages": sum(each.messages for each in found),
        "hint": "" if found else _nothing(settings, night),
        "partitions": [
            {
                "topic": each.topic,
                "partition": each.partition,
                "first_offset": each.first_offset,
                "last_offset": each.last_offset,
                "messages": each.messages,
                "verdicts": each.verdicts,
                "dead_letters": each.dead_letters,
                "duplicates": each.duplicates,
                "differing": each.differing,
                "missing": None if each.missing is None else list(each.missing),
                "ledger": None
                if each.recorded is None
                else {
                    "messages": each.recorded,
                    "redone": each.redone,
                    "missing": list(each.unrecorded),
                },
                "complete": each.complete,
            }
            for each in found
        ],
    }


def show(settings: Settings, night: date, found: Sequence[PartitionAudit]) -> None:
    """Print what became of a night's partitions, and whether that is complete."""
    over = "" if _is_over(str(settings.survey), night) else ", which is not over yet"
    table = Table(
        title=f"{settings.survey} night of {night}{over}",
        title_justify="left",
        box=SIMPLE_HEAD,
        padding=0,
        show_edge=False,
    )
    shown = {
        name: cell
        for name, cell in COLUMNS.items()
        if name not in UNUSUAL or any(cell(each) not in ("0", "-") for each in found)
    }
    for name in shown:
        folded = name in FOLDED
        table.add_column(
            name if folded else name.replace(" ", "\n"),
            justify="left" if name in ("partition", "offsets") else "right",
            overflow="fold",
            no_wrap=not folded,
        )
    for each in found:
        table.add_row(*(cell(each) for cell in shown.values()))
    if found:
        print_table(table)
    total = sum(each.messages for each in found)
    lost = sum(len(each.unaccounted) for each in found)
    if not found:
        verdict = _nothing(settings, night)
    elif all(each.complete for each in found):
        verdict = f"complete: all of {total} messages are accounted for"
    elif lost:
        verdict = (
            f"NOT complete: {lost} of {total} messages are not accounted for; the last columns name them"
        )
    else:
        verdict = "not known: the night's outputs have expired, and there is no --ledger to ask"
    Console().print(verdict, markup=False)


def _nothing(settings: Settings, night: date) -> str:
    """Return what to say where there is nothing to be complete."""
    begin, end = (
        f"{noon_of(str(settings.survey), night + timedelta(days=n)):%Y-%m-%d %H:%M}" for n in (0, 1)
    )
    return (
        f"no message of this night, {begin} to {end} UTC, is on {', '.join(settings.topics)}: it was cloudy, "
        "or another night is meant; name it with --night, by the date of its evening at the telescope"
    )


def _ranges(ranges: OffsetRanges) -> str:
    shown = [f"{first}" if first == last else f"{first}-{last}" for first, last in ranges][:SHOWN_RANGES]
    more = len(ranges.ranges) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "") or "none"


def _of_ledger(found: PartitionAudit, text: str) -> str:
    return "-" if found.recorded is None else text


@contextmanager
def _progress() -> Iterator[Watch]:
    """Yield what shows how far the reading of each topic is, on a terminal."""
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:

        def watch(name: str, messages: Iterable[Message], number: int) -> Iterable[Message]:
            return progress.track(messages, total=number, description=name)

        yield watch
