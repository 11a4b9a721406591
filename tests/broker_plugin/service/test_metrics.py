# SPDX-License-Identifier: BSD-3-Clause
"""Metrics are what was delivered, under labels from closed sets, and each is on the page of the docs."""

from __future__ import annotations

import re
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from broker_plugin.bundle import open_bundle
from broker_plugin.codec.verdict import Verdict
from broker_plugin.errors import PauseReason, RejectedAlert, RejectReason, StreamPausedError
from broker_plugin.pipeline.filter import Judgement
from broker_plugin.pipeline.memory import MemoryRecipe
from broker_plugin.pipeline.monitor import BatchOutcome
from broker_plugin.pipeline.stages import StageTimes
from broker_plugin.records import Access
from broker_plugin.service.bundle_metrics import BundleMetrics
from broker_plugin.service.drift import LEAST, DriftWatch
from broker_plugin.service.health import Health, show_readiness
from broker_plugin.service.metrics import Metrics
from broker_plugin.service.store_metrics import StoreCollector
from broker_plugin.streams.base import Message
from tests.broker_plugin.codec.test_verdict import VERDICT
from tests.support.artefacts import REPOSITORY
from tests.support.nvml import with_two_gpus

PAGE = REPOSITORY / "deploy/docs/metrics.md"
BEGIN, END = "<!-- from here on made by pytest --update-golden -->", "<!-- end -->"

BEGUN = datetime(2026, 1, 1, tzinfo=UTC)


