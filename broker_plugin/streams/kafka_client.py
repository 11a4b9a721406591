# SPDX-License-Identifier: BSD-3-Clause
"""What every Kafka client of ours has in common: its properties, its log, and how its errors are sorted."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import structlog
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer
from confluent_kafka.admin import AdminClient

from broker_plugin.errors import BrokerPluginError, ConfigurationError, TransientError

__all__ = ["ErrorNotes", "KafkaAddress", "cluster_id", "make_client", "sort_error", "wait_for_topics"]

log = structlog.get_logger(__name__)

Client = TypeVar("Client", Consumer, Producer, AdminClient)

OWNED = frozenset(
    {
        "acks",
        "auto.offset.reset",
        "bootstrap.servers",
        "enable.auto.commit",
        "enable.auto.offset.store",
        "enable.idempotence",
        "enable.partition.eof",
        "group.id",
        "group.instance.id",
        "group.protocol",
        "isolation.level",
        "message.timeout.ms",
        "partition.assignment.strategy",
        "transaction.timeout.ms",
        "transactional.id",
    }
)
"""Properties on which the delivery guarantee rests, so that no table may change them."""

REQUEST_MS = 10_000
"""Longest wait for one answer of a broker. librdkafka's minute would outlast a pod's time to stop."""

METADATA_S = 5.0
"""Longest wait for one answer about brokers and topics while the service starts."""

LOOK_S = 0.5
"""Time between two looks for a broker or a topic that is not there yet."""

CRITICAL = 2
"""Least severe lines of the library's own log. Below it reports every refused connection, and so do its
errors, which are logged here."""

REPEAT_S = 30.0
"""Time for which an error of the same code is not logged again: a cluster that is away gives several a
second."""

SECURITY = ("security.", "sasl.", "ssl.", "enable.ssl.")
"""Beginnings of the properties that say how to be let in, the same for a consumer and a producer."""

REFUSED = frozenset(
    {
        KafkaError._AUTHENTICATION,
        KafkaError._FENCED,
        KafkaError._SSL,
        KafkaError._UNSUPPORTED_FEATURE,
        KafkaError.CLUSTER_AUTHORIZATION_FAILED,
        KafkaError.FENCED_INSTANCE_ID,
        KafkaError.GROUP_AUTHORIZATION_FAILED,
        KafkaError.INVALID_GROUP_ID,
        KafkaError.SASL_AUTHENTICATION_FAILED,
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.TOPIC_EXCEPTION,
        KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
        KafkaError.UNRELEASED_INSTANCE_ID,
        KafkaError.UNSUPPORTED_SASL_MECHANISM,
        KafkaError.UNSUPPORTED_VERSION,
    }
)
"""Errors that no retry cures: rights, names, versions, or another process under our name."""

SAME_INSTANCE = "give each its own --instance, for another process of this group has this one"

CLASSIC = "use --group-protocol classic, for the broker is too old for consumer"

ADVICE = {
    KafkaError._AUTHENTICATION: "check sasl.* and security.protocol in [kafka.source] and [kafka.sink]",
    KafkaError._SSL: "check ssl.* in [kafka.source] and [kafka.sink]",
    KafkaError._FENCED: SAME_INSTANCE,
    KafkaError.FENCED_INSTANCE_ID: SAME_INSTANCE,
    KafkaError.UNRELEASED_INSTANCE_ID: SAME_INSTANCE,
    KafkaError.GROUP_AUTHORIZATION_FAILED: "grant this user the group, or change --group",
    KafkaError.TOPIC_AUTHORIZATION_FAILED: "grant this user the topic, or name another",
    KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED: "grant this user transactional ids that begin with the "
    "group, or use --delivery at-least-once",
    KafkaError.UNSUPPORTED_VERSION: CLASSIC,
    KafkaError._UNSUPPORTED_FEATURE: CLASSIC,
}
"""What to do about an error, where it can be said."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KafkaAddress:
    """A cluster and how to be let in.

    Parameters
    ----------
    bootstrap
        `host:port`, several with commas between.
    properties
        Further librdkafka properties. Their values may be secret, so they have no representation.
    """

    bootstrap: str
    properties: Mapping[str, str] = field(default_factory=dict, repr=False)

    def credentials_only(self) -> KafkaAddress:
        """Return the address without tuning, for a client of the other kind."""
        security = {name: value for name, value in self.properties.items() if name.startswith(SECURITY)}
        return KafkaAddress(bootstrap=self.bootstrap, properties=security)


