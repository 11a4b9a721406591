# SPDX-License-Identifier: BSD-3-Clause
"""The messages of a batch, decoded together as far as they can be and the rest one by one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from broker_plugin.codec.decoder import DecodedBatch
from broker_plugin.errors import RejectedAlert
from broker_plugin.records import Alert, AlertBatch

__all__ = ["DecodedMessages", "join_rest"]


@dataclass(frozen=True, slots=True, kw_only=True)
class DecodedMessages:
    """What became of each message of a batch.

    Parameters
    ----------
    outcomes
        By message: how many alerts it holds, or why none.
    together
        The alerts of those that were decoded together.
    rest
        The alerts of the others, by message.
    """

    outcomes: tuple[int | RejectedAlert, ...]
    together: DecodedBatch
    rest: Mapping[int, Sequence[Alert]]

    def batch(self) -> AlertBatch:
        """Return all alerts as columns, in the order of their messages."""
        if not self.rest:
            return self.together.alerts
        others = [alert for alerts in self.rest.values() for alert in alerts]
        message = np.concatenate([self.together.message, self._messages_of_rest()])
        both = AlertBatch.concatenate([self.together.alerts, AlertBatch.from_alerts(others)])
        return both.take(np.argsort(message, kind="stable"))

    def alerts(self) -> list[Alert]:
        """Return all alerts one by one, with their measurements, in the order of their messages."""
        every = [*self.together.each(), *(alert for alerts in self.rest.values() for alert in alerts)]
        message = np.concatenate([self.together.message, self._messages_of_rest()])
        return [every[place] for place in np.argsort(message, kind="stable").tolist()]

    def _messages_of_rest(self) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        return np.array([number for number, alerts in self.rest.items() for _ in alerts], np.int64)


def join_rest(
    together: DecodedBatch, n_messages: int, decode: Callable[[int], Sequence[Alert] | RejectedAlert]
) -> DecodedMessages:
    """Decode one by one what was not decoded together.

    Parameters
    ----------
    together
        What was.
    n_messages
        How many messages there are.
    decode
        Returns the alerts of the message with a number, or why it has none.
    """
    counts = np.bincount(together.message, minlength=n_messages).tolist()
    outcomes: list[int | RejectedAlert] = []
    rest: dict[int, Sequence[Alert]] = {}
    for number, count in enumerate(counts):
        found = () if count else decode(number)
        if isinstance(found, RejectedAlert):
            outcomes.append(found)
            continue
        if not count:
            rest[number] = found
        outcomes.append(count or len(found))
    return DecodedMessages(outcomes=tuple(outcomes), together=together, rest=rest)
