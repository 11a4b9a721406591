# SPDX-License-Identifier: BSD-3-Clause
"""The files of a backfill on Apache Spark: one task a file, one scorer a Python worker, one part a file.

Each task reads its file as the local engine does and writes its verdicts to a part of the output directory,
as that would to a file; only counts travel back. The directory must be one that all executors see. A task
that Spark runs again writes its part anew.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import uuid
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

from broker_plugin.errors import ConfigurationError
from broker_plugin.pipeline.assembly import FilterRecipe
from broker_plugin.pipeline.backfill import BATCH
from broker_plugin.pipeline.dead_letters import DeadLetters
from broker_plugin.pipeline.filter import AlertFilter
from broker_plugin.pipeline.written import write_judgements
from broker_plugin.signals import unbroken
from broker_plugin.streams.archive import ArchiveSource
from broker_plugin.streams.output_files import cannot_write

__all__ = ["Parts", "one_task_a_file", "replay_on_spark"]

RESULT = "number int, counts string, ended_early string"
"""What a task gives back, as Spark's schema."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What a run on Spark has written.

    Parameters
    ----------
    counts
        Verdicts, and dead letters by reason.
    ended_early
        What could not be read to its end, and why.
    """

    counts: Counter[str]
    ended_early: tuple[str, ...]


def replay_on_spark(
    recipe: FilterRecipe,
    letters: DeadLetters,
    paths: Sequence[Path],
    outputs: tuple[Path, Path],
    *,
    workers: int = 1,
) -> Parts:
    """Judge files on Spark and write their verdicts and dead letters into two directories of parts.

    Parameters
    ----------
    recipe, letters
        Make the filter and the dead letters.
    paths
        Files of alerts; part N of the output is of file N.
    outputs
        Directories to make. The suffix of the first is the format of its parts.
    workers
        With more than one: so many processes of a Spark on this machine. Else Spark's own configuration
        decides, as `spark-submit` or `SPARK_CONF_DIR` give it.

    Raises
    ------
    ConfigurationError
        If Spark is not installed, or an output is there already or cannot be made.
    """
    files = [(number, path.resolve()) for number, path in enumerate(paths)]
    with _complete_folders(outputs) as folders, _session(workers) as spark:
        judge = partial(
            _judge_files, recipe=recipe, letters=letters, folders=folders, suffix=outputs[0].suffix
        )
        results = one_task_a_file(spark, files).mapInPandas(judge, RESULT).collect()
    counts: Counter[str] = Counter()
    for row in results:
        counts.update(json.loads(row["counts"]))
    ordered = sorted(results, key=lambda row: int(row["number"]))
    return Parts(
        counts=counts, ended_early=tuple(each for row in ordered for each in json.loads(row["ended_early"]))
    )


def one_task_a_file(spark: Any, files: Sequence[tuple[int, Path]]) -> Any:
    """Return a table of files, each in a partition of its own, by a session of Spark's."""
    rows = [(number, str(path)) for number, path in files]
    # To repartition by a column would hash it, so that some tasks had several files and others none.
    return spark.createDataFrame(spark.sparkContext.parallelize(rows, len(rows)), "number int, path string")


@contextmanager
def _complete_folders(outputs: tuple[Path, Path]) -> Iterator[tuple[str, str]]:
    """Make directories that appear under their names when the block ends well, and else leave nothing."""
    for output in outputs:
        if output.exists():
            raise ConfigurationError(f"{output} exists already", remedy="remove it, or choose another place")
    run = uuid.uuid4().hex[:8]
    folders = [output.with_name(f"{output.name}.{run}.part") for output in outputs]
    try:
        for folder, output in zip(folders, outputs, strict=True):
            try:
                folder.mkdir()
            except OSError as error:
                raise cannot_write(output, error) from error
        yield str(folders[0].resolve()), str(folders[1].resolve())
        with unbroken():
            for folder, output in zip(folders, outputs, strict=True):
                folder.rename(output)
    finally:
        for folder in folders:
            shutil.rmtree(folder, ignore_errors=True)  # gone where it has its name


@contextmanager
def _session(workers: int) -> Iterator[Any]:
    try:
        from pyspark.sql import SparkSession
    except ImportError as error:
        raise ConfigurationError("no Spark here", remedy="pip install 'astrom3-broker[spark]'") from error
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    builder = SparkSession.builder.appName("astrom3-broker replay").config("spark.ui.enabled", "false")
    if workers > 1:
        builder = builder.master(f"local[{workers}]")
    spark = builder.getOrCreate()
    try:
        yield spark
    finally:
        spark.stop()


def _judge_files(
    frames: Iterable[Any],
    *,
    recipe: FilterRecipe,
    letters: DeadLetters,
    folders: tuple[str, str],
    suffix: str,
) -> Iterator[Any]:
    """Judge the files of one task, in a Python worker of Spark's."""
    verdicts, dead_letters = map(Path, folders)
    for frame in frames:
        rows = []
        for number, path in zip(frame["number"], frame["path"], strict=True):
            name = f"part-{number:05d}"
            outputs = (verdicts / f"{name}{suffix}", dead_letters / f"{name}.jsonl")
            source = ArchiveSource([Path(path)])
            batches = iter(partial(_judged, source, recipe), [])
            counts = write_judgements(batches, letters, outputs)
            rows.append((number, json.dumps(counts), json.dumps(source.ended_early)))
        yield type(frame)(rows, columns=["number", "counts", "ended_early"])


def _judged(source: ArchiveSource, recipe: FilterRecipe) -> list[Any]:
    messages = source.poll(BATCH)
    return _filter(recipe).judge(messages) if messages else []


@cache
def _filter(recipe: FilterRecipe) -> AlertFilter:
    return recipe.filter(recipe.scorer())
