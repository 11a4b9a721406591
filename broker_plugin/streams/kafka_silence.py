# SPDX-License-Identifier: BSD-3-Clause
"""Why no broker answers: nobody listens at its addresses, or whoever listens does not answer as a broker.

librdkafka waits in both cases and says little, so the addresses are looked at once more from here.
"""

from __future__ import annotations

import socket
from urllib.parse import urlsplit

from broker_plugin.errors import ConfigurationError, TransientError

__all__ = ["require_listener", "silence_of"]

KAFKA_PORT = 9092
"""Kafka's port where an address names none."""

KNOCK_S = 2.0
"""Longest wait at an address: a host that drops packets is no nearer to an answer after a minute."""

HANGS_UP = (
    "does security.protocol in the [kafka] tables fit? A broker that wants TLS or a password hangs up on "
    "those who come without"
)


def silence_of(bootstrap: str, last: str = "") -> TransientError:
    """Return the error of a cluster that has not answered in time.

    Parameters
    ----------
    bootstrap
        Its addresses, with commas between.
    last
        What the library said last.

    Examples
    --------
    >>> print(silence_of("127.0.0.1:9"))
    no Kafka broker answers at 127.0.0.1:9 (Connection refused); is it up, and is this its address?
    """
    try:
        require_listener(bootstrap, timeout_s=KNOCK_S)
    except TransientError as nobody:
        return nobody
    said = f" ({last})" if last else ""
    return TransientError(
        f"no Kafka broker answers at {bootstrap}, where something listens{said}", remedy=HANGS_UP
    )


def require_listener(bootstrap: str, *, timeout_s: float) -> None:
    """Refuse to go on if nobody listens at any of the addresses of a cluster.

    Raises
    ------
    TransientError, ConfigurationError
        If nobody does; if one is no address.
    """
    failures: list[str] = []
    for address in bootstrap.split(","):
        try:
            socket.create_connection(_host_and_port(address.strip()), timeout_s).close()
        except OSError as error:
            failures.append(f"{address.strip()} ({error.strerror or error})")
        else:
            return
    raise TransientError(
        f"no Kafka broker answers at {', '.join(failures)}", remedy="is it up, and is this its address?"
    )


def _host_and_port(address: str) -> tuple[str, int]:
    try:
        # librdkafka takes `protocol://host:port`, of which the host alone is needed.
        parts = urlsplit("//" + address.rpartition("://")[2])
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if not host:
        raise ConfigurationError(f"{address!r} is no address of a Kafka broker", remedy="give host:port")
    return host, port or KAFKA_PORT
