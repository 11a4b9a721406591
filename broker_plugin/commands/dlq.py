# SPDX-License-Identifier: BSD-3-Clause
"""`broker-plugin dlq`: look at dead letters and replay them."""

from __future__ import annotations

import sys
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn

from broker_plugin.codec.registry import SchemaRegistry
from broker_plugin.codec.schemas import SchemaStore
from broker_plugin.commands.dead_letter_source import (
    LetterTopic,
    letter_in_file,
    letters_in_file,
    parse_place,
    since_ms,
)
from broker_plugin.commands.dead_letter_view import Format, group_letters, show_each, show_groups, show_whole
from broker_plugin.engine.explanation import counted
from broker_plugin.errors import ConfigurationError, RejectReason
from broker_plugin.pipeline.dead_letter_reader import Place
from broker_plugin.pipeline.dead_letter_replay import (
    Plan,
    Rejudge,
    Remedy,
    SendAgain,
    make_plan,
    replay_letters,
)
from broker_plugin.progress import LoggedProgress
from broker_plugin.service.application import judge_and_outbox
from broker_plugin.service.consistency import hosts
from broker_plugin.service.logging import configure_logging
from broker_plugin.streams.kafka import TransactionalKafkaSink

__all__ = ["dlq"]

CONNECT_S = 10.0
"""Longest wait for the cluster of a command that somebody is waiting for."""

dlq = App(name="dlq", help="Look at dead letters, and replay them when what was wrong with them is mended.")

Reasons = Annotated[list[RejectReason] | None, Parameter(name="--reason", negative="")]
FormatFlag = Annotated[Format, Parameter(name="--format")]


@dlq.command(name="list")
def list_letters(
    file: Path | None = None,
    *,
    bootstrap: str | None = None,
    topic: str | None = None,
    reasons: Reasons = None,
    since: str | None = None,
    each: Annotated[bool, Parameter(negative="")] = False,
    limit: int | None = None,
    output_format: FormatFlag = "table",
    config: Path | None = None,
) -> int:
    """Count dead letters by reason and by the partition they came from, newest first, or list them.

        broker-plugin dlq list --config run.toml --since 12h
        broker-plugin dlq list verdicts.jsonl.dead.jsonl --each --reason missing_field

    Parameters
    ----------
    file
        Dead letters that `replay` wrote; by default those on the topic.
    bootstrap
        host:port of the Kafka cluster; by default the one that run writes to.
    topic
        Topic of dead letters; by default that of run.
    reasons
        Only letters of this reason. May be repeated.
    since
        Only letters written since a moment: 2026-11-24T03:00:00Z, or how long ago: 90m, 12h, 3d.
    each
        List the letters, newest first, instead of counting them.
    limit
        Show no more than so many lines.
    output_format
        A table for people, or JSON lines.
    config
        The settings of run, a TOML file; the environment counts too.
    """
    configure_logging(level="warning")
    replayed: frozenset[Place] = frozenset()
    if file is None:
        letters, replayed = LetterTopic(bootstrap, topic, config).letters(since)
    else:
        letters = letters_in_file(file, since)
    if reasons:
        letters = [letter for letter in letters if letter.reason in reasons]
    if not letters:
        sys.stderr.write("broker-plugin: no dead letters\n")
    elif each:
        letters.sort(key=lambda letter: (letter.timestamp_ms or 0, letter.place), reverse=True)
        show_each(letters[:limit], replayed, output_format)
    else:
        show_groups(group_letters(letters, replayed)[:limit], output_format)
    return 0


@dlq.command(name="show")
def show_letter(
    at: str,
    file: Path | None = None,
    *,
    bootstrap: str | None = None,
    topic: str | None = None,
    output_format: FormatFlag = "table",
    config: Path | None = None,
) -> int:
    """Show one dead letter whole: why it is dead, where it came from, its headers, its bytes.

    Bytes that follow their schema are shown as JSON, others as hexadecimal digits. With schemas or a registry
    of the input (schemas, input_registry) framed packets are decoded too.

        broker-plugin dlq show 0:1234 --config run.toml
        broker-plugin dlq show 17 verdicts.jsonl.dead.jsonl

    Parameters
    ----------
    at
        PARTITION:OFFSET of the letter on its topic, as `list` names it; in a file the number of its line.
    file
        Dead letters that `replay` wrote; by default those on the topic.
    bootstrap
        host:port of the Kafka cluster; by default the one that run writes to.
    topic
        Topic of dead letters; by default that of run.
    output_format
        For people, or one line of JSON.
    config
        The settings of run, a TOML file; the environment counts too.
    """
    configure_logging(level="warning")
    letters = LetterTopic(bootstrap, topic, config)
    partition, offset = parse_place(at)
    letter = letters.letter(partition, offset) if file is None else letter_in_file(file, offset)
    if letter is None:
        raise ConfigurationError(
            f"no dead letter is at {at}; `broker-plugin dlq list --each` names those there are"
        )
    settings = letters.settings
    registry = SchemaRegistry(settings.input_registry) if settings.input_registry else None
    show_whole(letter, SchemaStore(registry, [settings.schemas] if settings.schemas else []), output_format)
    return 0


