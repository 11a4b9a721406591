# SPDX-License-Identifier: BSD-3-Clause
"""A schema registry that speaks Confluent's interface: schemas by id, and our verdict schema registered.

Confluent's client is imported by those who ask for a registry: with its three HTTP libraries it
would make up a fifth of the time of every start.
"""

from __future__ import annotations

import time
import weakref
from functools import cache
from random import SystemRandom
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, unquote, urlsplit

import structlog

from broker_plugin.addresses import shown_address
from broker_plugin.codec.packets import FRAME, FRAME_MAGIC
from broker_plugin.codec.verdict import schema_text as verdict_schema_text
from broker_plugin.errors import ConfigurationError, TransientError

if TYPE_CHECKING:
    from confluent_kafka.schema_registry import SchemaRegistryClient, SchemaRegistryError

__all__ = ["SchemaRegistry", "frame"]

log = structlog.get_logger(__name__)

REQUEST_S = 5.0
"""Longest wait for one answer. A batch waits for it while its registry is down, so it is short."""

RETRIES = 1
"""Further attempts in one call, for a connection that was cut; the pipeline retries longer outages itself."""

RETRY_WAIT_MS = 200

SCHEMA_ID_MAX = 2**31 - 1
"""Registries number with a signed int; a larger id in a message is junk and not worth a question."""

COMPATIBILITY = "FULL_TRANSITIVE"
"""Every version of our schema reads every other, so readers and writers can be upgraded in any order."""

DENIALS = frozenset({401, 403})
NOT_FOUND = 404
REFUSALS = frozenset({400, 405, 409, 422})
"""Statuses by which a registry refuses a schema for good: incompatible, invalid, or read-only."""

CONFLICT = 409
"""What a registry says of a schema that does not fit the others, and to all but one of those who make a
subject at the same moment."""

CONFLICT_ATTEMPTS = 6
"""Processes that start together with a new topic make its subject together. Asked again, a registry has what
the quickest has made; one that refuses the schema itself does so in a second all the same."""

CONFLICT_PAUSE_S = (0.05, 0.3)
"""At random between these, so that they do not meet again."""

NOT_FOUND_CODES = range(40400, 40500)
"""Error codes of a registry that knows no such schema, or no rule of a subject's own. A 404 without one is no
registry's: a proxy answers so while the registry behind it is away."""


