# SPDX-License-Identifier: BSD-3-Clause
"""Drift is low on the stream that a bundle was made for, and high on another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from prometheus_client import CollectorRegistry, generate_latest

from broker_plugin.bundle import open_bundle
from broker_plugin.codec.verdict import Verdict
from broker_plugin.engine.scorer import Scorer
from broker_plugin.errors import BundleError
from broker_plugin.pipeline.alert_files import read_alerts
from broker_plugin.pipeline.filter import Judgement
from broker_plugin.pipeline.monitor import BatchOutcome
from broker_plugin.pipeline.reload import SwitchableScorer
from broker_plugin.pipeline.stages import StageTimes
from broker_plugin.records import Alert, AlertBatch
from broker_plugin.service.drift import LEAST, DriftWatch
from broker_plugin.streams.base import Message
from tests.broker_plugin.codec.test_verdict import VERDICT
from tests.support.bundles import make_bundle
from trainer.stream.reference import stream_references

BEGUN = datetime(2026, 1, 1, tzinfo=UTC)

ORDINARY = 0.15
"""Strata hold some 210 objects: their own distribution is up to 0.1 from the stream's by chance."""

MUCH = 0.25
"""From here on the population stability index is said to be large."""


@pytest.fixture(scope="module")
def scorer(tmp_path_factory: pytest.TempPathFactory) -> Scorer:
    """The default bundle without what it knows of a stream: it is compared with its training."""
    folder = make_bundle(tmp_path_factory.mktemp("trained") / "bundle", stream={"fits": []})
    return Scorer.open(folder, device="cpu")


@pytest.fixture(scope="module")
def alerts(data_dir: Path) -> list[Alert]:
    return list(islice(read_alerts(data_dir / "alerts/ztf"), 500))


def watch_of(scorer: Scorer, **settings: int) -> DriftWatch:
    return DriftWatch(scorer.bundle, "ztf", CollectorRegistry(), **settings)


def outcome(verdicts: Sequence[Verdict]) -> BatchOutcome:
    message = Message(topic="t", partition=0, offset=0, value=b"")
    judgement = Judgement(message=message, verdicts=tuple(verdicts))
    return BatchOutcome(judgements=(judgement,), received_at=BEGUN, delivered_at=BEGUN, times=StageTimes())


def distances(scorer: Scorer, alerts: Sequence[Alert]) -> dict[tuple[str, str], float]:
    watch = watch_of(scorer)
    switchable = SwitchableScorer(scorer, observe=watch.scored)
    for start in range(0, len(alerts), 256):
        batch = AlertBatch.from_alerts(alerts[start : start + 256])
        watch.delivered(outcome(switchable.score(batch, received_at=BEGUN)))
    return watch.distances()


def far_and_noisy(alert: Alert) -> Alert:
    """The same star fainter, in a field at the galactic pole, with ten times the noise as variability."""
    curve = alert.light_curve
    rng = np.random.default_rng(alert.alert_id % 2**32)
    noise = 10.0 * curve.flux_err_njy * rng.normal(size=len(curve))
    metadata = {**alert.metadata, "gal_lat_deg": 89.0, "reference_mag": 21.5}
    curve = replace(curve, flux_njy=(0.1 * curve.flux_njy + noise).astype(np.float32))
    return replace(alert, light_curve=curve, metadata=metadata)


def test_ordinary_alerts_are_near_and_other_ones_far(scorer: Scorer, alerts: list[Alert]) -> None:
    ordinary = distances(scorer, alerts)
    shifted = distances(scorer, [far_and_noisy(alert) for alert in alerts])
    assert ordinary.keys() == {
        *(("score", source) for source in ("fused", "light_curve", "metadata")),
        ("class", "head"),
        *(("input", source) for source in ("light_curve", "metadata")),
    }
    for source in ("fused", "light_curve", "metadata"):
        assert ordinary["score", source] < ORDINARY
    assert ordinary["class", "head"] < MUCH
    assert shifted["score", "metadata"] > 2 * ORDINARY
    assert shifted["class", "head"] > 2 * ordinary["class", "head"]
    assert shifted["input", "metadata"] > 1.5 * ordinary["input", "metadata"]


def test_the_default_bundle_knows_what_its_stream_was_like(scorer: Scorer, alerts: list[Alert]) -> None:
    default = Scorer.open("default", device="cpu")
    ordinary, against_training = distances(default, alerts), distances(scorer, alerts)
    shifted = distances(default, [far_and_noisy(alert) for alert in alerts])
    assert max(ordinary["score", source] for source in ("fused", "light_curve", "metadata")) < ORDINARY
    for name in (("class", "head"), ("input", "light_curve"), ("input", "metadata")):
        assert ordinary[name] < 0.5 * against_training[name]
    assert shifted["class", "head"] > MUCH
    assert shifted["input", "metadata"] > 5 * ordinary["input", "metadata"]


@pytest.fixture(scope="module")
def fitted(scorer: Scorer, alerts: list[Alert], tmp_path_factory: pytest.TempPathFactory) -> Scorer:
    """A bundle that knows what every other of the alerts was like."""
    reference = stream_references(scorer.bundle, alerts[::2])
    folder = tmp_path_factory.mktemp("fitted") / "bundle"
    make_bundle(folder, stream={"fits": [{"surveys": ["ztf"], "reference": reference}]})
    return Scorer.open(folder, device="cpu")


