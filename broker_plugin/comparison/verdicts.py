# SPDX-License-Identifier: BSD-3-Clause
"""Verdicts of one bundle as columns, from a file or a topic."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import fastavro
import pyarrow as pa
import pyarrow.parquet as pq

from broker_plugin.codec.verdict import Verdict
from broker_plugin.errors import ConfigurationError, RejectedAlert
from broker_plugin.pipeline.verdict_reader import RecordReader
from broker_plugin.streams.kafka import KafkaTail

__all__ = ["ByKey", "Seen", "read_file", "read_topic", "seen_by_key"]

READ_ROWS = 4096
"""Rows of a Parquet file that are read at a time."""

POLL_S = 0.25

COLUMNS = (
    "alert_key",
    "object_id",
    "inputs_digest",
    "class_probabilities",
    "top_class",
    "anomaly_score",
    "anomaly_p_value",
    "received_at",
    "emitted_at",
    "bundle_name",
    "bundle_digest",
)
"""The fields that a comparison reads."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What a comparison needs of a verdict.

    Parameters
    ----------
    latency_s
        From reception to the verdict; None where the verdict is of a file, whose alerts were not waited for.
    """

    alert_key: str
    object_id: str
    inputs_digest: str
    class_probabilities: Mapping[str, float]
    top_class: str | None
    anomaly_score: float
    anomaly_p_value: float
    latency_s: float | None
    bundle_name: str
    bundle_digest: str


ByKey = tuple[Mapping[str, Seen], int]
"""The last verdict on each alert, and how many earlier ones there were."""


def seen_by_key(verdicts: Iterable[Seen]) -> ByKey:
    """Return the last verdict on each alert, and how many earlier ones there were."""
    by_key: dict[str, Seen] = {}
    n = 0
    for n, verdict in enumerate(verdicts, 1):  # noqa: B007 - the count is wanted after the loop
        by_key[verdict.alert_key] = verdict
    return by_key, n - len(by_key)


def read_file(path: Path) -> Iterator[Seen]:
    """Yield the verdicts of a file that `replay` wrote: .avro, .parquet or .jsonl.

    Raises
    ------
    ConfigurationError
        If it cannot be read or holds no verdicts.
    """
    try:
        reader = _READERS[path.suffix]
    except KeyError as error:
        raise ConfigurationError(
            f"{path} is no file of verdicts; give one that ends in {', '.join(_READERS)}"
        ) from error
    try:
        # A replay takes a whole batch in before the first verdict, and compiles in between.
        yield from (replace(_seen(record), latency_s=None) for record in reader(path))
    except OSError as error:
        raise ConfigurationError(f"cannot read {path}: {error.strerror or error}") from error
    except (KeyError, TypeError, ValueError, EOFError, pa.ArrowException) as error:
        raise ConfigurationError(
            f"{path} does not hold whole verdicts ({type(error).__name__}: {error}); write it again with "
            "`broker-plugin replay`"
        ) from error


def read_topic(
    tail: KafkaTail,
    reader: RecordReader[Verdict],
    *,
    quiet_s: float,
    limit: int | None,
    stop: threading.Event,
) -> Iterator[Seen]:
    """Yield the verdicts of a topic until nothing has come for a while; other messages are left out."""
    last, n = time.monotonic(), 0
    while not stop.is_set() and time.monotonic() - last < quiet_s and (limit is None or n < limit):
        for message in tail.poll(READ_ROWS, POLL_S):
            last = time.monotonic()
            try:
                verdict = reader.read(message.value)
            except RejectedAlert:
                continue
            n += 1
            yield _of_verdict(verdict)


def _seen(record: Mapping[str, Any]) -> Seen:
    return Seen(
        alert_key=str(record["alert_key"]),
        object_id=str(record["object_id"]),
        inputs_digest=str(record["inputs_digest"]),
        class_probabilities=dict(record["class_probabilities"]),
        top_class=record["top_class"],
        anomaly_score=float(record["anomaly_score"]),
        anomaly_p_value=float(record["anomaly_p_value"]),
        latency_s=(_time(record["emitted_at"]) - _time(record["received_at"])).total_seconds(),
        bundle_name=str(record["bundle_name"]),
        bundle_digest=str(record["bundle_digest"]),
    )


def _of_verdict(verdict: Verdict) -> Seen:
    return _seen({name: getattr(verdict, name) for name in COLUMNS})


def _time(value: Any) -> datetime:
    return value if isinstance(value, datetime) else datetime.fromisoformat(value)


def _avro(path: Path) -> Iterator[Mapping[str, Any]]:
    with path.open("rb") as handle:
        for record in fastavro.reader(handle):
            if not isinstance(record, Mapping):
                raise TypeError("not a record")
            yield record


def _parquet(path: Path) -> Iterator[Mapping[str, Any]]:
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(READ_ROWS, columns=list(COLUMNS)):
            yield from batch.to_pylist()


def _json_lines(path: Path) -> Iterator[Mapping[str, Any]]:
    with path.open(encoding="utf-8") as handle:
        yield from (json.loads(line) for line in handle if line.strip())


_READERS = {".avro": _avro, ".parquet": _parquet, ".jsonl": _json_lines}
