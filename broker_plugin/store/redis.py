# SPDX-License-Identifier: BSD-3-Clause
"""A store in Redis or Valkey, for processes on several hosts.

Only commands that both have are used: MGET, and a script of GETRANGE and SET. A whole batch is one MGET to
read, and to write one pipeline that brings the script along, so that a server which was restarted needs no
second try. Values have an end of their own (PX); the size of all is for the server to bound (`maxmemory`,
with the policy `volatile-lru`, which lets go of what was not used for longest; `volatile-ttl` would let go of
what ends first, which is tonight's share of what is kept for hours beside histories of years).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from hashlib import sha1
from typing import Any

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, NoPermissionError, RedisError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.retry import Retry

from broker_plugin.addresses import shown_address
from broker_plugin.errors import ConfigurationError, StoreError
from broker_plugin.store.base import TAG_BYTES, Change

__all__ = ["RedisStore"]

PREFIX = "astrom3:"
"""What our keys begin with, so that others may share the server."""

SWAP = f"""
if redis.call('GETRANGE', KEYS[1], 0, {TAG_BYTES - 1}) ~= ARGV[1] then return 0 end
if ARGV[3] == '' then redis.call('SET', KEYS[1], ARGV[2])
else redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3]) end
return 1
"""
"""Writes a value if the key still holds what was seen."""

SWAP_SHA = sha1(SWAP.encode(), usedforsecurity=False).hexdigest()


class RedisStore:
    """Values on a server.

    Parameters
    ----------
    url
        `redis://`, `rediss://` (TLS) or `unix://`, as redis-py reads it.
    timeout_s
        Longest wait for a connection, and for each answer.
    """

    def __init__(self, url: str, *, timeout_s: float) -> None:
        self._url = shown_address(url)
        try:
            self._client: Any = Redis.from_url(
                url,
                socket_timeout=timeout_s,
                socket_connect_timeout=timeout_s,
                # Once more where an idle connection turns out to be closed; never where a server is slow.
                retry=Retry(NoBackoff(), 1, supported_errors=(RedisConnectionError,)),
            )
        except (RedisError, ValueError, TypeError):
            # Not the error's text, which may quote a piece of the password.
            raise ConfigurationError(
                f"{self._url} is no address of Redis",
                remedy="write redis://USER:PASSWORD@HOST:PORT/NUMBER, and in a password %2F for /, "
                "%23 for #, %3F for ?, %40 for @, %5B for [, %5D for ]",
            ) from None

    def check(self) -> str:
        """Return what answers."""
        try:
            with self._translated():
                found = self._client.info("server")
        except StoreError as error:
            if isinstance(error.__cause__, (AuthenticationError, NoPermissionError)):
                raise ConfigurationError(
                    f"{self._url} refuses us: {error.__cause__}",
                    remedy="give user and password in the store's URL, by ASTROM3_STORE rather than a flag, "
                    f"and allow +info +mget +evalsha +script|load +getrange +set on ~{PREFIX}*",
                ) from error
            raise
        name = "Valkey" if "valkey_version" in found else "Redis"
        return f"{name} {found.get('valkey_version', found['redis_version'])} at {self._url}"

    def fetch(self, keys: Sequence[str]) -> list[bytes | None]:
        """Return the value of each key."""
        if not keys:
            return []
        with self._translated():
            return list(self._client.mget([PREFIX + key for key in keys]))

    def swap(self, changes: Sequence[Change]) -> list[bool]:
        """Write each value whose key still holds what was seen."""
        if not changes:
            return []
        with self._translated(), self._client.pipeline(transaction=False) as pipeline:
            pipeline.script_load(SWAP)
            for change in changes:
                ttl_ms = "" if change.ttl_s is None else max(1, round(change.ttl_s * 1000))
                pipeline.evalsha(SWAP_SHA, 1, PREFIX + change.key, change.seen, change.value, ttl_ms)
            return [bool(answer) for answer in pipeline.execute()[1:]]

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except (RedisError, OSError) as error:
            raise StoreError(
                f"the store {self._url} failed: {error}", remedy="start it, or correct its address"
            ) from error
