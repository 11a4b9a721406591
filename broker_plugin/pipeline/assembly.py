# SPDX-License-Identifier: BSD-3-Clause
"""Puts an alert filter together from plain settings, in this process or in a worker."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from broker_plugin.codec.decoder import Decoder
from broker_plugin.codec.limits import DEFAULT_LIMITS, Limits
from broker_plugin.codec.registry import SchemaRegistry
from broker_plugin.codec.schemas import SchemaStore
from broker_plugin.codec.verdict import Tense
from broker_plugin.engine.scorer import Scorer
from broker_plugin.errors import ConfigurationError, RejectReason
from broker_plugin.pipeline.filter import AlertFilter, AlertMemory, AlertScorer
from broker_plugin.pipeline.memory import MemoryRecipe
from broker_plugin.pipeline.recollection import Recollection
from broker_plugin.prior import BUNDLE
from broker_plugin.records import Access
from broker_plugin.surveys.registry import SURVEYS, adapters

__all__ = ["FilterRecipe", "parse_access", "parse_dead_letter_access", "parse_reasons"]

UNDECODABLE = "undecodable"
"""The right to hold bytes that nobody could decode, named among the access classes of the dead letters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FilterRecipe:
    """All that a filter is made of, in values that can be handed to another process.

    Parameters
    ----------
    worker
        Number of the process among those of one command, which are spread over the GPUs.
    class_prior, decision_rule
        As for `Scorer`.
    access
        What the readers of the verdicts may see.
    input_registry, schemas
        Where the schemas of framed alerts come from.
    embeddings
        Whether verdicts hold their embeddings.
    keep_alerts
        Whether judgements hold their alerts.
    pause_on_drift
        As for `Decoder`.
    memory
        What is remembered of objects, None for nothing beyond the packets.
    limits
        What a message may be.
    """

    bundle: str = "default"
    device: str = "auto"
    worker: int = 0
    class_prior: str = BUNDLE
    decision_rule: str = BUNDLE
    tense: Tense = Tense.CURRENT
    surveys: tuple[str, ...] = SURVEYS
    access: frozenset[Access] = frozenset({Access.PUBLIC})
    input_registry: str = ""
    schemas: tuple[Path, ...] = ()
    embeddings: bool = False
    keep_alerts: bool = False
    pause_on_drift: bool = False
    memory: MemoryRecipe | None = None
    limits: Limits = DEFAULT_LIMITS

    def scorer(self) -> Scorer:
        """Return the opened scorer."""
        return Scorer.open(
            self.bundle,
            device=self.device,
            worker=self.worker,
            embeddings=self.embeddings or (self.memory is not None and self.memory.similar_hours > 0),
            class_prior=self.class_prior,
            decision_rule=self.decision_rule,
        )

    def recollection(self) -> Recollection | None:
        """Return the memory that the filter is to have, None for none."""
        return None if self.memory is None else self.memory.open(self.surveys, self.access)

    def filter(self, scorer: AlertScorer, *, memory: AlertMemory | None = None) -> AlertFilter:
        """Return the filter around a scorer."""
        registry = SchemaRegistry(self.input_registry) if self.input_registry else None
        decoder = Decoder(
            schemas=SchemaStore(registry, self.schemas),
            adapters=adapters(self.surveys),
            access=self.access,
            pause_on_drift=self.pause_on_drift,
            limits=self.limits,
        )
        decoder.warm_up()
        return AlertFilter(
            decoder,
            scorer,
            tense=self.tense,
            memory=memory,
            keep_alerts=self.keep_alerts,
            keep_embeddings=self.embeddings,
        )


def parse_access(names: str) -> frozenset[Access]:
    """Return the access classes of their names, with commas between.

    Raises
    ------
    ConfigurationError
        If a name is not one of them.

    Examples
    --------
    >>> parse_access("public")
    frozenset({<Access.PUBLIC: 1>})
    """
    return _access_classes(_words(names))


def parse_dead_letter_access(names: str) -> tuple[frozenset[Access], bool]:
    """Return what readers of the dead letters may see, and whether that includes undecodable bytes.

    Examples
    --------
    >>> parse_dead_letter_access("public,undecodable")
    (frozenset({<Access.PUBLIC: 1>}), True)
    """
    words = _words(names)
    return _access_classes([word for word in words if word != UNDECODABLE]), UNDECODABLE in words


def parse_reasons(names: str) -> frozenset[RejectReason]:
    """Return the reasons of rejection of their names, with commas between.

    Raises
    ------
    ConfigurationError
        If a name is not one of them.

    Examples
    --------
    >>> parse_reasons("empty"), parse_reasons("")
    (frozenset({<RejectReason.EMPTY: 'empty'>}), frozenset())
    """
    words = [word for word in _words(names) if word]
    unknown = [word for word in words if word not in set(RejectReason)]
    if unknown:
        known = ", ".join(RejectReason)
        raise ConfigurationError(f"no reason of rejection {unknown[0]!r}; choose from {known}")
    return frozenset(RejectReason(word) for word in words)


def _words(names: str) -> list[str]:
    return [name.strip().lower() for name in names.split(",")]


def _access_classes(words: Iterable[str]) -> frozenset[Access]:
    try:
        return frozenset(Access[word.upper()] for word in words)
    except KeyError as error:
        known = ", ".join(access.name.lower() for access in Access)
        raise ConfigurationError(f"no access class {error.args[0].lower()!r}; choose from {known}") from error
