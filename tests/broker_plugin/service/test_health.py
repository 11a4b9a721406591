# SPDX-License-Identifier: BSD-3-Clause
"""Health is what the loop did lately; metrics are what was delivered."""

from __future__ import annotations

import urllib.error
import urllib.request
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest
from prometheus_client.parser import text_string_to_metric_families

from broker_plugin.errors import ConfigurationError, RejectedAlert, RejectReason
from broker_plugin.pipeline.filter import Judgement
from broker_plugin.pipeline.monitor import BatchOutcome
from broker_plugin.pipeline.stages import StageTimes
from broker_plugin.service.health import Health, HealthServer
from broker_plugin.service.metrics import Metrics
from broker_plugin.streams.base import Message

DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def status(port: int, path: str) -> int:
    try:
        with DIRECT.open(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def samples(metrics: Metrics) -> dict[tuple[str, str], float]:
    return {
        (sample.name, ",".join(f"{k}={v}" for k, v in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(metrics.exposition().decode())
        for sample in family.samples
    }


def test_a_loop_that_falls_silent_is_not_alive() -> None:
    now = 100.0
    health = Health(alive_s=10.0, clock=lambda: now)
    now = 109.0
    assert health.is_alive()
    health.beat()
    now = 118.9
    assert health.is_alive()
    now = 119.1
    assert not health.is_alive()


def test_ready_is_warm_and_joined() -> None:
    health = Health()
    readiness = []
    for joined in (False, True):
        for warm in (False, True):
            health.joined(joined)
            health.warm = warm
            readiness.append(health.is_ready())
    assert readiness == [False, False, False, True]


def test_the_server_tells_both_and_gives_its_port_back() -> None:
    now = 0.0
    health = Health(alive_s=10.0, clock=lambda: now)
    with HealthServer(health, Metrics("ztf"), host="127.0.0.1", port=0) as server:
        assert status(server.port, "/healthz") == 200
        assert status(server.port, "/readyz") == 503
        assert status(server.port, "/metrics") == 200
        assert status(server.port, "/") == 404
        health.warm = True
        health.joined(True)
        assert status(server.port, "/readyz") == 200
        now = 11.0
        assert status(server.port, "/healthz") == 503
        with pytest.raises(ConfigurationError, match="choose another --metrics-port"):
            HealthServer(health, Metrics("ztf"), host="127.0.0.1", port=server.port)
    with HealthServer(health, Metrics("ztf"), host="127.0.0.1", port=server.port):
        assert status(server.port, "/readyz") == 200


def test_metrics_count_what_was_delivered() -> None:
    metrics = Metrics("lsst")
    reasons = [RejectReason.EMPTY, RejectReason.EMPTY, RejectReason.ACCESS]
    messages = [Message(topic="t", partition=0, offset=n, value=b"") for n in range(5)]
    times = StageTimes()
    times["score"] = 0.5
    begun = datetime(2026, 1, 1, tzinfo=UTC)
    outcome = BatchOutcome(
        judgements=(
            *(Judgement(message=m) for m in messages[:2]),
            *(
                Judgement(message=m, rejection=RejectedAlert(r, ""))
                for m, r in zip(messages[2:], reasons, strict=True)
            ),
        ),
        received_at=begun,
        delivered_at=begun + timedelta(seconds=2),
        times=times,
    )
    metrics.delivered(outcome)
    metrics.delivered(outcome)
    metrics.retried("produce")
    metrics.lagging(17)
    found = samples(metrics)
    assert outcome.rejections == Counter(str(reason) for reason in reasons)
    assert found["broker_plugin_messages_total", "outcome=verdict,survey=lsst"] == 4
    assert found["broker_plugin_messages_total", "outcome=dead_letter,survey=lsst"] == 6
    assert found["broker_plugin_dead_letters_total", "reason=empty"] == 4
    assert found["broker_plugin_dead_letters_total", "reason=access"] == 2
    assert found["broker_plugin_dead_letters_total", "reason=too_large"] == 0
    assert found["broker_plugin_retries_total", "stage=produce"] == 1
    assert found["broker_plugin_lag_messages", "survey=lsst"] == 17
    assert found["broker_plugin_stage_seconds_sum", "stage=score"] == 1.0
    assert found["broker_plugin_latency_seconds_sum", ""] == 4.0
    assert found["broker_plugin_batch_alerts_count", ""] == 2


def test_two_services_in_one_process_count_apart() -> None:
    one, other = Metrics("ztf"), Metrics("ztf")
    one.retried("poll")
    assert ("broker_plugin_retries_total", "stage=poll") not in samples(other)
