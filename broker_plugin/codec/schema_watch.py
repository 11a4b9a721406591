# SPDX-License-Identifier: BSD-3-Clause
"""Each new writer schema is looked at once, whether it still has what the survey's adapter reads.

A schema that lacks a required field is a change of the survey's, and would turn the night into dead letters;
it is not the fault of the messages that came with it. One that came inside a single message, though, may be
that message's own damage, so an embedded schema counts only when it has come a few times.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import structlog

from broker_plugin.codec.writer_schema import WriterSchema
from broker_plugin.errors import PauseReason, RejectReason, StreamPausedError
from broker_plugin.surveys.base import SurveyAdapter
from broker_plugin.surveys.drift import Drift, drift_of, release_of

__all__ = ["SchemaWatch"]

log = structlog.get_logger(__name__)

EMBEDDED_MIN = 3
"""Messages with one and the same embedded schema before that counts as the survey's. Damaged ones are each
damaged in their own way; fewer, and two of a kind would stop the night."""

SCHEMAS_KEPT = 64
"""Schemas that are kept with their findings: more than surveys have, and a bound against made-up ones, which
may have some megabytes each."""

REMEMBERED = 256
"""Schemas of which it is kept how often they came and what was said of them."""


@dataclass(slots=True)
class _Finding:
    writer: WriterSchema
    drift: Drift
    fingerprint: str
    foreign: bool


class SchemaWatch:
    """Remembers what it found in each schema.

    Parameters
    ----------
    adapters
        The surveys to expect.
    pause
        Whether a required field that is gone stops the stream. Else its alerts are rejected one by one.
    """

    def __init__(self, adapters: Sequence[SurveyAdapter], *, pause: bool = False) -> None:
        self._adapters = tuple(adapters)
        self._pause = pause
        self._findings: dict[int, _Finding] = {}
        self._seen: Counter[str] = Counter()
        self._said: set[str] = set()

    def is_degraded(self, writer: WriterSchema, *, registered: bool) -> bool:
        """Tell whether a message's schema lacks fields that are expected, though none that is required.

        Parameters
        ----------
        writer
            The schema.
        registered
            Whether a registry vouches for it, or it came inside the message.

        Raises
        ------
        StreamPausedError
            If a required field is gone, and the stream is to pause for it.
        """
        finding = self._finding(writer)
        if finding.drift.required and self._pause:
            self._seen[finding.fingerprint] += 1
            if registered or self._seen[finding.fingerprint] >= EMBEDDED_MIN:
                raise _pause(finding)
        return bool(finding.drift.expected)

    def drift(self, writer: WriterSchema) -> Drift:
        """Return what a schema lacks."""
        return self._finding(writer).drift

    def is_foreign(self, writer: WriterSchema) -> bool:
        """Tell whether no record of a schema can be a survey's alert, nor what a survey has made of one."""
        return self._finding(writer).foreign

    def _finding(self, writer: WriterSchema) -> _Finding:
        finding = self._findings.get(id(writer))
        if finding is None:
            if len(self._findings) >= SCHEMAS_KEPT:
                self._findings.clear()
            for kept in (self._seen, self._said):
                if len(kept) >= REMEMBERED:
                    kept.clear()
            adapter = self._concerned(writer)
            drift = Drift() if adapter is None else _drift(writer, adapter)
            # The schema is held too, so that no other one can get its identity.
            finding = _Finding(
                writer,
                drift,
                fingerprint=_fingerprint(writer) if drift != Drift() else "",
                foreign=adapter is None and not any(_has_mark(writer, each) for each in self._adapters),
            )
            self._findings[id(writer)] = finding
            self._say(finding)
        return finding

    def _concerned(self, writer: WriterSchema) -> SurveyAdapter | None:
        """Return the adapter of the survey whose alerts, by name or trigger record, these are."""
        concerned = (each for each in self._adapters if each.needs.concern(writer.parsed, writer.name))
        return next(concerned, None)

    def _say(self, finding: _Finding) -> None:
        drift = finding.drift
        if drift == Drift() or finding.fingerprint in self._said:
            return
        self._said.add(finding.fingerprint)
        log.warning(
            "schema_degraded",
            schema=finding.writer.name,
            version=finding.writer.declared or finding.writer.version,
            fingerprint=finding.fingerprint,
            required_gone=list(drift.required),
            expected_gone=list(drift.expected),
        )


def _drift(writer: WriterSchema, adapter: SurveyAdapter) -> Drift:
    release = release_of(writer.declared or writer.version)
    return drift_of(writer.parsed, adapter.needs, release=release)


def _has_mark(writer: WriterSchema, adapter: SurveyAdapter) -> bool:
    """Tell whether records of a schema may have one of an adapter's marks, without which none is its own."""
    branches = writer.parsed if isinstance(writer.parsed, list) else [writer.parsed]
    records = [branch for branch in branches if isinstance(branch, dict)]
    return any(member["name"] in adapter.marks for record in records for member in record.get("fields", ()))


def _pause(finding: _Finding) -> StreamPausedError:
    gone = ", ".join(finding.drift.required)
    version = finding.writer.declared or finding.writer.version or "no version"
    return StreamPausedError(
        PauseReason.SCHEMA,
        f"schema {finding.writer.name} ({version}, fingerprint {finding.fingerprint}) no longer has {gone}, "
        "without which no alert can be made; nothing of this batch was sent or committed. Update the "
        f"plug-in, or restart with --accept-rejects {RejectReason.MISSING_FIELD} to dead-letter such alerts",
    )


def _fingerprint(writer: WriterSchema) -> str:
    text = json.dumps(writer.parsed, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:12]