class SchemaRegistry:
    """A client of one registry.

    Parameters
    ----------
    url
        Its address, `http(s)://[user:password@]host[:port][/path]`, or `mock://name` for one in this process.
    user_info
        `user:password`; by default those of the address.
    request_s
        Longest wait for one answer.

    Raises
    ------
    ConfigurationError
        If the address is not one.
    """

    def __init__(self, url: str, *, user_info: str | None = None, request_s: float = REQUEST_S) -> None:
        parts = _address(url)
        self.url = shown_address(url)
        self._is_mock = url.startswith("mock://")
        given = user_info or _credentials(parts)
        self._client = _mock_client(self.url) if self._is_mock else _client(self.url, given, request_s)
        # The client's connections outlive it unless they are closed; a mock is shared and has none.
        self._closing = None if self._is_mock else weakref.finalize(self, self._client.close)

    def schema_text(self, schema_id: int) -> str | None:
        """Return the text of a schema, or None if the registry knows no such id.

        Raises
        ------
        TransientError
            If the registry does not answer, or not as a registry.
        ConfigurationError
            If it refuses the credentials.
        """
        from confluent_kafka.schema_registry import SchemaRegistryError

        if not 0 <= schema_id <= SCHEMA_ID_MAX:
            return None
        try:
            text = self._client.get_schema(schema_id).schema_str
        except SchemaRegistryError as error:
            if _is_unknown(error):
                return None
            raise self._sorted(error) from error
        except Exception as error:  # whatever the HTTP library underneath raises: three of them are in use
            raise self._silence(error) from error
        return text or None

    def register_verdict_schema(self, subject: str) -> int:
        """Register the verdict schema under a subject, as `register_schema` does."""
        return self.register_schema(subject, verdict_schema_text())

    def register_schema(self, subject: str, text: str) -> int:
        """Register a schema of ours under a subject and return its id, the same id if it is there already.

        Raises
        ------
        TransientError
            If the registry does not answer.
        ConfigurationError
            If it refuses the schema or the credentials.
        """
        from confluent_kafka.schema_registry import SchemaRegistryError

        for attempt in range(1, CONFLICT_ATTEMPTS + 1):
            try:
                return self._register(subject, text)
            except SchemaRegistryError as error:
                if error.http_status_code != CONFLICT or attempt == CONFLICT_ATTEMPTS:
                    raise self._sorted(error, subject) from error
            except Exception as error:
                raise self._silence(error) from error
            time.sleep(SystemRandom().uniform(*CONFLICT_PAUSE_S))
        raise AssertionError("the last attempt returns or raises")

    def _register(self, subject: str, text: str) -> int:
        from confluent_kafka.schema_registry import Schema

        if not self._is_mock:  # the mock registry checks no compatibility and has no setting for it
            self._protect(subject)
        return int(self._client.register_schema(subject, Schema(text, "AVRO")))

    def _protect(self, subject: str) -> None:
        """Give a subject its rule before its schema, unless it has one or the registry does not let us."""
        from confluent_kafka.schema_registry import SchemaRegistryError

        try:
            if not self._has_rule(subject):
                self._client.set_compatibility(subject, COMPATIBILITY)
        except SchemaRegistryError as error:
            if error.http_status_code not in DENIALS:
                raise
            log.warning(
                "compatibility_not_set",
                subject=subject,
                status=error.http_status_code,
                consequence="the registry takes schemas by the rule that it has for this subject; "
                f"{COMPATIBILITY} is right for it",
            )

    def _has_rule(self, subject: str) -> bool:
        from confluent_kafka.schema_registry import SchemaRegistryError

        try:
            self._client.get_compatibility(subject)
        except SchemaRegistryError as error:
            if _is_unknown(error):
                return False
            raise
        return True

    def close(self) -> None:
        """Close the connections; the same happens when the registry is no longer used."""
        if self._closing is not None:
            self._closing()

    def _sorted(
        self, error: SchemaRegistryError, subject: str | None = None
    ) -> TransientError | ConfigurationError:
        status = error.http_status_code
        if status in DENIALS:
            rights = "" if subject is None else f", or let that user register schemas for {subject!r}"
            return ConfigurationError(
                f"the schema registry {self.url} refuses us (HTTP {status})",
                remedy="correct the user:password@ in its address, which an environment variable keeps out "
                f"of sight{rights}",
            )
        if subject is not None and status in REFUSALS:
            return ConfigurationError(
                f"the schema registry {self.url} refuses our schema for {subject!r} (HTTP "
                f"{status}, code {error.error_code})",
                remedy="use a topic that holds the same major version, or a new one",
            )
        return TransientError(
            f"the schema registry {self.url} answered HTTP {status}",
            remedy="is it up, and the address right?",
        )

    def _silence(self, error: Exception) -> TransientError:
        name = type(error).__name__
        return TransientError(f"the schema registry {self.url} does not answer ({name})", remedy="is it up?")


def frame(schema_id: int, datum: bytes) -> bytes:
    r"""Return bare Avro framed with its schema id, as Confluent's clients read it.

    Examples
    --------
    >>> frame(1, b"abc")
    b'\x00\x00\x00\x00\x01abc'
    """
    return FRAME.pack(FRAME_MAGIC, schema_id) + datum


def _is_unknown(error: SchemaRegistryError) -> bool:
    """Tell whether a registry says that it has not what it was asked for."""
    return error.http_status_code == NOT_FOUND and error.error_code in NOT_FOUND_CODES


def _client(url: str, user_info: str | None, request_s: float) -> SchemaRegistryClient:
    from confluent_kafka.schema_registry import SchemaRegistryClient

    settings: dict[str, object] = {
        "url": url,
        "timeout": request_s,
        "max.retries": RETRIES,
        "retries.wait.ms": RETRY_WAIT_MS,
        "retries.max.wait.ms": RETRY_WAIT_MS,
    }
    if user_info:
        settings["basic.auth.user.info"] = user_info
    try:
        return SchemaRegistryClient(settings)
    except (ValueError, TypeError) as error:
        raise ConfigurationError(f"the schema registry's settings are not valid: {error}") from error


@cache
def _mock_client(url: str) -> SchemaRegistryClient:
    """Return the one registry of this process with this name, so that writers and readers share it."""
    from confluent_kafka.schema_registry import SchemaRegistryClient

    return SchemaRegistryClient.new_client({"url": url})


def _address(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
    except ValueError:  # whose text may quote a piece of the password
        raise ConfigurationError(
            "the address of a schema registry has brackets where none can be",
            remedy="in a user or password write %5B for [ and %5D for ]",
        ) from None
    if parts.scheme not in ("http", "https", "mock"):
        raise ConfigurationError(
            "the address of a schema registry begins with http://, https:// or mock://", remedy="correct it"
        )
    return parts


def _credentials(parts: SplitResult) -> str | None:
    """Return the `user:password` of an address. They are passed apart: the HTTP library logs addresses."""
    return f"{unquote(parts.username)}:{unquote(parts.password or '')}" if parts.username else None
