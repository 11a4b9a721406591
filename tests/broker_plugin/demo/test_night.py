# SPDX-License-Identifier: BSD-3-Clause
"""A night goes through the embedded Kafka and the runner of the service, and nothing is lost on the way."""

import io
import threading
from collections import Counter

import fastavro
import numpy as np
import pytest

from broker_plugin.codec.decoder import Decoder
from broker_plugin.codec.verdict import Tense
from broker_plugin.demo.findings import Playback
from broker_plugin.demo.night import WINDOW, Progress, play
from broker_plugin.demo.packets import encode
from broker_plugin.demo.playlist import Track, night_tracks
from broker_plugin.demo.schemas import ztf_schema
from broker_plugin.demo.simulator import Night
from broker_plugin.demo.ztf_packets import ztf_packet
from broker_plugin.engine.scorer import Scorer
from broker_plugin.errors import BrokerPluginError


@pytest.fixture(scope="module")
def played(small_night: Night, scorer: Scorer, decoder: Decoder) -> tuple[Playback, list[tuple[int, int]]]:
    seen: list[tuple[int, int]] = []

    def watch(progress: Progress) -> None:
        seen.append((progress.played, progress.in_flight))

    return play(night_tracks(small_night), scorer, decoder, watch=watch, night=small_night), seen


def test_everything_played_comes_back_once(
    played: tuple[Playback, list[tuple[int, int]]], small_night: Night
) -> None:
    playback, _ = played
    assert playback.adds_up
    assert playback.played == len(small_night.alerts) + 5
    expected = Counter(f"{alert.object.survey.name}:{alert.alert_id}" for alert in small_night.alerts)
    assert Counter(verdict.alert_key for verdict in playback.verdicts) == expected


def test_dead_letters_say_what_was_wrong(played: tuple[Playback, list[tuple[int, int]]]) -> None:
    playback, _ = played
    reasons = {letter.note: letter.reason for letter in playback.dead_letters}
    assert reasons == {
        "random bytes": "undecodable",
        "a packet cut in half": "undecodable",
        "an empty message": "empty",
        "a frame of a schema that nobody knows": "unknown_schema",
        "a sound Avro record that is no alert": "missing_field",
    }
    assert all(letter.detail for letter in playback.dead_letters)


def test_no_telescope_is_triggered(played: tuple[Playback, list[tuple[int, int]]]) -> None:
    assert {verdict.tense for verdict in played[0].verdicts} == {Tense.TEST}


def test_each_verdict_has_the_light_curve_it_was_made_from(
    played: tuple[Playback, list[tuple[int, int]]],
) -> None:
    playback, _ = played
    for verdict in playback.verdicts:
        assert len(playback.light_curves[verdict.alert_key]) == verdict.n_epochs


def test_no_more_is_sent_than_is_read_back(played: tuple[Playback, list[tuple[int, int]]]) -> None:
    playback, seen = played
    assert max(in_flight for _, in_flight in seen) <= WINDOW + 16
    assert seen[-1] == (playback.played, 0)


def test_kafka_changes_nothing(played: tuple[Playback, list[tuple[int, int]]], playback: Playback) -> None:
    """The same alerts scored without Kafka have the same scores."""
    through = {verdict.alert_key: verdict.anomaly_score for verdict in played[0].verdicts}
    for verdict in playback.verdicts:
        assert through[verdict.alert_key] == verdict.anomaly_score


def test_a_message_that_gives_two_verdicts_does_not_add_up(
    small_night: Night, scorer: Scorer, decoder: Decoder
) -> None:
    two = [alert for alert in small_night.alerts if alert.object.survey.name == "ztf"][:2]
    buffer = io.BytesIO()
    fastavro.writer(buffer, ztf_schema(), [ztf_packet(alert) for alert in two])
    playback = play([Track(value=buffer.getvalue())], scorer, decoder)
    assert len(playback.verdicts) == 2
    assert playback.played == 1
    assert not playback.adds_up


def test_a_consumer_that_stops_is_an_error(small_night: Night, decoder: Decoder) -> None:
    class OutOfMemory:
        def score(self, *_: object, **__: object) -> object:
            raise MemoryError

    with pytest.raises(BrokerPluginError, match="consumer stopped"):
        play([Track(value=encode(small_night.alerts[0]))], OutOfMemory(), decoder)


def test_a_night_can_be_stopped_and_still_adds_up(
    small_night: Night, scorer: Scorer, decoder: Decoder
) -> None:
    stop = threading.Event()

    def stop_soon(progress: Progress) -> None:
        if progress.played >= 32:
            stop.set()

    playback = play(night_tracks(small_night), scorer, decoder, watch=stop_soon, stop=stop)
    assert 32 <= playback.played < len(small_night.alerts)
    assert playback.adds_up


def test_nothing_played_is_nothing_lost(scorer: Scorer, decoder: Decoder) -> None:
    playback = play([], scorer, decoder)
    assert playback.adds_up
    assert playback.played == 0
    assert np.isfinite(playback.seconds)
