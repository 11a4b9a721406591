# SPDX-License-Identifier: BSD-3-Clause
"""What a cluster's ACLs lack for us, asked before the first message instead of found out by it.

Kafka says of every topic and group that may be described what else may be done with it (KIP-430). Of
transactional ids it does not: those are found out when one is taken.
"""

from __future__ import annotations

from collections.abc import Sequence

import structlog
from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import AclOperation, AdminClient  # type: ignore[attr-defined]  # not in __all__

from broker_plugin.errors import ConfigurationError
from broker_plugin.streams.kafka_admission import KafkaAddress
from broker_plugin.streams.kafka_client import make_client

__all__ = ["missing_rights", "require_rights"]

log = structlog.get_logger(__name__)

ANSWER_S = 5.0
"""Longest wait for one answer."""

UNTOLD = frozenset({KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.GROUP_AUTHORIZATION_FAILED})
"""How a cluster says that it does not even tell."""


def missing_rights(
    address: KafkaAddress, *, read: Sequence[str] = (), write: Sequence[str] = (), group: str = ""
) -> list[str]:
    """Return which rights are lacking, such as `WRITE on topic verdicts`; none where a cluster cannot say.

    Parameters
    ----------
    read, write
        Topics; patterns are left out, since they find what may be described only.
    group
        The consumer group.
    """
    wanted = [(topic, "READ") for topic in read if not topic.startswith("^")]
    wanted += [(topic, "WRITE") for topic in write]
    # Made each time: it is asked at the start only.
    admin = make_client(AdminClient, address.credentials_only(), {})
    missing = [f"{right} on topic {topic}" for topic, right in wanted if not _topic(admin, topic, right)]
    if group and not _group(admin, group):
        missing.append(f"READ on group {group}")
    return missing


def require_rights(
    address: KafkaAddress, *, read: Sequence[str] = (), write: Sequence[str] = (), group: str = ""
) -> None:
    """Refuse to go on without these rights.

    Raises
    ------
    ConfigurationError
        Naming all that are lacking at once.
    """
    missing = missing_rights(address, read=read, write=write, group=group)
    if missing:
        raise ConfigurationError(
            f"the ACLs of {address.bootstrap} lack for this user: {', '.join(missing)}",
            remedy="grant them, as deploy/kafka/acls.sh does, or name other topics and another group",
        )


def _topic(admin: AdminClient, topic: str, right: str) -> bool:
    try:
        (answer,) = admin.describe_topics(
            TopicCollection([topic]), include_authorized_operations=True, request_timeout=ANSWER_S
        ).values()
        found = answer.result(ANSWER_S + 1)
    except KafkaException as error:
        return _is_untold(error, topic)
    return _holds(found.authorized_operations, right)


def _group(admin: AdminClient, group: str) -> bool:
    try:
        (answer,) = admin.describe_consumer_groups(
            [group], include_authorized_operations=True, request_timeout=ANSWER_S
        ).values()
        found = answer.result(ANSWER_S + 1)
    except KafkaException as error:
        return _is_untold(error, group)
    return _holds(found.authorized_operations, "READ")


def _holds(operations: Sequence[AclOperation] | None, right: str) -> bool:
    return not operations or bool({AclOperation[right], AclOperation.ALL} & set(operations))


def _is_untold(error: KafkaException, name: str) -> bool:
    """Return False where we may not even ask; a cluster that cannot answer will say at the first message."""
    reason = error.args[0]
    if reason.code() in UNTOLD:
        return False
    log.debug("rights_unknown", name=name, why=reason.name())
    return True
