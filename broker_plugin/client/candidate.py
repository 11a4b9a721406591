# SPDX-License-Identifier: BSD-3-Clause
"""Candidates as they come off a topic that a route fills: a verdict with its light curve and links."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal

from broker_plugin.codec.packets import decode_message
from broker_plugin.codec.schemas import SchemaStore
from broker_plugin.codec.verdict import Verdict
from broker_plugin.errors import RejectedAlert, RejectReason
from broker_plugin.pipeline.verdict_reader import verdict_of_record

__all__ = ["Candidate", "CandidateForm", "Epoch"]


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


class CandidateForm:
    """Reads candidates from container files, and from framed messages where a registry is given.

    Parameters
    ----------
    schemas
        Where the writer schemas of framed messages come from.
    """

    def __init__(self, schemas: SchemaStore) -> None:
        self._schemas = schemas

    def read(self, value: bytes) -> Candidate:
        """Return the candidate of one message.

        Raises
        ------
        RejectedAlert
            If it is none.
        TransientError
            If the registry does not answer.
        """
        record = decode_message(value, schema_of=self._schemas.writer_schema).packets[0]
        try:
            return Candidate(
                route=record["route"],
                verdict=verdict_of_record(record["verdict"]),
                light_curve=tuple(_epoch(row) for row in record.get("light_curve", ())),
                links=dict(record.get("links", {})),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise RejectedAlert(RejectReason.MISSING_FIELD, "the record is not a candidate") from error

    def verdict(self, item: Candidate) -> Verdict:
        """Return the verdict, on which conditions are."""
        return item.verdict


def _epoch(row: Mapping[str, Any]) -> Epoch:
    return Epoch(**{column.name: row[column.name] for column in fields(Epoch)})
