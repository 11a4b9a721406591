# SPDX-License-Identifier: BSD-3-Clause
"""`replay --engine spark`, on a real Spark, writes the verdicts and the dead letters of the local engine."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from broker_plugin.errors import ConfigurationError
from broker_plugin.pipeline.assembly import FilterRecipe
from broker_plugin.pipeline.dead_letters import DeadLetters
from broker_plugin.pipeline.spark import replay_on_spark
from tests.support.environments import SPARK, in_environment
from tests.support.hosts import host_interpreter
from tests.support.process import ServerUnavailableError
from tests.support.tiers import unavailable

pytestmark = [pytest.mark.hosts, pytest.mark.timeout(900)]

TIMES = {"received_at", "emitted_at"}

N_FILES = 40
"""So many that chance would not give each a task of its own."""

SPREAD = """
import json, sys
from pathlib import Path
from pyspark.sql import SparkSession
from broker_plugin.pipeline.spark import one_task_a_file
spark = SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false").getOrCreate()
files = [(number, Path(f"{number}.avro")) for number in range(int(sys.argv[1]))]
print(json.dumps(one_task_a_file(spark, files).rdd.glom().map(len).collect()))
spark.stop()
"""
"""Prints how many files each partition has."""


@pytest.fixture(scope="module")
def spark_python() -> Path:
    try:
        return host_interpreter("spark")
    except ServerUnavailableError as missing:
        unavailable(str(missing))


@pytest.fixture(scope="module")
def night(data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Seven files: packets of ZTF, one of Rubin's containers, one that is cut, one that is none."""
    folder = tmp_path_factory.mktemp("night")
    for path in sorted((data_dir / "alerts" / "ztf" / "native").glob("*.avro"))[:4]:
        (folder / path.name).write_bytes(path.read_bytes())
    container = (data_dir / "alerts" / "lsst" / "lsst_v7_1_nocutouts.avro").read_bytes()
    (folder / "lsst.avro").write_bytes(container)
    (folder / "lsst-cut.avro").write_bytes(container[: len(container) // 2])
    (folder / "nothing.avro").write_bytes(b"no packet at all")
    return folder


def replay(interpreter: Path, night: Path, out: Path, *options: str) -> int:
    done = in_environment(
        interpreter,
        ["-m", "broker_plugin", "replay", str(night), "--out", str(out), "--device", "cpu", *options],
        timeout_s=800.0,
        variables={**SPARK, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode in {0, 3}, done.stderr[-3000:]
    return done.returncode


def verdicts(paths: list[Path]) -> list[dict[str, Any]]:
    rows = [row for path in paths for row in pq.read_table(path).to_pylist()]
    return [{name: value for name, value in row.items() if name not in TIMES} for row in rows]


def letters(paths: list[Path]) -> list[dict[str, Any]]:
    return [json.loads(line) for path in paths for line in path.read_text().splitlines()]


def test_spark_writes_what_the_local_engine_writes(spark_python: Path, night: Path, tmp_path: Path) -> None:
    local, parts = tmp_path / "local.parquet", tmp_path / "parts.parquet"
    status = replay(spark_python, night, local)
    assert replay(spark_python, night, parts, "--engine", "spark", "--workers", "2") == status == 3
    written = sorted(parts.glob("part-*.parquet"))
    assert len(written) == 7
    assert verdicts(written) == verdicts([local])
    assert len(verdicts(written)) > 10
    dead = tmp_path / "parts.parquet.dead.jsonl"
    assert letters(sorted(dead.glob("part-*.jsonl"))) == letters([tmp_path / "local.parquet.dead.jsonl"])
    assert letters(sorted(dead.glob("part-*.jsonl")))
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "local.parquet",
        "local.parquet.dead.jsonl",
        "parts.parquet",
        "parts.parquet.dead.jsonl",
    ]


def test_each_of_many_files_has_a_task_of_its_own(spark_python: Path) -> None:
    done = in_environment(spark_python, ["-c", SPREAD, str(N_FILES)], timeout_s=300.0, variables=SPARK)
    assert done.returncode == 0, done.stderr[-3000:]
    assert json.loads(done.stdout) == [1] * N_FILES


@pytest.mark.parametrize("where", ["there", "nowhere/out"])
def test_a_place_that_cannot_be_written_is_refused_before_spark_starts(tmp_path: Path, where: str) -> None:
    (tmp_path / "there").mkdir()
    outputs = (tmp_path / "verdicts", tmp_path / where)
    with pytest.raises(ConfigurationError, match=where):
        replay_on_spark(FilterRecipe(), DeadLetters(topic=""), [tmp_path / "night.avro"], outputs)
    assert [path.name for path in tmp_path.iterdir()] == ["there"]
