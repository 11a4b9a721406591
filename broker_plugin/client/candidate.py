# SPDX-License-Identifier: BSD-3-Clause
"""Candidates as they come off a topic that a route fills: a verdict with its light curve and links."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal

from broker_plugin.codec.verdict import Verdict
from broker_plugin.errors import RejectedAlert, RejectReason
from broker_plugin.pipeline.verdict_reader import verdict_of_record

__all__ = ["Candidate", "Epoch", "candidate_of_record"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Epoch:
    """One measurement of a candidate. The fields are documented in `schemas/candidate.v1.avsc`."""

    mjd_tai: float
    band: str
    flux_njy: float
    flux_err_njy: float
    origin: Literal["detection", "forced"]
    apparent: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A verdict that a route of the operator chose, with what is needed to look at it."""

    route: str
    verdict: Verdict
    light_curve: tuple[Epoch, ...]
    links: Mapping[str, str]


def candidate_of_record(record: Mapping[str, Any]) -> Candidate:
    """Return the candidate of a record as it was decoded.

    Raises
    ------
    RejectedAlert
        If it is none.
    """
    try:
        return Candidate(
            route=record["route"],
            verdict=verdict_of_record(record["verdict"]),
            light_curve=tuple(_epoch(row) for row in record.get("light_curve", ())),
            links=dict(record.get("links", {})),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise RejectedAlert(RejectReason.MISSING_FIELD, "the record is not a candidate") from error


def _epoch(row: Mapping[str, Any]) -> Epoch:
    return Epoch(**{column.name: row[column.name] for column in fields(Epoch)})
