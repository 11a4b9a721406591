# SPDX-License-Identifier: BSD-3-Clause
"""Being let into a Kafka cluster: whether it is away or refuses us, since when, and what becomes of that.

The Kafka library tells of a refused login or a failed TLS handshake in a callback only, and goes on trying
for ever. At the start that is an error at once. In mid-stream it may be a change of password that has reached
the cluster before us: credentials that come from files are read anew, and only a cluster that goes on
refusing for `patience_s` stops the process, with its offsets uncommitted.

Where an identity provider gives the token, the library says in the same words that it is away and that it or
the cluster refuses us. That may pass, so it is borne at the start too, and the process may be started again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import structlog
from confluent_kafka import KafkaError

from broker_plugin.addresses import shown_address
from broker_plugin.errors import BrokerPluginError, ConfigurationError, TokenError

__all__ = ["PATIENCE_S", "Admission", "KafkaAddress", "read_secret"]

log = structlog.get_logger(__name__)

PATIENCE_S = 60.0
"""How long a cluster may refuse us in mid-stream: longer than a secret takes to be handed round, shorter than
a night."""

REPEAT_S = 30.0
"""Time for which an error of the same code is not logged again: a cluster that is away gives several a
second."""

SECURITY = ("security.", "sasl.", "ssl.", "enable.ssl.", "https.")
"""Beginnings of the properties that say how to be let in, the same for a consumer and a producer."""

PROTOCOLS = frozenset({"plaintext", "ssl", "sasl_plaintext", "sasl_ssl"})
"""What librdkafka takes before `://` of an address; with anything else it ignores the address in silence."""

SECRET_MAX_BYTES = 100_000
"""Longer files are no password, token or key."""

ALONE = "write the secret alone into it"

REFUSALS = {
    KafkaError._AUTHENTICATION: "check sasl.* and security.protocol in [kafka.source] and [kafka.sink]",
    KafkaError._SSL: "check ssl.* in [kafka.source] and [kafka.sink]: ssl.ca.location must name the "
    "authority that signed the broker's certificate, and the broker may want a certificate of ours",
    KafkaError.SASL_AUTHENTICATION_FAILED: "check sasl.username and sasl.password",
    KafkaError.UNSUPPORTED_SASL_MECHANISM: "set sasl.mechanism to one that the cluster offers",
}
"""Errors by which a cluster does not let us in, and what to do about them."""

ASK_PROVIDER = "is sasl.oauthbearer.token.endpoint.url up, and does it know the client's id and secret?"


@dataclass(frozen=True, slots=True, kw_only=True)
class KafkaAddress:
    """A cluster and how to be let in.

    Parameters
    ----------
    bootstrap
        `host:port`, several with commas between.
    properties
        Further librdkafka properties. Their values may be secret, so they have no representation.
    files
        Properties whose values are in files, read when a client is made and when one is refused.
    patience_s
        How long to bear being refused in mid-stream.

    Raises
    ------
    ConfigurationError
        If an address has a scheme that is no protocol of Kafka's.
    """

    bootstrap: str
    properties: Mapping[str, str] = field(default_factory=dict, repr=False)
    files: Mapping[str, Path] = field(default_factory=dict)
    patience_s: float = PATIENCE_S

    def __post_init__(self) -> None:
        for server in self.bootstrap.split(","):
            scheme, mark, _ = server.strip().partition("://")
            if mark and scheme.lower() not in PROTOCOLS:
                raise ConfigurationError(
                    f"{shown_address(server.strip())} is no address of a Kafka broker",
                    remedy="write host:port, without a scheme",
                )

    def credentials_only(self) -> KafkaAddress:
        """Return the address without tuning, for a client of the other kind."""
        return KafkaAddress(
            bootstrap=self.bootstrap,
            properties={n: value for n, value in self.properties.items() if n.startswith(SECURITY)},
            files={n: path for n, path in self.files.items() if n.startswith(SECURITY)},
            patience_s=self.patience_s,
        )

    def resolved(self) -> dict[str, str]:
        """Return all properties, those from files as they are now.

        Raises
        ------
        ConfigurationError
            If a file cannot be read; the message says which, and nothing of what is in it.
        """
        return {**self.properties, **{name: read_secret(path, name) for name, path in self.files.items()}}


class Admission:
    """What a client of a cluster was told by it, noted and logged without repeating.

    Parameters
    ----------
    address
        The cluster.
    now
        The time in s.
    """

    def __init__(self, address: KafkaAddress, *, now: Callable[[], float] = time.monotonic) -> None:
        self._address = address
        self._now = now
        self._refusal: KafkaError | None = None
        self._last = ""
        self._away_at = float("-inf")
        self._away = False
        self._since = 0.0
        self._log_next: dict[int, float] = {}
        properties = address.resolved()
        self._login = _login(properties)
        self._asks_provider = properties.get("sasl.oauthbearer.method", "").lower() == "oidc"

    def note(self, error: KafkaError) -> None:
        """Take an error of the library's `error_cb`, from which it recovers by itself or tries to."""
        now = self._now()
        if error.code() == KafkaError._ALL_BROKERS_DOWN:
            self._away_at, self._away = now, True
        else:
            self._last = error.str()
        if error.code() in REFUSALS:
            if self._refusal is None:
                self._since = now
            self._refusal = error
        if now >= self._log_next.get(error.code(), 0.0):
            self._log_next[error.code()] = now + REPEAT_S
            log.warning(
                "kafka_error", code=error.name(), detail=error.str(), bootstrap=self._address.bootstrap
            )

    @property
    def bootstrap(self) -> str:
        """The cluster's addresses."""
        return self._address.bootstrap

    @property
    def last(self) -> str:
        """What the library said last, for a person."""
        return self._last

    @property
    def refused(self) -> bool:
        """Tell whether the cluster has refused us, and not let us in since."""
        return self._refusal is not None

    @property
    def may_lack_token(self) -> bool:
        """Tell whether the refusal may be none of the cluster's, but an identity provider that is away."""
        return (
            self._asks_provider
            and self._refusal is not None
            and self._refusal.code() == KafkaError._AUTHENTICATION
        )

    @property
    def in_doubt(self) -> bool:
        """Tell whether the cluster was away or has refused us, and has not answered since."""
        return self._away or self.refused

    def were_away(self, *, within_s: float) -> bool:
        """Tell whether no broker could be reached at some time of late."""
        return self._now() - self._away_at < within_s

    def granted(self) -> None:
        """Forget refusals and absence: the cluster has answered."""
        self._refusal = None
        self._away = False

    def check(self, client: Any, *, patience_s: float | None = None) -> None:
        """Give a refused client the credentials that now are in the files; stop if that has not helped.

        Parameters
        ----------
        client
            A consumer or a producer.
        patience_s
            How long to bear it; by default as the address says.

        Raises
        ------
        ConfigurationError, TokenError
            If the cluster has refused us for so long.
        """
        if self._refusal is None:
            return
        if self._address.files:
            self._renew(client)
        refused_s = self._now() - self._since
        if refused_s >= (self._address.patience_s if patience_s is None else patience_s):
            raise self.error()

    def error(self) -> BrokerPluginError:
        """Return the refusal as an error that says what to do."""
        if self._refusal is None:
            raise AssertionError("nobody has refused us")
        refusal = self._refusal
        found = f"{self._address.bootstrap} refuses us: {refusal.name()}: {refusal.str()}"
        if self.may_lack_token:
            return TokenError(found, remedy=ASK_PROVIDER)
        return ConfigurationError(found, remedy=REFUSALS[refusal.code()])

    def _renew(self, client: Any) -> None:
        try:
            login = _login(self._address.resolved())
        except ConfigurationError as error:  # perhaps it is just being replaced
            log.warning("credentials_unreadable", why=str(error))
            return
        if login != self._login and all(login):
            self._login = login
            client.set_sasl_credentials(*login)
            log.info("credentials_renewed", bootstrap=self._address.bootstrap)


def read_secret(path: Path, name: str) -> str:
    """Return the secret in a file, without the end of its last line.

    Raises
    ------
    ConfigurationError
        If there is none; the message quotes nothing of the file.
    """
    try:
        with path.open("rb") as source:
            content = source.read(SECRET_MAX_BYTES + 1)
        text = content.decode("utf-8").rstrip("\r\n")
    except OSError as error:
        raise ConfigurationError(
            f"cannot read {path} for {name} ({error.strerror})", remedy="correct the path or its permissions"
        ) from None
    except UnicodeDecodeError:
        raise ConfigurationError(f"{path} for {name} is not text", remedy=ALONE) from None
    if not text or len(content) > SECRET_MAX_BYTES:
        raise ConfigurationError(f"{path} for {name} is empty or too long", remedy=ALONE)
    return text


def _login(properties: Mapping[str, str]) -> tuple[str, str]:
    return properties.get("sasl.username", ""), properties.get("sasl.password", "")
