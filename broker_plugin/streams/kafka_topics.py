# SPDX-License-Identifier: BSD-3-Clause
"""Topics of a cluster: which there are, and how new ones are made."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from concurrent.futures import TimeoutError as NoAnswerError
from dataclasses import dataclass, field
from math import inf

import structlog
from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # not in __all__
    AdminClient,
    ConfigResource,
    NewTopic,
)

from broker_plugin.errors import BrokerPluginError, ConfigurationError
from broker_plugin.streams.kafka_admission import Admission
from broker_plugin.streams.kafka_client import SILENT, KafkaAddress, make_client, sort_error
from broker_plugin.streams.kafka_silence import silence_of
from broker_plugin.streams.topic_pattern import require_name

__all__ = ["TopicPlan", "create_topic", "delete_topic", "kept_for_s", "matching_topics"]

log = structlog.get_logger(__name__)

ANSWER_S = 20.0
"""Longest wait for one administrative answer."""

UNLIMITED = -1
"""Kafka's word for a bound that is not there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicPlan:
    """A topic as it should be made.

    Parameters
    ----------
    replicas
        Copies of each partition; None for what the cluster does by itself.
    config
        Kafka's settings of the topic, by name.

    Raises
    ------
    ConfigurationError
        If no topic can have the name.
    """

    name: str
    partitions: int
    replicas: int | None = None
    config: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        require_name(self.name)


def matching_topics(address: KafkaAddress, wanted: Sequence[str]) -> list[str]:
    """Return the topics of a cluster that were asked for by name or by a pattern that begins with `^`.

    A name is returned whether it is there or not.

    Raises
    ------
    ConfigurationError, TransientError
        If no topic fits a pattern, or the cluster does not answer.
    """
    names = [name for name in wanted if not name.startswith("^")]
    patterns = [name for name in wanted if name.startswith("^")]
    if patterns:
        admin, admission = _client(address)
        try:
            known = sorted(admin.list_topics(timeout=ANSWER_S).topics)
        except KafkaException as error:
            raise _sorted(error.args[0], "listing topics", admin, admission) from error
        found = [name for name in known if any(re.match(pattern, name) for pattern in patterns)]
        if not found:
            raise ConfigurationError(f"{address.bootstrap} has no topic like {', '.join(patterns)}")
        names += found
    return list(dict.fromkeys(names))


def create_topic(address: KafkaAddress, plan: TopicPlan) -> bool:
    """Make a topic; return whether it was made, False if it is there already.

    Raises
    ------
    ConfigurationError, TransientError
        If the cluster refuses, or does not answer.
    """
    admin, admission = _client(address)  # held until the answer is here: else the request is given up
    wanted = NewTopic(
        plan.name,
        num_partitions=plan.partitions,
        replication_factor=-1 if plan.replicas is None else plan.replicas,
        config=dict(plan.config),
    )
    (made,) = admin.create_topics([wanted], operation_timeout=ANSWER_S).values()
    try:
        made.result(ANSWER_S + 1.0)
    except NoAnswerError as error:
        raise _silence(admin, admission) from error
    except KafkaException as error:
        reason: KafkaError = error.args[0]
        if reason.code() == KafkaError.TOPIC_ALREADY_EXISTS:
            return False
        if reason.code() in (KafkaError.INVALID_REPLICATION_FACTOR, KafkaError.INVALID_CONFIG):
            raise ConfigurationError(f"{plan.name} cannot be made: {reason.str()}") from error
        raise _sorted(reason, f"making {plan.name}", admin, admission) from error
    return True


def delete_topic(address: KafkaAddress, name: str) -> None:
    """Delete a topic with all that is on it, if it is there.

    Raises
    ------
    ConfigurationError, TransientError
        If the cluster refuses, or does not answer.
    """
    admin, admission = _client(address)  # held until the answer is here, as above
    (gone,) = admin.delete_topics([name], operation_timeout=ANSWER_S).values()
    try:
        gone.result(ANSWER_S + 1.0)
    except NoAnswerError as error:
        raise _silence(admin, admission) from error
    except KafkaException as error:
        if error.args[0].code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
            raise _sorted(error.args[0], f"deleting {name}", admin, admission) from error


def kept_for_s(address: KafkaAddress, topic: str) -> float:
    """Return how long a topic keeps a message for certain, s: without end where nothing limits it.

    0 where that cannot be told: a topic bounded by its size keeps a message for as long as there is room, and
    a cluster may not show us its settings.
    """
    asked = ConfigResource(ConfigResource.Type.TOPIC, topic)
    admin, _ = _client(address)  # held until the answer is here, as above
    (answer,) = admin.describe_configs([asked], request_timeout=ANSWER_S).values()
    try:
        found = {name: entry.value for name, entry in answer.result(ANSWER_S + 1.0).items()}
    except (KafkaException, NoAnswerError) as error:
        log.info("retention_not_shown", topic=topic, why=str(error))
        return 0.0
    if int(found.get("retention.bytes", UNLIMITED)) != UNLIMITED:
        return 0.0
    retention_ms = int(found.get("retention.ms", 0))
    return inf if retention_ms == UNLIMITED else retention_ms / 1000


def _client(address: KafkaAddress) -> tuple[AdminClient, Admission]:
    admission = Admission(address)
    return make_client(AdminClient, address, {}, admission=admission), admission


def _sorted(error: KafkaError, doing: str, admin: AdminClient, admission: Admission) -> BrokerPluginError:
    """Return our error; the library says of a cluster that does not answer what it was itself waiting for."""
    return _silence(admin, admission) if error.code() in SILENT else sort_error(error, doing)


def _silence(admin: AdminClient, admission: Admission) -> BrokerPluginError:
    admin.poll(0)  # where the library tells that we are not let in
    return admission.error() if admission.refused else silence_of(admission.bootstrap, admission.last)
