# SPDX-License-Identifier: BSD-3-Clause
"""Verdicts for tests that need many, and what reads them off a stream in memory."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from broker_plugin.codec.verdict import Revision, Verdict, encode_container, verdict_id
from broker_plugin.streams.base import Message
from tests.broker_plugin.codec.test_verdict import VERDICT

__all__ = ["a_verdict", "as_messages", "retraction_of"]


def a_verdict(number: int, **parts: Any) -> Verdict:
    """Return a verdict of its own identity, with some parts replaced."""
    identity = {
        "alert_id": number,
        "alert_key": f"ztf:{number}",
        "verdict_id": verdict_id("ztf", number, VERDICT.bundle_digest),
        "object_id": f"ztf:ZTF{number}",
    }
    return VERDICT._replace(**{**identity, **parts})


def retraction_of(verdict: Verdict, **parts: Any) -> Verdict:
    """Return what takes a verdict back, with some parts replaced."""
    identity = verdict_id(
        verdict.survey, verdict.alert_id, verdict.bundle_digest, revision=Revision.RETRACTION
    )
    return verdict._replace(**{"verdict_id": identity, "revision": Revision.RETRACTION, **parts})


def as_messages(verdicts: Iterable[Verdict], *, partitions: int = 3) -> list[Message]:
    return [
        Message(
            topic="verdicts",
            partition=number % partitions,
            offset=number // partitions,
            value=encode_container(verdict),
        )
        for number, verdict in enumerate(verdicts)
    ]
