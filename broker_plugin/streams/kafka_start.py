# SPDX-License-Identifier: BSD-3-Clause
"""Where a group begins, and what is done when the place where it left off is no longer in the log.

The library's own answer to both is silent: it goes to one end of the log, which skips a week or repeats one.
So it is told to report an error instead. Where a new group begins is decided once, for all its members, by
committing the offsets before the first member joins; whatever has no offset after that is new to the group
and is read from its beginning.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Literal

import structlog
from confluent_kafka import OFFSET_END, Consumer, KafkaError, KafkaException, TopicPartition

from broker_plugin.errors import ConfigurationError
from broker_plugin.instants import iso_utc
from broker_plugin.streams.kafka_client import KafkaAddress, make_client, sort_error
from broker_plugin.streams.kafka_message import names, offsets_of
from broker_plugin.streams.topic_pattern import matching

__all__ = ["StartPolicy", "begin_group", "offset_after_loss", "places_of_topics", "watermarks"]

log = structlog.get_logger(__name__)

ANSWER_S = 10.0
"""Longest wait for one answer about a topic or a group: brokers that are up take milliseconds."""

LOOK_S = 0.5
"""Pause between two attempts while a cluster comes up."""

ACTIVE_GROUP = frozenset(
    {KafkaError.UNKNOWN_MEMBER_ID, KafkaError.ILLEGAL_GENERATION, KafkaError.REBALANCE_IN_PROGRESS}
    | {KafkaError.STALE_MEMBER_EPOCH, KafkaError.FENCED_MEMBER_EPOCH}
)
"""What a coordinator answers to a commit from outside while the group has members."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StartPolicy:
    """What to do where a group has no offset, or one that is not in the log.

    Parameters
    ----------
    offset_reset
        Where a group without any offset begins; `stop` refuses to start it.
    on_lost
        What a group does whose offset has been deleted from the log, or lies behind its end.
    start_at_ms
        Where a group without any offset begins instead: with the messages since a moment.
    force
        Let `start_at_ms` hold for a group that has offsets too. It must have no member at that time.
    """

    offset_reset: Literal["earliest", "latest", "stop"] = "earliest"
    on_lost: Literal["stop", "earliest", "latest"] = "stop"
    start_at_ms: int | None = None
    force: bool = False


def begin_group(
    address: KafkaAddress,
    topics: Sequence[str],
    policy: StartPolicy,
    *,
    group: str,
    deadline_s: float = ANSWER_S,
    stop: threading.Event | None = None,
) -> None:
    """Give a group its first offsets, unless it has some.

    Parameters
    ----------
    address
        The cluster.
    topics
        Topics, or patterns of topics that begin with `^`.
    policy
        Where to begin.
    group
        The group.
    deadline_s
        Longest wait for a cluster that does not answer yet: a new one takes seconds to name a coordinator.
    stop
        Ends the wait.

    Raises
    ------
    ConfigurationError
        If the policy is to stop, or to force a group that has members.
    TransientError
        If the cluster does not answer in time.
    """
    deadline = time.monotonic() + deadline_s
    stop = stop or threading.Event()
    properties = {
        "group.id": group,
        "enable.auto.commit": False,
        # Else it would wait for the transaction that a killed process of the group has left open.
        "isolation.level": "read_uncommitted",
    }
    with closing(make_client(Consumer, address, properties)) as outsider:
        while not stop.is_set():
            try:
                _begin(outsider, topics, policy, group)
            except KafkaException as error:
                reason = sort_error(error.args[0], f"looking where group {group} begins")
                if isinstance(reason, ConfigurationError) or time.monotonic() > deadline:
                    raise reason from error
            else:
                return
            stop.wait(LOOK_S)


def _begin(outsider: Consumer, topics: Sequence[str], policy: StartPolicy, group: str) -> None:
    places = places_of_topics(outsider, topics)
    if not places:
        return  # of topics to come, which are read from their beginning
    has_offsets = any(place.offset >= 0 for place in outsider.committed(places, timeout=ANSWER_S))
    if has_offsets and not policy.force:
        return
    first = _first_offsets(outsider, places, policy, group)
    if not _commit(outsider, first, policy, group):
        return
    log.warning(
        "group_begins",
        group=group,
        at=iso_utc(policy.start_at_ms) or policy.offset_reset,
        had_offsets=has_offsets,
        offsets={name: place.offset for name, place in zip(names(first), first, strict=True)},
    )


