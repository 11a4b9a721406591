# SPDX-License-Identifier: BSD-3-Clause
"""Pitt-Google: its consumer's callbacks, and alerts with our verdicts for a topic of one's own.

The client deserialises packets with the survey's own schema, so nothing has to be put together again.
Messages are acknowledged one by one; batches of results are what is published.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pittgoogle

from broker_plugin.brokers.scoring import PacketScorer, decision_of
from broker_plugin.errors import RejectedAlert

__all__ = ["message_callback", "verdict_alert"]


def message_callback(scorer: PacketScorer) -> Callable[[Any], Any]:
    """Return a `msg_callback` for `pittgoogle.Consumer`; its result is an alert to publish.

    An alert that can never have a verdict is acknowledged, with its reason as the result; anything else that
    goes wrong leaves it unacknowledged, and Pub/Sub sends it again.
    """

    def judge(alert: Any) -> Any:
        return pittgoogle.pubsub.Response(ack=True, result=verdict_alert(alert, scorer))

    return judge


def verdict_alert(alert: Any, scorer: PacketScorer) -> Any:
    """Return what we found of an alert as one: decision or reason, with the original's attributes."""
    found = scorer.judge([alert.dict])[0]
    payload = {"reason": str(found)} if isinstance(found, RejectedAlert) else decision_of(found)
    return pittgoogle.Alert.from_dict(payload, attributes=dict(alert.attributes))
