# SPDX-License-Identifier: BSD-3-Clause
"""A small night, scored once: what the tests of the report and of the table look at."""

from __future__ import annotations

from pathlib import Path

import pytest

from broker_plugin.codec.decoder import Decoder
from broker_plugin.codec.schemas import SchemaStore
from broker_plugin.codec.verdict import Tense
from broker_plugin.demo.cards import Profiles, reference_profiles
from broker_plugin.demo.findings import DeadLetter, Playback
from broker_plugin.demo.packets import night_messages, write_schemas
from broker_plugin.demo.simulator import Night, simulate_night
from broker_plugin.engine.scorer import Scorer
from broker_plugin.records import Provenance
from broker_plugin.surveys.registry import adapters

N_ALERTS = 60


@pytest.fixture(scope="session")
def scorer() -> Scorer:
    return Scorer.open("default", device="cpu")


@pytest.fixture(scope="session")
def small_night() -> Night:
    return simulate_night(3, n_alerts=N_ALERTS)


@pytest.fixture(scope="session")
def decoder(tmp_path_factory: pytest.TempPathFactory) -> Decoder:
    folder = tmp_path_factory.mktemp("schemas")
    write_schemas(folder)
    return Decoder(schemas=SchemaStore(directories=[folder], installed=False), adapters=adapters())


@pytest.fixture(scope="session")
def playback(small_night: Night, scorer: Scorer, decoder: Decoder) -> Playback:
    """The small night without Kafka; one object's alerts are left out, as if they had not been scored."""
    alerts = [
        alert
        for _, message in night_messages(small_night)
        for alert in decoder.decode(message, Provenance(topic="alerts"))
    ]
    unscored = next(name for name, thing in small_night.objects.items() if thing.source.planted is None)
    alerts = [alert for alert in alerts if alert.object_id != unscored]
    verdicts = scorer.score(alerts, tense=Tense.TEST)
    letters = [DeadLetter(reason="empty", detail="the message has no bytes", note="<b>nothing</b>")]
    return Playback(
        verdicts=tuple(verdicts),
        light_curves={alert.alert_key: alert.light_curve for alert in alerts},
        dead_letters=letters,
        origins=[(0, offset) for offset in range(len(verdicts) + len(letters))],
        played=len(verdicts) + len(letters),
        seconds=2.0,
        night=small_night,
    )


@pytest.fixture(scope="session")
def profiles(scorer: Scorer) -> Profiles:
    return reference_profiles(scorer.bundle)


@pytest.fixture
def report_folder(tmp_path: Path) -> Path:
    return tmp_path / "report"
