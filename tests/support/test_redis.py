# SPDX-License-Identifier: BSD-3-Clause
from __future__ import annotations

import uuid
from collections.abc import Callable

import pytest
from redis import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from tests.support.redis import RedisServer

pytestmark = pytest.mark.service


def test_a_value_is_read_back(redis_url: str) -> None:
    with Redis.from_url(redis_url) as client:
        key = f"test:{uuid.uuid4()}"
        client.set(key, b"\x00\xff")
        assert client.get(key) == b"\x00\xff"
        client.delete(key)


def test_a_server_comes_back_empty_at_the_same_address(private_redis: Callable[..., RedisServer]) -> None:
    server = private_redis()
    with Redis.from_url(server.url) as client:
        client.set("a", 1)
        server.kill()
        with pytest.raises(RedisConnectionError):
            client.get("a")
        server.restart()
        assert client.get("a") is None


def test_a_durable_server_keeps_what_it_acknowledged(private_redis: Callable[..., RedisServer]) -> None:
    server = private_redis(durable=True)
    with Redis.from_url(server.url) as client:
        for index in range(100):
            client.set(f"key:{index}", index)
        server.kill()
        server.restart()
        assert client.dbsize() == 100
        server.restart()  # in order this time
        assert client.get("key:99") == b"99"


def test_a_server_listens_on_loopback_only(private_redis: Callable[..., RedisServer]) -> None:
    server = private_redis()
    with Redis.from_url(server.url) as client:
        assert client.config_get("bind") == {"bind": "127.0.0.1"}


def test_a_paused_server_answers_nobody_until_it_goes_on(private_redis: Callable[..., RedisServer]) -> None:
    server = private_redis()
    with Redis.from_url(server.url) as client:
        client.set("a", 1)
    server.pause()
    with Redis.from_url(server.url, socket_timeout=0.2) as client, pytest.raises(RedisTimeoutError):
        client.get("a")
    server.resume()
    with Redis.from_url(server.url) as client:
        assert client.get("a") == b"1"
