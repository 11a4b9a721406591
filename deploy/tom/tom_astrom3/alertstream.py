# SPDX-License-Identifier: BSD-3-Clause
"""Topics of candidates as an alert stream of `tom-alertstreams`, for `manage.py readstreams`."""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.db import InterfaceError, OperationalError, close_old_connections, connections
from tom_alertstreams.alertstreams.alertstream import AlertStream

from broker_plugin.client import Candidate, Subscription, subscribe_to_candidates
from broker_plugin.errors import BrokerPluginError
from broker_plugin.pipeline.backoff import Backoff

__all__ = ["CandidateStream", "Handler"]

log = logging.getLogger(__name__)

Handler = Callable[[Candidate, str], Any]
"""Takes a candidate and its topic; when it returns, the candidate is done."""

TAKEN = {
    "BOOTSTRAP": "bootstrap",
    "GROUP_ID": "group",
    "REGISTRY": "registry",
    "CONFIG": "config",
    "FROM_BEGINNING": "from_beginning",
    "CLASSES": "classes",
    "MIN_PROBABILITY": "min_probability",
    "MAX_P_VALUE": "max_p_value",
    "CONTEXT": "context",
    "WATCH": "watch",
    "TENSE": "tense",
    "TIMEOUT_S": "timeout_s",
}
"""Our name of each option that `ALERT_STREAMS` may give."""


class CandidateStream(AlertStream):
    """Reads topics of candidates as a member of a consumer group, and hands each candidate to its handler.

    Retractions come whatever the conditions are: what they take back may have fitted, before a restart too.
    Offsets move when a handler has returned. While the database is away it is tried again; any other error of
    a handler ends the stream of its topic with the candidate uncommitted, and is in the log.
    """

    required_keys = ("BOOTSTRAP", "GROUP_ID", "TOPIC_HANDLERS")
    allowed_keys = (*TAKEN, "TOPIC_HANDLERS")

    def __init__(self, **options: Any) -> None:
        unknown = sorted(options.keys() - set(self.allowed_keys))
        if unknown:
            raise ImproperlyConfigured(
                f"{unknown} are no options of this stream; there are {self.allowed_keys}"
            )
        super().__init__(**options)
        self._options = {TAKEN[name]: value for name, value in options.items() if name in TAKEN}

    def listen(self) -> None:
        """Follow every topic until the process ends."""
        super().listen()
        with ThreadPoolExecutor(len(self.alert_handler), thread_name_prefix="candidates") as pool:
            list(pool.map(self._follow, self.alert_handler.items()))

    def _follow(self, entry: tuple[str, Handler]) -> None:
        topic, handler = entry
        try:
            options = {**self._options, "retractions": "all", "warn": log.warning}
            with subscribe_to_candidates(topic, **options) as candidates:
                for candidate in candidates:
                    if not _handled(candidate, topic, handler, candidates):
                        break
        except BrokerPluginError as error:
            log.error("the stream of %s ends: %s", topic, error)  # noqa: TRY400  # it says what to do
        except Exception:
            log.exception("the stream of %s ends; the candidate that a handler failed on comes again", topic)
            raise
        finally:
            connections.close_all()


def _handled(candidate: Candidate, topic: str, handler: Handler, candidates: Subscription[Candidate]) -> bool:
    """Hand a candidate over, again and again while the database is away."""
    for pause_s in Backoff().pauses():
        close_old_connections()
        try:
            handler(candidate, topic)
        except (InterfaceError, OperationalError) as error:
            log.warning("the database is away (%s); trying again", error)
            if not candidates.wait(pause_s):
                candidates.give_back()
                return False
        else:
            return True
    raise AssertionError("pauses have no end")