@dlq.command(name="replay")
def replay_dead_letters(
    *,
    bootstrap: str | None = None,
    topic: str | None = None,
    to: str | None = None,
    rejudge: Annotated[bool, Parameter(negative="")] = False,
    reasons: Reasons = None,
    since: str | None = None,
    limit: int | None = None,
    dry_run: Annotated[bool, Parameter(negative="")] = False,
    config: Path | None = None,
) -> int:
    """Send dead letters to the input again, or judge them again here; each once, however often this runs.

    Without --rejudge the bytes, key and headers go back as they came to the topic that they came from, or to
    --to, with a header dlq_replay_of (topic/partition/offset of the letter): for a run that was mended. With
    --rejudge they are decoded and scored here by the settings of run, and verdicts go to its output: for a
    survey's cluster, which nobody but the survey may write to.

    What was sent is noted on the dead-letter topic itself, in the same transaction. A replay that was cut
    short is completed by the next; one that is started beside another ends the other. Letters that hold only
    the head of their message, or nothing of it, are counted and left. The oldest are sent first.

        broker-plugin dlq replay --config run.toml --reason unknown_schema --dry-run
        broker-plugin dlq replay --config run.toml --reason unknown_schema --since 12h --rejudge

    Parameters
    ----------
    bootstrap
        host:port of the Kafka cluster; by default the one that run writes to.
    topic
        Topic of dead letters; by default that of run.
    to
        Topic to send to, on the same cluster; by default the one that each letter came from.
    rejudge
        Score the letters here and send their verdicts.
    reasons
        Only letters of this reason. May be repeated.
    since
        Only letters written since a moment: 2026-11-24T03:00:00Z, or how long ago: 90m, 12h, 3d.
    limit
        Send no more than so many.
    dry_run
        Say what would be done, and send nothing.
    config
        The settings of run, a TOML file; the environment counts too.
    """
    if rejudge and to:
        raise ConfigurationError("--to and --rejudge exclude one another; verdicts go to the output of run")
    configure_logging(level="warning")
    letters = LetterTopic(bootstrap, topic, config)
    remedy = _rejudge(letters) if rejudge else _send_again(letters, to or "")
    console = Console(stderr=True)
    with letters.snapshot() as snapshot, closing(_sink(letters)) as sink:
        if not dry_run:
            sink.open()  # before the receipts are read; see `pipeline.dead_letter_replay`
        span = snapshot.span(since_ms=since_ms(since))
        with console.status("looking for what was replayed before ..."):
            plan = make_plan(snapshot.messages(span), reasons or (), limit=limit)
        targets = remedy.targets(set(plan.places.values()))
        counts = Counter(sent=0, still_dead=0)
        if plan.places and not dry_run:
            sink.connect([letters.name, *targets], deadline_s=CONNECT_S)
            with _progress(console) as progress:
                task = progress.add_task("replaying", total=len(plan.places))
                counts = replay_letters(
                    snapshot.messages(span),
                    plan,
                    remedy,
                    sink,
                    dead_letters=letters.name,
                    advance=lambda done: progress.advance(task, done),
                )
    sys.stdout.write(_summary(plan, counts, ", ".join(targets), dry_run=dry_run))
    return 0


def _send_again(letters: LetterTopic, to: str) -> Remedy:
    source = letters.settings.bootstrap
    if not to and source and hosts(source) != hosts(letters.address.bootstrap):
        raise ConfigurationError(
            "the letters came from another cluster, which is the survey's to write to; use --rejudge to "
            "score them here, or --to TOPIC to send them to a topic beside the dead letters"
        )
    return SendAgain(dead_letters=letters.name, to=to)


def _rejudge(letters: LetterTopic) -> Remedy:
    letters.settings.require("survey", "output")
    alert_filter, outbox = judge_and_outbox(letters.settings)
    return Rejudge(alert_filter=alert_filter, outbox=outbox, output=letters.settings.output)


def _sink(letters: LetterTopic) -> TransactionalKafkaSink:
    return TransactionalKafkaSink(
        letters.address,
        transactional_id=f"{letters.name}-dlq-replay",
        ack_timeout_s=letters.settings.ack_timeout_s,
        message_max_bytes=letters.settings.dead_letters_max_bytes,
    )


def _progress(console: Console) -> LoggedProgress:
    return LoggedProgress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
    )


def _summary(plan: Plan, counts: Counter[str], targets: str, *, dry_run: bool) -> str:
    if dry_run:
        lines = [f"{counted(len(plan.places), 'dead letter')} would be replayed to {targets or 'nowhere'}"]
    else:
        lines = [f"{counted(counts['sent'], 'dead letter')} replayed to {targets or 'nowhere'}"]
    if counts["still_dead"]:
        lines.append(f"{counts['still_dead']:,} are rejected again and stay dead letters")
    if plan.replayed:
        lines.append(f"{plan.replayed:,} were replayed before")
    if plan.not_whole:
        lines.append(
            f"{plan.not_whole:,} hold only a part of their message, which only their input topic has"
        )
    return "\n".join(lines) + "\n"
