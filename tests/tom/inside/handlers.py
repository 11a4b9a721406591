# SPDX-License-Identifier: BSD-3-Clause
"""Handlers of a stream as a TOM may write them, with a fault in one."""

from __future__ import annotations

from broker_plugin.client import Candidate

__all__ = ["HANDLED", "fail_on_third"]

HANDLED: list[str] = []


def fail_on_third(candidate: Candidate, topic: str) -> None:
    """Take candidates, all but the third, the first time that it comes."""
    if len(HANDLED) == 2 and "failed" not in HANDLED:
        HANDLED.append("failed")
        raise ValueError("of the handler's own")
    HANDLED.append(candidate.verdict.verdict_id)
