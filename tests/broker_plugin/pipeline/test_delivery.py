# SPDX-License-Identifier: BSD-3-Clause
"""What was given to another member of the group is neither sent nor committed, whatever its source can do."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from broker_plugin.pipeline.delivery import GroupSource, owned_messages
from broker_plugin.streams.base import Message
from broker_plugin.streams.kafka import KafkaSource
from broker_plugin.streams.memory import MemorySource

MESSAGES = [Message(topic="t", partition=n, offset=0, value=b"") for n in range(3)]


class Bare:
    """A source that knows what it owns, and answers no group."""

    exhausted = False

    def poll(self, batch_max: int, timeout_s: float) -> Sequence[Message]:
        return MESSAGES

    def owned(self, messages: Sequence[Message]) -> list[Message]:
        return list(messages[:1])

    def commit(self, messages: Sequence[Message]) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""


def test_a_source_that_knows_what_it_owns_is_asked() -> None:
    assert owned_messages(Bare(), MESSAGES) == MESSAGES[:1]


@pytest.mark.parametrize("source", [KafkaSource, MemorySource])
def test_the_sources_of_the_service_do_all_that_a_group_asks(source: type) -> None:
    duties = {name for base in GroupSource.__mro__ for name in vars(base) if not name.startswith("_")}
    assert duties >= {"poll", "owned", "stay"}
    assert duties - set(dir(source)) == set()