def test_a_bundle_that_was_fitted_to_the_stream_is_measured_against_it(
    fitted: Scorer, scorer: Scorer, alerts: list[Alert]
) -> None:
    of_the_fit = distances(fitted, alerts[::2])
    ordinary = distances(fitted, alerts[1::2])
    shifted = distances(fitted, [far_and_noisy(alert) for alert in alerts[1::2]])
    against_training = distances(scorer, alerts[1::2])
    for name in ("light_curve", "metadata"):
        assert of_the_fit["input", name] < 1e-6  # the same sums, in another order
        assert ordinary["input", name] < against_training["input", name]
    assert shifted["input", "metadata"] > 5 * ordinary["input", "metadata"]
    assert shifted["score", "metadata"] > 2 * ORDINARY


def test_an_unreadable_reference_is_refused(tmp_path: Path) -> None:
    fit = {"surveys": ["ztf"], "reference": {"ztf": {"n": 0, "classes": None, "inputs": {}}}}
    bundle = open_bundle(make_bundle(tmp_path / "bundle", stream={"fits": [fit]}))
    with pytest.raises(BundleError, match="unreadable reference for ztf"):
        DriftWatch(bundle, "ztf", CollectorRegistry())
    DriftWatch(bundle, "lsst", CollectorRegistry())


def made_up(rng: np.random.Generator, scorer: Scorer, *, n: int, power: float, prior: float) -> list[Verdict]:
    """Verdicts whose p-values are uniform for power 1, and whose classes follow the prior for prior 1."""
    classes = scorer.bundle.manifest.classes
    frequencies = np.array(scorer.bundle.manifest.class_frequencies)
    other = np.full(len(classes), 1.0 / len(classes))
    shares = prior * frequencies + (1.0 - prior) * other
    verdicts = []
    for p_value in rng.random(n) ** power:
        label = rng.choice(len(classes), p=shares / shares.sum())
        verdicts.append(
            VERDICT._replace(
                bundle_digest=scorer.bundle.digest,
                modalities=("light_curve",),
                class_applies=True,
                anomaly_p_values={"fused": float(p_value)},
                class_probabilities={name: float(k == label) for k, name in enumerate(classes)},
            )
        )
    return verdicts


def test_what_follows_the_reference_is_near_it(scorer: Scorer, rng: np.random.Generator) -> None:
    near, far = watch_of(scorer), watch_of(scorer)
    near.delivered(outcome(made_up(rng, scorer, n=3000, power=1.0, prior=1.0)))
    far.delivered(outcome(made_up(rng, scorer, n=3000, power=2.0, prior=0.0)))
    # 1.63 / sqrt(n) is passed by chance once in a hundred samples.
    assert near.distances()["score", "fused"] < 1.63 / 3000**0.5
    assert near.distances()["class", "head"] < 0.02
    assert far.distances()["score", "fused"] > 0.2
    assert far.distances()["class", "head"] > 2 * MUCH


def test_the_window_forgets_and_few_alerts_say_nothing(scorer: Scorer, rng: np.random.Generator) -> None:
    watch = watch_of(scorer, window=1000)
    watch.delivered(outcome(made_up(rng, scorer, n=LEAST - 1, power=2.0, prior=0.0)))
    assert watch.distances() == {}
    watch.delivered(outcome(made_up(rng, scorer, n=1000, power=1.0, prior=1.0)))
    assert watch.distances()["score", "fused"] < 1.63 / 1000**0.5


def test_gauges_are_set_and_begin_anew_with_another_bundle(scorer: Scorer, rng: np.random.Generator) -> None:
    registry = CollectorRegistry()
    now = [0.0]
    watch = DriftWatch(scorer.bundle, "ztf", registry, clock=lambda: now[0])
    gauge = 'broker_plugin_drift{kind="score",source="fused"}'
    watch.delivered(outcome(made_up(rng, scorer, n=500, power=1.0, prior=1.0)))
    assert gauge not in generate_latest(registry).decode()
    now[0] = 60.0
    watch.delivered(outcome([]))
    assert gauge in generate_latest(registry).decode()
    assert "broker_plugin_drift_window_alerts 500.0" in generate_latest(registry).decode()
    watch.follow(scorer.bundle)
    assert gauge not in generate_latest(registry).decode()
    assert watch.distances() == {}


def test_a_batch_of_the_bundle_before_is_delivered_after_the_next_was_scored(
    scorer: Scorer, alerts: list[Alert], rng: np.random.Generator, tmp_path: Path
) -> None:
    classes = [f"NEW{number}" for number, _ in enumerate(scorer.bundle.manifest.classes)]
    another = Scorer.open(make_bundle(tmp_path / "bundle", classes=classes), device="cpu")
    watch = watch_of(scorer)
    switchable = SwitchableScorer(scorer, observe=watch.scored)
    before = switchable.score(AlertBatch.from_alerts(alerts[:250]), received_at=BEGUN)
    switchable.scorer = another
    after = switchable.score(AlertBatch.from_alerts(alerts[250:]), received_at=BEGUN)
    watch.delivered(outcome(before))
    assert watch.distances().keys() <= {("input", "light_curve"), ("input", "metadata")}
    watch.delivered(outcome(after))
    assert ("score", "fused") in watch.distances()
