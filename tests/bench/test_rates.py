# SPDX-License-Identifier: BSD-3-Clause
"""Rates of the stages from bytes to verdicts on real alerts, compared within one run."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console
from rich.table import Table

from broker_plugin.codec.decoder import Decoder
from broker_plugin.codec.packets import decode_message
from broker_plugin.codec.schemas import SchemaStore
from broker_plugin.codec.verdict import encode_container
from broker_plugin.engine.scorer import Scorer
from broker_plugin.features.base import build_modality
from broker_plugin.features.period import find_periods
from broker_plugin.records import AlertBatch, Provenance
from broker_plugin.surveys.registry import adapters

pytestmark = pytest.mark.bench

REPEATS = 3
"""The median of three is steady enough for ratios on a shared machine."""

BATCHING_GAIN_MIN = 2.0
"""Batches that do not at least double the rate of single alerts have lost their point."""


def rate(work: Callable[[], object], n: int) -> float:
    """Return alerts a second of CPU time, the median of a few repeats."""
    work()
    seconds = []
    for _ in range(REPEATS):
        begun = time.process_time()
        work()
        seconds.append(time.process_time() - begun)
    return n / sorted(seconds)[REPEATS // 2]


def test_batches_pay_off_and_the_stages_are_shown(data_dir: Path) -> None:
    values = [path.read_bytes() for path in sorted((data_dir / "alerts/ztf/native").glob("*.avro"))]
    store = SchemaStore()
    decoder = Decoder(schemas=store, adapters=adapters())
    packets = [decode_message(v, schema_of=store.writer_schema).packets[0] for v in values]
    alerts = [alert for packet in packets for alert in decoder.adapt(packet, Provenance(topic="bench"))]
    batch = AlertBatch.from_alerts(alerts)
    scorer = Scorer.open("default", device="cpu")
    scorer.warm_up()
    verdicts = scorer.score(batch)
    periods = find_periods(batch)
    (spec,) = (m.spec for m in scorer.bundle.manifest.modalities if m.name == "light_curve")
    light_curve = build_modality("light_curve", spec)
    n = len(alerts)
    rates = {
        "decode (fastavro)": rate(
            lambda: [decode_message(v, schema_of=store.writer_schema) for v in values], n
        ),
        "adapt": rate(lambda: [decoder.adapt(p, Provenance(topic="bench")) for p in packets], n),
        "gather": rate(lambda: AlertBatch.from_alerts(alerts), n),
        "period search": rate(lambda: find_periods(batch), n),
        "light-curve tokens": rate(lambda: light_curve.tokens(batch, periods), n),
        "score, one by one": rate(lambda: [scorer.score([alert]) for alert in alerts], n),
        "score, in a batch": rate(lambda: scorer.score(batch), n),
        "encode": rate(lambda: [encode_container(verdict) for verdict in verdicts], n),
    }
    table = Table("stage", "alerts/s of one core", title=f"{n} native ZTF packets with cutouts")
    for stage, value in rates.items():
        table.add_row(stage, f"{value:,.0f}")
    Console().print(table)
    assert rates["score, in a batch"] > BATCHING_GAIN_MIN * rates["score, one by one"]