def samples(metrics: Metrics) -> dict[tuple[str, str], float]:
    return {
        (sample.name, ",".join(f"{k}={v}" for k, v in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(metrics.exposition().decode())
        for sample in family.samples
    }


def outcome(*judgements: Judgement) -> BatchOutcome:
    """A batch that took two seconds, one half of one of them for the scores."""
    times = StageTimes()
    times["score"] = 0.5
    return BatchOutcome(
        judgements=judgements, received_at=BEGUN, delivered_at=BEGUN + timedelta(seconds=2), times=times
    )


def judged(*verdicts: Verdict, age_s: float | None = None) -> Judgement:
    """A message that was `age_s` old when its verdicts were delivered."""
    stamp = None if age_s is None else int(1000 * (BEGUN.timestamp() + 2 - age_s))
    message = Message(topic="t", partition=0, offset=0, value=b"", timestamp_ms=stamp)
    return Judgement(message=message, verdicts=verdicts)


def rejected(reason: RejectReason) -> Judgement:
    message = Message(topic="t", partition=0, offset=0, value=b"")
    return Judgement(message=message, rejection=RejectedAlert(reason, ""))


def test_metrics_count_what_was_delivered() -> None:
    metrics = Metrics("lsst", batch_max=10)
    reasons = [RejectReason.EMPTY, RejectReason.EMPTY, RejectReason.ACCESS]
    batch = outcome(judged(VERDICT, VERDICT), judged(), *map(rejected, reasons))
    metrics.delivered(batch)
    metrics.delivered(batch)
    metrics.retried("produce")
    found = samples(metrics)
    assert batch.rejections == Counter(str(reason) for reason in reasons)
    assert found["broker_plugin_messages_total", "outcome=verdict,survey=lsst"] == 4
    assert found["broker_plugin_messages_total", "outcome=dead_letter,survey=lsst"] == 6
    assert found["broker_plugin_verdicts_total", "survey=lsst"] == 4
    assert found["broker_plugin_dead_letters_total", "reason=empty"] == 4
    assert found["broker_plugin_dead_letters_total", "reason=access"] == 2
    assert found["broker_plugin_dead_letters_total", "reason=too_large"] == 0
    assert found["broker_plugin_retries_total", "stage=produce"] == 1
    assert found["broker_plugin_stage_seconds_sum", "stage=score"] == 1.0
    assert found["broker_plugin_stage_messages_total", "stage=score"] == 10
    assert found["broker_plugin_latency_seconds_sum", ""] == 4.0
    assert found["broker_plugin_batch_alerts_sum", ""] == 4
    assert found["broker_plugin_batch_fill_ratio_sum", ""] == 1.0
    assert found["broker_plugin_last_delivery_timestamp_seconds", ""] > BEGUN.timestamp()


def test_delay_counts_from_the_messages_own_time() -> None:
    metrics = Metrics("ztf")
    # One without a time has no delay, and one from a clock ahead of ours has none that is negative.
    metrics.delivered(outcome(judged(age_s=40.0), judged(age_s=2.0), judged(), judged(age_s=-5.0)))
    found = samples(metrics)
    assert found["broker_plugin_end_to_end_seconds_count", "survey=ztf"] == 3
    assert found["broker_plugin_end_to_end_seconds_sum", "survey=ztf"] == 42.0
    assert found["broker_plugin_end_to_end_seconds_bucket", "le=30.0,survey=ztf"] == 2


def test_verdicts_are_counted_by_class_context_and_p_value() -> None:
    metrics = Metrics("ztf")
    star = VERDICT._replace(source_context="stellar", top_class="RRAB", anomaly_p_value=0.004)
    metrics.delivered(
        outcome(
            judged(star, star, star._replace(top_class="NOVEL", anomaly_p_value=1.0)),
            judged(star._replace(source_context="galaxy_host", top_class=None)),
        )
    )
    found = samples(metrics)
    counted = {label: n for (name, label), n in found.items() if name.endswith("class_verdicts_total") and n}
    assert counted == {
        "class=RRAB,context=stellar": 2,
        "class=other,context=stellar": 1,
        "class=none,context=galaxy_host": 1,
    }
    name = "broker_plugin_anomaly_p_value_ratio"
    assert found[f"{name}_bucket", "context=stellar,le=0.005"] == 2
    assert found[f"{name}_count", "context=stellar"] == 3
    assert found[f"{name}_bucket", "context=galaxy_host,le=0.005"] == 1


def test_lag_is_told_by_what_was_subscribed_to_not_by_night() -> None:
    metrics = Metrics("ztf", topics=("^ztf_.*_programid1", "extra"))
    lag = "broker_plugin_lag_messages"
    assert samples(metrics)[lag, "survey=ztf,topics=extra"] == 0
    metrics.lagging({"ztf_20261127_programid1": 5, "ztf_20261128_programid1": 12, "extra": 3})
    found = samples(metrics)
    assert found[lag, "survey=ztf,topics=^ztf_.*_programid1"] == 17
    assert found[lag, "survey=ztf,topics=extra"] == 3
    # What was given to another member is no longer ours to tell of.
    metrics.lagging({})
    assert {n for (name, _), n in samples(metrics).items() if name == lag} == {0}


def test_a_pause_is_seen() -> None:
    metrics = Metrics("ztf")
    metrics.paused(StreamPausedError(PauseReason.REJECTS, "too many dead letters"))
    assert samples(metrics)["broker_plugin_paused", "reason=rejects"] == 1
    assert samples(metrics)["broker_plugin_paused", "reason=schema"] == 0
    metrics.paused(None)
    assert samples(metrics)["broker_plugin_paused", "reason=rejects"] == 0


def test_the_process_tells_of_its_memory() -> None:
    found = samples(Metrics("ztf"))
    resident = int(re.findall(r"VmRSS:\s+(\d+) kB", Path("/proc/self/status").read_text())[0]) * 1024
    # Both are read within milliseconds of one another.
    assert found["broker_plugin_process_resident_memory_bytes", ""] == pytest.approx(resident, rel=0.05)


def test_two_services_in_one_process_count_apart() -> None:
    one, other = Metrics("ztf"), Metrics("ztf")
    one.retried("poll")
    assert samples(one)["broker_plugin_retries_total", "stage=poll"] == 1
    assert samples(other)["broker_plugin_retries_total", "stage=poll"] == 0


def test_the_page_lists_every_metric_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch, *, update_golden: bool
) -> None:
    bundle = open_bundle("default")
    with_two_gpus(monkeypatch)
    metrics = Metrics("ztf", topics=("alerts",))
    show_readiness(Health(), metrics.registry)
    BundleMetrics(metrics.registry)
    drift = DriftWatch(bundle, "ztf", metrics.registry)
    verdict = VERDICT._replace(class_applies=False, bundle_digest=bundle.digest)
    drift.delivered(outcome(judged(*[verdict] * LEAST)))
    drift.refresh()
    recipe = MemoryRecipe.of("memory")
    assert recipe is not None
    metrics.registry.register(StoreCollector(recipe.open(("ztf",), frozenset({Access.PUBLIC}))))
    table = _table(metrics)
    page = PAGE.read_text("utf-8")
    head, _, rest = page.partition(BEGIN)
    listed, _, tail = rest.partition(END)
    if update_golden:
        PAGE.write_text(f"{head}{BEGIN}\n\n{table}\n{END}{tail}", "utf-8")
    else:
        assert listed.strip() == table.strip(), "run pytest --update-golden and look at the difference"
    used = set(re.findall(r"broker_plugin_\w+", head + tail))
    known = set(re.findall(r"`(\w+)`", table))
    begun = {name.removesuffix("_total") + "_created" for name in known}
    assert {re.sub(r"_(bucket|sum|count)$", "", name) for name in used} <= known | begun
    assert "`_created`" in head, "they are served and not listed"


def _table(metrics: Metrics) -> str:
    rows = ["| name | type | labels | what it says |", "|---|---|---|---|"]
    for family in text_string_to_metric_families(metrics.exposition().decode()):
        if family.name.endswith("_created"):
            continue
        name = f"{family.name}_total" if family.type == "counter" else family.name
        assert re.fullmatch(r"broker_plugin(_[a-z]+)+", name)
        labels = sorted({label for sample in family.samples for label in sample.labels} - {"le"})
        rows.append(f"| `{name}` | {family.type} | {', '.join(labels)} | {family.documentation} |")
    return "\n".join(rows) + "\n"
