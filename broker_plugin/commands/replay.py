# SPDX-License-Identifier: BSD-3-Clause
"""`broker-plugin replay`: alert files in, a file of verdicts out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter, validators
from rich.console import Console
from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn

from broker_plugin.codec.verdict import Tense
from broker_plugin.decision import DecisionRule
from broker_plugin.engine.explanation import counted
from broker_plugin.errors import ConfigurationError, RejectReason
from broker_plugin.pipeline.assembly import FilterRecipe, parse_access, parse_dead_letter_access
from broker_plugin.pipeline.backfill import Backfill, open_backfill
from broker_plugin.pipeline.dead_letters import DeadLetters
from broker_plugin.pipeline.lasting import lasting
from broker_plugin.pipeline.memory import MemoryRecipe
from broker_plugin.pipeline.spark import replay_on_spark
from broker_plugin.pipeline.written import FOREIGN, VERDICT, write_judgements
from broker_plugin.prior import BUNDLE
from broker_plugin.progress import LoggedProgress
from broker_plugin.service.bundle_choice import chosen_bundle
from broker_plugin.service.logging import configure_logging
from broker_plugin.service.settings_sources import load_settings
from broker_plugin.signals import InterruptedBySignal, interrupt_on_signal
from broker_plugin.streams.archive import ArchiveSource
from broker_plugin.streams.output_files import check_outputs
from broker_plugin.streams.verdict_files import check_format

__all__ = ["replay"]

EXIT_ENDED_EARLY = 3
"""All that could be read has a verdict or a dead letter, but a file could not be read to its end."""

EXIT_NO_ALERT = 4
"""Everything was read, and none of it is an alert packet: most likely the wrong files were given."""

NO_PACKET = frozenset({RejectReason.EMPTY, RejectReason.UNDECODABLE})
"""Reasons of dead letters that are no packet at all. What no survey knows is none either, and is counted."""

NAMED = 5
"""Files that a line of warning names; of more it says how many."""

STORE_TIMEOUT_S = 10.0
"""Nobody waits for a replay as for a stream, but without its store it would say something else."""

DEAD_LETTER_MAX_BYTES = 1_000_000
"""Larger dead letters keep their first 4 KiB: the file they came from still has the rest."""


def replay(
    *paths: Path,
    out: Annotated[Path | None, Parameter(name=["--out", "-o"])] = None,
    bundle: str = "default",
    bundles: Path | None = None,
    device: Literal["auto", "cpu", "cuda", "openvino"] = "auto",
    class_prior: str = BUNDLE,
    decision_rule: DecisionRule = BUNDLE,
    workers: Annotated[int, Parameter(validator=validators.Number(gte=1))] = 1,
    dead_letters: Path | None = None,
    schemas: Annotated[list[Path] | None, Parameter(negative="")] = None,
    input_registry: str = "",
    store: str = "none",
    engine: Literal["local", "spark"] = "local",
    access: str = "public",
    dead_letters_access: str = "public,undecodable",
    tense: Tense = Tense.ARCHIVAL,
    config: Path | None = None,
) -> int:
    """Score alert packets from files and write their verdicts to a file.

    Reads Avro container files of one or many packets, single Confluent-framed packets, nightly .tar and
    .tar.gz archives and Parquet; directories are searched for them. Writes one verdict for every packet, in
    the order of the files; what cannot become a verdict goes to the dead-letter file with its reason. Files
    of verdicts are not read. No input is ever written to.

    The exit status is 0 if every file was read to its end; 3 if all is written but a file was cut or damaged,
    so that alerts are missing which nobody could count; 4 if nothing in the files is an alert packet; 2 if
    the arguments or a full disk make it impossible; 130 or 143 after Ctrl-C or SIGTERM. Outputs appear with
    0, 3 and 4, and are left as they were otherwise.

        broker-plugin replay night.tar.gz --out verdicts.parquet
        broker-plugin replay alerts/ more.avro --out verdicts.jsonl --workers 2

    Parameters
    ----------
    paths
        Files and directories of alert packets.
    out
        The verdicts; ends in .avro, .parquet or .jsonl. Appears when it is complete. Must be given.
    bundle
        NAME of a bundle, in the repository or installed; NAME@VERSION in the repository; or a directory.
    bundles
        Repository of bundles, a directory; by default ASTROM3_BUNDLES.
    device
        Where the encoders run. Only auto may choose.
    class_prior
        Class frequencies that the probabilities assume: bundle (those of its training catalogue), uniform, or
        NAME:CLASS=FREQUENCY,... for every class.
    decision_rule
        What names the class: argmax, the most probable one; tempered, which names rare classes oftener
        (probability over the root of the class's frequency); or the bundle's own rule, which with another
        class prior is argmax.
    workers
        Processes that decode and score. The verdicts do not depend on it. With Spark and more than one: those
        of a Spark on this machine; leave it out where Spark's own configuration names a cluster.
    dead_letters
        What could not become a verdict, as JSON lines; by default OUT.dead.jsonl. Empty where all could.
    schemas
        Directory of alert schemas for framed packets; may be repeated.
    input_registry
        URL of the schema registry of framed packets.
    store
        Where the histories of objects are kept beyond their packets: none, memory (of this run), sqlite,
        sqlite:PATH or redis://HOST:PORT/DB. With none a verdict depends on its packet alone; with the others
        also on the alerts before it, so give the files in order of time.
    engine
        What runs the work: this machine's processes, or Apache Spark (extra `spark`), with one task a file.
        On Spark --out and --dead-letters are directories with a part for every file, in their order.
    access
        What the readers of the verdicts may see: public, partnership, caltech, private, with commas between.
    dead_letters_access
        The same for the readers of the dead letters; undecodable stands for bytes that nobody could decode,
        which may hold anything.
    tense
        What the verdicts say of their time. Only current may trigger an observation.
    config
        The settings of run, a TOML file, of which the limits of a message count here, and the environment.
    """
    _log()
    console = Console(stderr=True)
    if out is None:
        raise ConfigurationError("no place for the verdicts; give --out FILE, in .avro, .parquet or .jsonl")
    check_format(out)
    if not paths:
        raise ConfigurationError("nothing to read; give files or directories of alert packets")
    memory = MemoryRecipe.of(store, timeout_s=STORE_TIMEOUT_S)
    if memory is not None and workers > 1:
        raise ConfigurationError(
            "with a store alerts are judged in order, each knowing those before it",
            remedy="leave out --workers",
        )
    if memory is not None:
        console.print(f"store: {memory.check()}", soft_wrap=True, markup=False)
    if memory is not None and engine == "spark":
        raise ConfigurationError(
            "with a store alerts are judged in order, each knowing those before it",
            remedy="use --engine local",
        )
    recipe = FilterRecipe(
        bundle=chosen_bundle(bundle, bundles),
        device=device,
        class_prior=class_prior,
        decision_rule=decision_rule,
        tense=tense,
        access=parse_access(access),
        input_registry=input_registry,
        schemas=tuple(schemas or ()),
        memory=memory,
        limits=load_settings(config=config).limits.values(),
    )
    declared, undecodable = parse_dead_letter_access(dead_letters_access)
    letters = DeadLetters(
        topic="", declared=declared, undecodable=undecodable, max_bytes=DEAD_LETTER_MAX_BYTES
    )
    outputs = (out, dead_letters or out.with_name(f"{out.name}.dead.jsonl"))
    source = ArchiveSource(paths)
    check_outputs(outputs, [*(path for path in paths if path.is_file()), *source.paths])
    if source.verdict_files:
        _warn(console, f"not read, since they hold verdicts: {_some(source.verdict_files)}")
    if engine == "spark":
        parts = replay_on_spark(recipe, letters, source.paths, outputs, workers=workers)
        return _end(console, parts.counts, outputs, parts.ended_early)
    try:
        with (
            interrupt_on_signal() as too_late,
            open_backfill(recipe, workers=workers, prepare=_log) as backfill,
            lasting(),
        ):
            for line in (backfill.provider.reason, *backfill.provider.warnings):
                console.print(line, soft_wrap=True, markup=False)
            counts = _write_all(source, backfill, letters, outputs, console, all_written=too_late)
    except InterruptedBySignal:
        _warn(console, "nothing was written, so start again from the beginning")
        raise
    return _end(console, counts, outputs, source.ended_early)


def _end(
    console: Console, counts: Counter[str], outputs: tuple[Path, Path], ended_early: Sequence[str]
) -> int:
    """Say what was written and what is missing, and return the exit status."""
    console.print(_summary(counts, *outputs), soft_wrap=True, highlight=False, markup=False)
    dead = _dead(counts)
    packets = sum(n for reason, n in dead.items() if reason not in NO_PACKET) - counts[FOREIGN]
    if dead and not (packets or counts[VERDICT] or ended_early):
        _warn(
            console, "nothing here is an alert packet; give Avro files as the surveys send and archive them"
        )
        return EXIT_NO_ALERT
    if dead and not counts[VERDICT]:
        _warn(console, f"no alert became a verdict; {outputs[1]} says of each why")
    if not ended_early:
        return 0
    what = "an input" if len(ended_early) == 1 else f"{len(ended_early)} inputs"
    _warn(console, f"INCOMPLETE: {what} ended early, alerts are missing. {_some(ended_early)}")
    return EXIT_ENDED_EARLY


def _write_all(
    source: ArchiveSource,
    backfill: Backfill,
    letters: DeadLetters,
    outputs: tuple[Path, Path],
    console: Console,
    *,
    all_written: Callable[[], None],
) -> Counter[str]:
    with _progress(console) as progress:
        task = progress.add_task("reading", total=source.bytes_total, alerts=0)

        def advance(counts: Counter[str]) -> None:
            progress.update(task, completed=source.bytes_read, alerts=counts[VERDICT])

        return write_judgements(
            backfill.judge(source), letters, outputs, advance=advance, all_written=all_written
        )


def _log() -> None:
    configure_logging(level="warning")


def _warn(console: Console, text: str) -> None:
    console.print(f"broker-plugin: {text}", style="yellow", soft_wrap=True, highlight=False, markup=False)


def _some(names: Sequence[object]) -> str:
    more = f" and {len(names) - NAMED:,} more" if len(names) > NAMED else ""
    return "; ".join(str(name) for name in names[:NAMED]) + more


def _progress(console: Console) -> LoggedProgress:
    return LoggedProgress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[alerts]:,} verdicts"),
        TimeRemainingColumn(),
        console=console,
    )


def _dead(counts: Counter[str]) -> dict[str, int]:
    """Return how many dead letters there are of each reason."""
    return {reason: n for reason, n in counts.items() if n and reason not in (VERDICT, FOREIGN)}


def _summary(counts: Counter[str], out: Path, dead_letter_path: Path) -> str:
    text = f"{counted(counts[VERDICT], 'verdict')} in {out}"
    dead = _dead(counts)
    if not dead:
        return text
    reasons = ", ".join(f"{reason} {n:,}" for reason, n in sorted(dead.items()))
    return f"{text}; {counted(sum(dead.values()), 'dead letter')} in {dead_letter_path} ({reasons})"
