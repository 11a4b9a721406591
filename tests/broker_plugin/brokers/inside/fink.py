# SPDX-License-Identifier: BSD-3-Clause
"""Real packets as Fink's Spark table through Fink's own way of calling a filter and a science module."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from fink_utils.spark.utils import FinkUDF, expand_function_from_string
from pyspark.sql import SparkSession
from pyspark.sql.types import BooleanType

from broker_plugin.brokers.fink import lsst_strange
from broker_plugin.surveys import lsst_fields
from broker_plugin.surveys.fields import Kind, RecordTable
from tests.broker_plugin.brokers.sample import lsst_packets, report, rows
from tests.support.artefacts import REPOSITORY

SUBMITTED = REPOSITORY / "deploy" / "brokers" / "fink"

TYPES = {
    Kind.NUMBER: pa.float64(),
    Kind.INTEGER: pa.int64(),
    Kind.TEXT: pa.string(),
    Kind.ANY: pa.bool_(),  # Rubin's marks
}


def struct_of(table: RecordTable) -> pa.DataType:
    return pa.struct([(field.path, TYPES[field.kind]) for field in table.fields])


def written(packets: list[dict[str, Any]], path: Path) -> None:
    """Write packets as the table of alerts that Fink's chain works on."""
    columns = {
        "diaSource": pa.array([p["diaSource"] for p in packets], struct_of(lsst_fields.SOURCE)),
        "prvDiaSources": pa.array(
            [rows(p, "prvDiaSources") for p in packets], pa.list_(struct_of(lsst_fields.SOURCES))
        ),
        "prvDiaForcedSources": pa.array(
            [rows(p, "prvDiaForcedSources") for p in packets], pa.list_(struct_of(lsst_fields.FORCED))
        ),
        "diaObject": pa.array([p["diaObject"] for p in packets], pa.struct([("diaObjectId", pa.int64())])),
        "number": pa.array(range(len(packets))),
    }
    pq.write_table(pa.table(columns), path)


def submitted(folder: Path, name: str, path: Path) -> ModuleType:
    """Import a file that is to be submitted, from where Spark's workers find it too."""
    shutil.copy(path, folder / f"{name}.py")
    return import_module(name)


def main(data_dir: Path) -> list[Any]:
    with tempfile.TemporaryDirectory() as folder:
        sys.path.insert(0, folder)
        os.environ["PYTHONPATH"] = os.pathsep.join((folder, os.environ["PYTHONPATH"]))
        return judged(Path(folder), lsst_packets(data_dir))


def judged(folder: Path, packets: list[dict[str, Any]]) -> list[Any]:
    spark = (
        SparkSession.builder.master("local[1]")
        .config("spark.ui.enabled", "false")
        .config("spark.driver.bindAddress", "127.0.0.1")
        .config("spark.driver.host", "127.0.0.1")
        .getOrCreate()
    )
    path = folder / "alerts.parquet"
    written(packets, path)
    table = spark.read.parquet(str(path))
    module = submitted(folder, "astrom3_filter", SUBMITTED / "filter_astrom3_strange" / "filter.py")
    assert module.DESCRIPTION
    assert module.HBASE_SUPPORT is not None
    function, columns = expand_function_from_string(table, "astrom3_filter.astrom3_strange")
    chosen = table.filter(FinkUDF(function, BooleanType(), "").for_spark(*columns))
    strange = {row["number"] for row in chosen.select("number").collect()}
    science = submitted(folder, "astrom3_science", SUBMITTED / "science" / "processor.py")
    scored = table.withColumn("astrom3", science.astrom3_scores(*science.COLUMNS))
    rows_found = scored.select("number", "astrom3").collect()
    spark.stop()
    found = {row["number"]: row["astrom3"].asDict() for row in rows_found}
    strange |= selected_of_withdrawn(packets)
    return [found[number] | {"strange": number in strange} for number in sorted(found)]


def selected_of_withdrawn(packets: list[dict[str, Any]]) -> set[int]:
    """Return which withdrawn alerts are selected where the limit of the p-value is 1."""
    numbers = [n for n, packet in enumerate(packets) if packet["diaSource"]["timeWithdrawnMjdTai"]]
    some = [packets[n] for n in numbers]
    chosen = lsst_strange(
        pd.DataFrame([p["diaSource"] for p in some]),
        pd.Series([rows(p, "prvDiaSources") for p in some]),
        pd.Series([rows(p, "prvDiaForcedSources") for p in some]),
        pd.DataFrame([{"diaObjectId": (p["diaObject"] or {}).get("diaObjectId")} for p in some]),
        max_p_value=1.0,
    )
    return {n for n, is_chosen in zip(numbers, chosen, strict=True) if is_chosen}


if __name__ == "__main__":
    report(main)
