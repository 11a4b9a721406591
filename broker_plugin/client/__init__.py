# SPDX-License-Identifier: BSD-3-Clause
"""For subscribers: typed verdicts and candidates off the topics, in a loop.

from broker_plugin.client import read_watch_list, subscribe

with subscribe("verdicts", bootstrap="localhost:9092", watch=read_watch_list("mine.csv")) as verdicts:
    for verdict in verdicts:
        print(verdict.object_id, verdict.top_class, verdict.anomaly_p_value)
"""

from __future__ import annotations

from broker_plugin.client.candidate import Candidate, Epoch, UpperLimit
from broker_plugin.client.memory import ObjectMemory
from broker_plugin.client.opening import subscribe, subscribe_to_candidates
from broker_plugin.client.subscription import Subscription
from broker_plugin.client.watch import Cone, WatchList
from broker_plugin.client.watch_files import read_watch_list
from broker_plugin.client.webhook import Webhook
from broker_plugin.codec.verdict import Revision, Verdict
from broker_plugin.object_names import is_object_name

__all__ = [
    "Candidate",
    "Cone",
    "Epoch",
    "ObjectMemory",
    "Revision",
    "Subscription",
    "UpperLimit",
    "Verdict",
    "WatchList",
    "Webhook",
    "is_object_name",
    "read_watch_list",
    "subscribe",
    "subscribe_to_candidates",
]