def make_client(kind: type[Client], address: KafkaAddress, properties: Mapping[str, Any]) -> Client:
    """Return a client whose log goes to Python's logger `librdkafka`.

    Raises
    ------
    ConfigurationError
        If a property is unknown, does not fit, or is one of ours to set. Values are never quoted.
    """
    for name in address.properties:
        if name in OWNED:
            raise ConfigurationError(
                f"the Kafka property {name!r} follows from other settings",
                remedy="remove it from the [kafka] tables",
            )
    settings = {
        "bootstrap.servers": address.bootstrap,
        "client.id": "astrom3-broker",
        "socket.timeout.ms": REQUEST_MS,
        "log_level": CRITICAL,
        "error_cb": ErrorNotes(address.bootstrap),
        **properties,
        **address.properties,
    }
    try:
        return kind(settings, logger=logging.getLogger("librdkafka"))
    except KafkaException as error:
        text = _without(str(error.args[0].str()), address.properties.values())
        raise ConfigurationError(text, remedy="check the [kafka] tables and the bootstrap address") from None


def sort_error(error: KafkaError, doing: str) -> BrokerPluginError:
    """Return our error for one of Kafka's, by what to do about it.

    Parameters
    ----------
    error
        What Kafka said.
    doing
        What was being done, for the message.
    """
    text = f"{doing}: {error.name()}: {error.str()}"
    if error.code() in REFUSED:
        return ConfigurationError(text, remedy=ADVICE.get(error.code(), ""))
    return TransientError(text)


def cluster_id(client: Consumer | Producer) -> str:
    """Return the id that the brokers give their cluster, whatever address it was reached by.

    Raises
    ------
    TransientError, ConfigurationError
        If no broker answers, or none lets us in.
    """
    try:
        return str(client.list_topics(timeout=METADATA_S).cluster_id)
    except KafkaException as error:
        raise sort_error(error.args[0], "asking for the cluster's id") from error


def wait_for_topics(
    client: Consumer | Producer,
    topics: Sequence[str],
    *,
    bootstrap: str,
    deadline_s: float,
    stop: threading.Event | None = None,
) -> None:
    """Wait until the cluster answers and has these topics (patterns, beginning with `^`, are not looked for).

    A cluster that makes topics on demand makes those that a producer asks about. A stop event ends the wait.

    Raises
    ------
    TransientError
        If no broker answered in time.
    ConfigurationError
        If a topic was not there in time, or we are not let in.
    """
    deadline = time.monotonic() + deadline_s
    stop = stop or threading.Event()
    warned = False
    while not stop.is_set():
        patience_s = min(METADATA_S, max(LOOK_S, deadline - time.monotonic()))
        missing = _missing_topics(client, topics, bootstrap, patience_s)
        if missing is not None and not missing:
            return
        if not warned:
            waiting_for = "brokers" if missing is None else ", ".join(missing)
            log.warning("waiting_for_kafka", bootstrap=bootstrap, waiting_for=waiting_for)
            warned = True
        if time.monotonic() >= deadline:
            if missing is None:
                raise TransientError(f"no Kafka broker answers at {bootstrap}")
            raise ConfigurationError(
                f"{bootstrap} has no topic {', '.join(missing)}", remedy="make it, or correct its name"
            )
        stop.wait(LOOK_S)


def _missing_topics(
    client: Consumer | Producer, topics: Sequence[str], bootstrap: str, patience_s: float
) -> list[str] | None:
    missing = []
    for topic in topics or ("",):
        try:
            if not topic or topic.startswith("^"):
                client.list_topics(timeout=patience_s)
                continue
            found = client.list_topics(topic, timeout=patience_s).topics[topic].error
        except KafkaException as error:
            found = error.args[0]
            if found.code() in (KafkaError._TRANSPORT, KafkaError._TIMED_OUT, KafkaError._ALL_BROKERS_DOWN):
                return None
        if found is None:
            continue
        sorted_error = sort_error(found, f"looking for {topic or 'brokers'} on {bootstrap}")
        if isinstance(sorted_error, ConfigurationError):
            raise sorted_error
        missing.append(topic)
    return missing


class ErrorNotes:
    """Logs the library's global errors, from which it recovers by itself, without repeating them."""

    def __init__(self, bootstrap: str) -> None:
        self._bootstrap = bootstrap
        self._next: dict[int, float] = {}
        self._away_at = float("-inf")

    def were_away(self, *, within_s: float) -> bool:
        """Tell whether no broker could be reached at some time of late."""
        return time.monotonic() - self._away_at < within_s

    def __call__(self, error: KafkaError) -> None:
        """Take note of an error; the library's `error_cb`."""
        now = time.monotonic()
        if error.code() == KafkaError._ALL_BROKERS_DOWN:
            self._away_at = now
        if now >= self._next.get(error.code(), 0.0):
            self._next[error.code()] = now + REPEAT_S
            log.warning("kafka_error", code=error.name(), detail=error.str(), bootstrap=self._bootstrap)


def _without(text: str, secrets: Any) -> str:
    for secret in secrets:
        text = text.replace(secret, "***") if len(secret) > 1 else text
    return text
