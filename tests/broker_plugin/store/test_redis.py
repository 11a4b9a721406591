# SPDX-License-Identifier: BSD-3-Clause
"""A real Redis: one round trip a batch, restarted empty, full, closed to us, silent."""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from redis import Redis

from broker_plugin.errors import ConfigurationError, StoreError
from broker_plugin.store.address import StoreAddress
from broker_plugin.store.base import Store
from broker_plugin.store.guard import SLOW_MAX, GuardedStore
from tests.broker_plugin.store.stores import QUIET_S, change, counting_wire, fresh, texts
from tests.support.artefacts import REPOSITORY
from tests.support.redis import RedisServer

pytestmark = pytest.mark.service

GUIDE, COMPOSE = REPOSITORY / "deploy/docs/store.md", REPOSITORY / "deploy/compose/compose.yaml"


@contextmanager
def opened(url: str, timeout_s: float = 30.0) -> Iterator[Store]:
    store = StoreAddress(text=url, timeout_s=timeout_s).open()
    try:
        yield store
    finally:
        store.close()


def test_a_batch_is_one_round_trip_each_way(private_redis: Callable[..., RedisServer]) -> None:
    server = private_redis()
    with counting_wire(server.port) as wire, opened(f"redis://127.0.0.1:{wire.port}/0") as store:
        store.fetch(["the connection is made by the first call"])
        keys = fresh(*(f"object {n}" for n in range(500)))
        before = wire.round_trips
        assert store.swap([change(key, "light " * 500) for key in keys]) == [True] * 500
        assert wire.round_trips == before + 1
        assert all(store.fetch(keys))
        assert wire.round_trips == before + 2


def test_a_server_that_comes_back_empty_is_written_to_at_once(
    private_redis: Callable[..., RedisServer],
) -> None:
    server = private_redis()
    (key,) = fresh("key")
    with opened(server.url) as store:
        assert store.swap([change(key, "before")]) == [True]
        server.kill()
        with pytest.raises(StoreError):
            store.fetch([key])
        server.restart()  # without the script, too
        assert store.swap([change(key, "after")]) == [True]
        assert texts(store.fetch([key])) == ["after"]


def test_a_restart_between_two_calls_goes_unnoticed(private_redis: Callable[..., RedisServer]) -> None:
    server = private_redis(durable=True)
    (key,) = fresh("key")
    with opened(server.url) as store:
        store.swap([change(key, "kept")])
        server.restart()
        assert texts(store.fetch([key])) == ["kept"]


def test_a_full_server_is_a_store_error(private_redis: Callable[..., RedisServer]) -> None:
    server = private_redis()
    with Redis.from_url(server.url) as admin, opened(server.url) as store:
        admin.config_set("maxmemory", 1)
        with pytest.raises(StoreError, match="maxmemory"):
            store.swap([change("key", "light")])


def test_a_full_server_with_the_policy_of_the_guide_lets_go_of_what_was_not_used_for_longest(
    private_redis: Callable[..., RedisServer],
) -> None:
    server = private_redis()
    policy, described = re.findall(
        r"maxmemory-policy (volatile-\w+)", GUIDE.read_text() + COMPOSE.read_text()
    )
    assert policy == described
    slots = fresh(*(f"slot {n}" for n in range(5)))
    with Redis.from_url(server.url) as admin, opened(server.url) as store:
        admin.config_set("maxmemory-policy", policy)
        admin.config_set("maxmemory-samples", 64)  # so that chance has no part in it
        store.swap([change("catalogue", "row", ttl_s=None)])
        old = fresh(*(f"object {n}" for n in range(2_000)))
        store.swap([change(key, "x" * 1_000, ttl_s=730 * 86_400) for key in old])
        time.sleep(3.0)  # the server counts use in seconds
        store.swap([change(key, "x" * 10_000, ttl_s=12 * 3_600) for key in slots])
        admin.config_set("maxmemory", admin.info("memory")["used_memory"])
        new = fresh(*(f"object {n}" for n in range(500)))
        store.swap([change(key, "x" * 1_000, ttl_s=730 * 86_400) for key in new])
        admin.config_set("maxmemory", 0)  # reading them takes memory too, and counts as use
        assert sum(value is None for value in store.fetch(old)) > 100
        assert all(store.fetch([*new, *slots, "catalogue"]))


def test_who_is_refused_reads_why_and_no_password(private_redis: Callable[..., RedisServer]) -> None:
    server = private_redis()
    with Redis.from_url(server.url) as admin:
        admin.config_set("requirepass", "right")
        for user in ("", ":wrong@"):
            with (
                opened(f"redis://{user}127.0.0.1:{server.port}/0") as store,
                pytest.raises(ConfigurationError, match="ASTROM3_STORE") as refusal,
            ):
                store.check()
            assert "wrong" not in str(refusal.value)
        with opened(f"redis://:right@127.0.0.1:{server.port}/0") as store:
            assert store.check().startswith("Redis 7")


def test_the_rights_that_we_ask_for_are_enough(private_redis: Callable[..., RedisServer]) -> None:
    server = private_redis()
    with Redis.from_url(server.url) as admin:
        granted = "on >pw ~astrom3:* +info +mget +evalsha +script|load +getrange +set"
        admin.execute_command("ACL", "SETUSER", "broker", *granted.split())
    (key,) = fresh("key")
    with opened(f"redis://broker:pw@127.0.0.1:{server.port}/0") as store:
        store.check()
        assert store.swap([change(key, "light", ttl_s=10)]) == [True]
        assert texts(store.fetch([key])) == ["light"]


def test_a_silent_server_costs_a_bounded_time_and_is_found_again(
    private_redis: Callable[..., RedisServer],
) -> None:
    server = private_redis()
    store = GuardedStore(StoreAddress(text=server.url, timeout_s=1.0).open, timeout_s=1.0)
    store.fetch(["key"])
    assert not store.away
    os.kill(server.process.pid, signal.SIGSTOP)
    try:
        begun = time.monotonic()
        for _ in range(1_000):
            with pytest.raises(StoreError):
                store.fetch(["key"])
        waited_s = time.monotonic() - begun
        # The first call waits; the others are refused, but for one after a second's pause if it is so late.
        assert store.errors["read"] <= 1 + waited_s / 2
        assert store.away
    finally:
        os.kill(server.process.pid, signal.SIGCONT)
    deadline = time.monotonic() + 60
    while store.away and time.monotonic() < deadline:
        time.sleep(0.2)
        try:
            store.fetch(["key"])
        except StoreError:
            continue
    assert not store.away
    assert store.fetch(["key"]) == [None]
    store.close()


def test_a_slow_server_is_left_alone(private_redis: Callable[..., RedisServer]) -> None:
    server = private_redis()
    with counting_wire(server.port) as wire:  # each answer takes QUIET_S at the least
        timeout_s = 100.0
        address = StoreAddress(text=f"redis://127.0.0.1:{wire.port}/0", timeout_s=timeout_s)
        speed = [timeout_s / QUIET_S]

        def hurried() -> float:
            """A clock on which `QUIET_S` is more than half of the timeout."""
            return speed[0] * time.monotonic()

        store = GuardedStore(address.open, timeout_s=timeout_s, clock=hurried)
        for _ in range(SLOW_MAX):
            assert store.fetch(["key"]) == [None]  # late, but an answer
        assert store.away
        speed[0] = 0.0  # its pause is not over, however long it takes to ask again
        with pytest.raises(StoreError, match="left alone"):
            store.fetch(["key"])
        store.close()
