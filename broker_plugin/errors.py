# SPDX-License-Identifier: BSD-3-Clause
"""Errors, sorted by what the caller should do.

::

    BrokerPluginError
    ├── TransientError        retry with backoff, commit nothing
    │   └── StoreError            the store is away: go on from the packet alone
    ├── RejectedAlert         dead-letter with `reason`, commit, go on
    ├── MembershipLostError   stop; the process that is started next goes on
    ├── TokenError            stop; the process that is started next asks for one again
    ├── BatchAbandonedError   stop, and do not wait for the batch; the next process is given it again
    ├── StreamPausedError     hold the stream uncommitted and not ready, until an operator decides
    └── ConfigurationError    stop; the message says what to change
        ├── BundleError       the bundle is unreadable, altered or of another format
        │   └── NotFiniteError    it gave no number for a batch: bisect, the fault may be one alert's
        └── ProviderError     the wanted device cannot be had

Anything else that is raised stops the process with its offsets uncommitted.
"""

from __future__ import annotations

from enum import StrEnum
from functools import partial

from broker_plugin.records import Access

__all__ = [
    "BatchAbandonedError",
    "BrokerPluginError",
    "BundleError",
    "ConfigurationError",
    "MembershipLostError",
    "NotFiniteError",
    "PauseReason",
    "ProviderError",
    "RejectReason",
    "RejectedAlert",
    "StoreError",
    "StreamPausedError",
    "TokenError",
    "TransientError",
]


class RejectReason(StrEnum):
    """Why a message cannot become a verdict: a closed set, usable as a metric label."""

    EMPTY = "empty"
    UNDECODABLE = "undecodable"
    UNKNOWN_SCHEMA = "unknown_schema"
    TOO_LARGE = "too_large"
    MISSING_FIELD = "missing_field"
    INVALID_VALUE = "invalid_value"
    ACCESS = "access"


class BrokerPluginError(Exception):
    """Base of every error that this package raises on purpose.

    Parameters
    ----------
    found
        What is wrong.
    remedy
        What to do about it, where a person can do something.

    Examples
    --------
    >>> error = ConfigurationError("no topic alerts", remedy="make it, or correct its name")
    >>> print(error)
    no topic alerts; make it, or correct its name
    >>> error.remedy
    'make it, or correct its name'
    """

    def __init__(self, found: str = "", *, remedy: str = "") -> None:
        super().__init__(f"{found}; {remedy}" if remedy else found)
        self.found = found
        self.remedy = remedy


class TransientError(BrokerPluginError):
    """Something outside is briefly unavailable: retry with backoff and commit nothing."""


class MembershipLostError(BrokerPluginError):
    """The group has forgotten this process after an outage; one that is started in its place can join."""


class TokenError(BrokerPluginError):
    """No token lets us into a cluster: the identity provider is away, or does not give us a good one."""


class BatchAbandonedError(BrokerPluginError):
    """A batch took too long and is given up uncommitted, while a thread may still be at work on it."""


class StoreError(TransientError):
    """The store does not answer, or cannot do what it was asked: the stream goes on without it."""


class RejectedAlert(BrokerPluginError):
    """This message can never become a verdict: dead-letter it and go on.

    Parameters
    ----------
    reason
        The class of the defect.
    detail
        What was found, for a person. It never quotes a value, since that may not be public.
    access
        Every access class that occurs in the packet; None if it could not be decoded and so may hold any.
    foreign
        Whether it is a record of something else: no survey knows it for an alert of its own.
    """

    def __init__(
        self,
        reason: RejectReason,
        detail: str,
        *,
        access: frozenset[Access] | None = None,
        foreign: bool = False,
    ) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail
        self.access = access
        self.foreign = foreign

    def with_access(self, access: frozenset[Access] | None) -> RejectedAlert:
        """Return the same rejection of a packet with other access classes."""
        return RejectedAlert(self.reason, self.detail, access=access, foreign=self.foreign)

    def __reduce__(self) -> tuple[partial[RejectedAlert], tuple[()]]:
        """Let a worker process hand the rejection to its parent."""
        return partial(RejectedAlert, self.reason, self.detail, access=self.access, foreign=self.foreign), ()


class PauseReason(StrEnum):
    """Why a stream is held: a closed set, usable as a metric label."""

    SCHEMA = "schema"
    REJECTS = "rejects"


class StreamPausedError(BrokerPluginError):
    """Going on would do harm that waiting does not: hold the stream, commit nothing, ask an operator.

    Parameters
    ----------
    reason
        The class of the trouble.
    detail
        What was found and what can be done about it.
    """

    def __init__(self, reason: PauseReason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


class ConfigurationError(BrokerPluginError):
    """The settings cannot work; the message says what to change."""


class BundleError(ConfigurationError):
    """A bundle is unreadable, was altered, or has a format that this version cannot read."""


class NotFiniteError(BundleError):
    """A bundle gave a number that is not finite: an alert's fault if the bundle scores other alerts."""


class ProviderError(ConfigurationError):
    """The wanted device or execution provider cannot be had on this machine."""
