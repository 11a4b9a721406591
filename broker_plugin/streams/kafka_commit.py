# SPDX-License-Identifier: BSD-3-Clause
"""The wait for the answer to a commit of offsets, which the library tells in a poll for messages."""

from __future__ import annotations

import time
from collections.abc import Callable

from confluent_kafka import KafkaError, TopicPartition

from broker_plugin.errors import TransientError
from broker_plugin.streams.kafka_client import sort_error
from broker_plugin.streams.kafka_message import offsets_of
from broker_plugin.streams.ownership import Place

__all__ = ["CommitAnswer"]

ANSWER_S = 10.0
"""Longest wait for the answer to a commit: a coordinator that is up takes milliseconds."""

LOOK_S = 0.002
"""Time between two looks for that answer; it adds to every batch's time. Each look may bring a message along:
without a pause, thousands come before the answer."""


class CommitAnswer:
    """What the group's coordinator said to the last commit."""

    def __init__(self) -> None:
        self._answer: tuple[KafkaError | None, list[TopicPartition]] | None = None

    def note(self, error: KafkaError | None, places: list[TopicPartition]) -> None:
        """Take an answer; the library's `on_commit`."""
        self._answer = (error, places)

    def forget(self) -> None:
        """Expect the answer to a new commit."""
        self._answer = None

    def wait(self, wanted: dict[Place, int], *, look: Callable[[], None]) -> None:
        """Return when these offsets are committed.

        Parameters
        ----------
        wanted
            What was asked for.
        look
            Polls the consumer without waiting.

        Raises
        ------
        TransientError, ConfigurationError
            If the coordinator does not answer, or refuses.
        """
        deadline = time.monotonic() + ANSWER_S
        look()
        while self._answer is None or offsets_of(self._answer[1]) != wanted:
            if time.monotonic() > deadline:
                raise TransientError(f"no answer to a commit of offsets in {ANSWER_S:g} s; is Kafka up?")
            time.sleep(LOOK_S)
            look()
        error, places = self._answer
        for defect in (error, *(place.error for place in places)):
            if defect is not None:
                raise sort_error(defect, "committing offsets")
