# SPDX-License-Identifier: BSD-3-Clause
"""What every Kafka client of ours has in common: its properties, its log, and how its errors are sorted."""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import structlog
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer
from confluent_kafka.admin import AdminClient

from broker_plugin.errors import BrokerPluginError, ConfigurationError, TransientError
from broker_plugin.streams.kafka_admission import REFUSALS, Admission, KafkaAddress
from broker_plugin.streams.kafka_silence import silence_of
from broker_plugin.streams.topic_pattern import NAME_RULE, is_pattern, require_name

__all__ = ["SILENT", "KafkaAddress", "cluster_id", "make_client", "sort_error", "wait_for_topics"]

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

FIRST_METADATA_S = 2.0
"""The same for the first one: a cluster that refuses us does so in a moment, and tells only in between."""

REFUSED_AT_START_S = 1.0
"""How long to be refused at the start: a second attempt is refused too."""

TOPIC_MISSING = "make it, or correct its name"
"""What to do about a topic that is not there."""

NIGHTLY_MISSING = f"{TOPIC_MISSING}; a survey's next nights are a pattern, ^ztf_.*"
"""What to do about a topic of one night, which has its date in its name."""

DATE = re.compile(r"(?<!\d)\d{8}(?!\d)")

SILENT = (KafkaError._TRANSPORT, KafkaError._TIMED_OUT, KafkaError._ALL_BROKERS_DOWN)
"""How the library says that no broker answers."""

LOOK_S = 0.5
"""Time between two looks for a broker or a topic that is not there yet."""

CRITICAL = 2
"""Least severe lines of the library's own log. Below it reports every refused connection, and so do its
errors, which are logged here."""

REFUSED = frozenset(
    {
        KafkaError._FENCED,
        KafkaError._UNSUPPORTED_FEATURE,
        KafkaError.CLUSTER_AUTHORIZATION_FAILED,
        KafkaError.FENCED_INSTANCE_ID,
        KafkaError.GROUP_AUTHORIZATION_FAILED,
        KafkaError.INVALID_GROUP_ID,
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.TOPIC_EXCEPTION,
        KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
        KafkaError.UNRELEASED_INSTANCE_ID,
        KafkaError.UNSUPPORTED_VERSION,
    }
)
"""Errors that no retry cures: rights, names, versions, or another process under our name."""

SAME_INSTANCE = "give each its own --instance, for another process of this group has this one"

CLASSIC = "use --group-protocol classic, for the broker is too old for consumer"

ADVICE = {
    **REFUSALS,
    KafkaError._FENCED: SAME_INSTANCE,
    KafkaError.FENCED_INSTANCE_ID: SAME_INSTANCE,
    KafkaError.UNRELEASED_INSTANCE_ID: SAME_INSTANCE,
    KafkaError.GROUP_AUTHORIZATION_FAILED: "grant this user READ on the group, or change --group",
    KafkaError.TOPIC_AUTHORIZATION_FAILED: "grant this user READ on a topic of the input and WRITE on one of "
    "the output, or name another",
    KafkaError.TOPIC_EXCEPTION: NAME_RULE,
    KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED: "grant this user WRITE on transactional ids that begin "
    "with the group, or use --delivery at-least-once",
    KafkaError.UNSUPPORTED_VERSION: CLASSIC,
    KafkaError._UNSUPPORTED_FEATURE: CLASSIC,
}
"""What to do about an error, where it can be said."""


def make_client(
    kind: type[Client],
    address: KafkaAddress,
    properties: Mapping[str, Any],
    *,
    admission: Admission | None = None,
) -> Client:
    """Return a client whose log goes to Python's logger `librdkafka`.

    Parameters
    ----------
    kind
        Consumer, producer or admin client.
    address
        The cluster, and how to be let in.
    properties
        Properties of our own.
    admission
        Is told of errors that concern the whole client.

    Raises
    ------
    ConfigurationError
        If a property is unknown, does not fit, or is one of ours to set. Values are never quoted.
    """
    theirs = address.resolved()
    for name in theirs:
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
        "error_cb": (admission or Admission(address)).note,
        **properties,
        **theirs,
    }
    try:
        return kind(settings, logger=logging.getLogger("librdkafka"))
    except KafkaException as error:
        text = _without(str(error.args[0].str()), theirs.values())
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
    remedy = ADVICE.get(error.code(), "")
    # A refused login is borne for a while: `Admission` says when it has lasted too long.
    return (
        ConfigurationError(text, remedy=remedy)
        if error.code() in REFUSED
        else TransientError(text, remedy=remedy)
    )


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
    admission: Admission | None = None,
) -> None:
    """Wait until the cluster answers and has these topics (patterns, beginning with `^`, are not looked for).

    None is made by looking for it, as long as no table sets `allow.auto.create.topics`. A stop event ends the
    wait.

    Raises
    ------
    TransientError
        If no broker answered in time.
    ConfigurationError
        If a topic was not there in time or can have no such name, or we are not let in.
    TokenError
        If we are not let in in time, and that may pass.
    """
    for topic in topics:
        if not is_pattern(topic):
            require_name(topic)
    deadline = time.monotonic() + deadline_s
    stop = stop or threading.Event()
    said: list[str] | None = []
    answer_s = FIRST_METADATA_S
    while not stop.is_set():
        patience_s = min(answer_s, max(LOOK_S, deadline - time.monotonic()))
        answer_s = METADATA_S
        missing = _missing_topics(client, topics, bootstrap, patience_s)
        if missing is not None and not missing:
            if admission is not None:
                admission.granted()  # what was refused while we waited is over
            return
        if missing is None and admission is not None:
            client.poll(0)  # where the library tells why
            if not admission.may_lack_token or time.monotonic() >= deadline:
                admission.check(client, patience_s=REFUSED_AT_START_S)
        if missing != said:
            _say_what_is_awaited(bootstrap, missing, left_s=deadline - time.monotonic())
            said = missing
        if time.monotonic() >= deadline:
            if missing is None:
                raise silence_of(bootstrap, admission.last if admission is not None else "")
            raise ConfigurationError(
                f"{bootstrap} has no topic {', '.join(missing)}", remedy=_if_missing(missing)
            )
        stop.wait(LOOK_S)


def _say_what_is_awaited(bootstrap: str, missing: list[str] | None, *, left_s: float) -> None:
    until = round(max(0.0, left_s))
    if missing is None:
        log.warning("brokers_awaited", bootstrap=bootstrap, at_most_s=until)
    else:
        log.warning(
            "topics_missing",
            bootstrap=bootstrap,
            topics=missing,
            at_most_s=until,
            remedy=_if_missing(missing),
        )


def _if_missing(topics: Sequence[str]) -> str:
    """Return what to do about topics that are not there."""
    return NIGHTLY_MISSING if any(map(DATE.search, topics)) else TOPIC_MISSING


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
            if found.code() in SILENT or found.code() in REFUSALS:
                return None
        # Who may not look at a topic is told by `require_rights`, with all that is lacking.
        if found is None or found.code() == KafkaError.TOPIC_AUTHORIZATION_FAILED:
            continue
        sorted_error = sort_error(found, f"looking for {topic or 'brokers'} on {bootstrap}")
        if isinstance(sorted_error, ConfigurationError):
            raise sorted_error
        missing.append(topic)
    return missing


def _without(text: str, secrets: Any) -> str:
    for secret in secrets:
        text = text.replace(secret, "***") if len(secret) > 1 else text
    return text
