# SPDX-License-Identifier: BSD-3-Clause
"""Candidates as they come off a topic that a route fills: a verdict with its light curve and links."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal, TypeVar

from broker_plugin.codec.verdict import Verdict
from broker_plugin.errors import RejectedAlert, RejectReason
from broker_plugin.pipeline.verdict_reader import verdict_of_record

__all__ = ["Candidate", "Epoch", "UpperLimit", "candidate_of_record"]

Row = TypeVar("Row", "Epoch", "UpperLimit")


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
class UpperLimit:
    """A look of the survey that detected nothing: five standard deviations on the difference image."""

    mjd_tai: float
    band: str
    limit_njy: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A verdict that a route of the operator chose, with what is needed to look at it."""

    route: str
    verdict: Verdict
    light_curve: tuple[Epoch, ...]
    links: Mapping[str, str]
    upper_limits: tuple[UpperLimit, ...] = ()


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
            light_curve=tuple(_columns_of(Epoch, row) for row in record.get("light_curve", ())),
            links=dict(record.get("links", {})),
            upper_limits=tuple(_columns_of(UpperLimit, row) for row in record.get("upper_limits", ())),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise RejectedAlert(RejectReason.MISSING_FIELD, "the record is not a candidate") from error


def _columns_of(kind: type[Row], row: Mapping[str, Any]) -> Row:
    return kind(**{column.name: row[column.name] for column in fields(kind)})