def offset_after_loss(consumer: Consumer, place: TopicPartition, policy: StartPolicy) -> int:
    """Return where to go on in a partition of which the library says that our offset is not there.

    Parameters
    ----------
    consumer
        The group's member.
    place
        The partition, with the offset that was asked for, if any.
    policy
        What the operator wants.

    Raises
    ------
    ConfigurationError
        If the policy is to stop: how many messages were lost and what can be done.
    TransientError
        If the cluster does not answer.
    """
    name = names([place])[0]
    try:
        consumer.list_topics(place.topic, timeout=ANSWER_S)  # a partition may be newer than what it knows
        low, high = watermarks(consumer, place)
        wanted = place.offset
        if wanted < 0:
            wanted = consumer.committed([TopicPartition(place.topic, place.partition)], timeout=ANSWER_S)[
                0
            ].offset
        if wanted < 0:
            # Not even with `latest`: where a new group begins was decided before its first member joined.
            log.warning("partition_new_to_group", partition=name, begins_at=low, messages_ahead=high - low)
            return low
    except KafkaException as error:
        raise sort_error(error.args[0], f"looking where {name} goes on") from error
    if low <= wanted <= high:
        return wanted  # it came back: a leader that had fallen behind
    if wanted < low:
        what = (
            f"{name}: {low - wanted} messages are lost; the group stands at offset {wanted}, and the log "
            f"begins at {low}, since older messages were deleted"
        )
    else:
        what = (
            f"{name}: the group stands at offset {wanted}, and the log ends at {high}; the topic was made "
            "anew or lost its end, so what the group has done of it is unknown"
        )
    if policy.on_lost == "stop":
        raise ConfigurationError(
            f"{what}. To go on with what there is, start with --on-lost-offsets earliest (from offset {low}) "
            f"or latest (from {high}), and raise the topic's retention"
        )
    at = low if policy.on_lost == "earliest" else high
    log.error("messages_lost", partition=name, group_at=wanted, begins=low, ends=high, goes_on_at=at)
    return at


def places_of_topics(consumer: Consumer, topics: Sequence[str]) -> list[TopicPartition]:
    """Return every partition of topics and of patterns of topics, as far as the cluster has them."""
    found = consumer.list_topics(timeout=ANSWER_S).topics
    wanted = matching(topics, found)
    return [TopicPartition(name, number) for name in wanted for number in sorted(found[name].partitions)]


def watermarks(consumer: Consumer, place: TopicPartition) -> tuple[int, int]:
    """Return the offset of a partition's oldest message and that of its next one, as its broker says.

    Raises
    ------
    KafkaException
        If it does not answer.
    """
    found = consumer.get_watermark_offsets(place, timeout=ANSWER_S)
    if found is None:
        raise KafkaException(KafkaError(KafkaError._TIMED_OUT))
    return found


def _first_offsets(
    consumer: Consumer, places: Sequence[TopicPartition], policy: StartPolicy, group: str
) -> list[TopicPartition]:
    bounds = [watermarks(consumer, place) for place in places]
    if policy.start_at_ms is not None:
        asked = [TopicPartition(p.topic, p.partition, policy.start_at_ms) for p in places]
        later = offsets_of(consumer.offsets_for_times(asked, timeout=ANSWER_S))
        wanted = [later.get((place.topic, place.partition), OFFSET_END) for place in places]
        offsets = [high if at < 0 else at for at, (_, high) in zip(wanted, bounds, strict=True)]
    elif policy.offset_reset == "stop":
        ahead = sum(high - low for low, high in bounds)
        raise ConfigurationError(
            f"group {group} has no offsets and --offset-reset is stop: it is new, or it was idle for so long "
            f"that Kafka has forgotten them (offsets.retention.minutes, a week by default). {ahead} messages "
            "are there. Start once with --offset-reset earliest or latest, or with --start-at TIME"
        )
    else:
        offsets = [(low, high)[policy.offset_reset == "latest"] for low, high in bounds]
    return [TopicPartition(p.topic, p.partition, at) for p, at in zip(places, offsets, strict=True)]


def _commit(consumer: Consumer, offsets: Sequence[TopicPartition], policy: StartPolicy, group: str) -> bool:
    """Commit; return False where another member of a new group was quicker, and has decided for all."""
    try:
        answers = consumer.commit(offsets=list(offsets), asynchronous=False)
        defect = next((answer.error for answer in answers or () if answer.error is not None), None)
    except KafkaException as error:
        defect = error.args[0]
    if defect is None:
        return True
    if defect.code() not in ACTIVE_GROUP:
        raise KafkaException(defect)
    if policy.force:
        raise ConfigurationError(
            f"group {group} has members and cannot be moved to --start-at",
            remedy="stop them all, and wait until the session of the last one has run out, which keeps its "
            "place for so long (session.timeout.ms, 45 s by default)",
        )
    return False
