# SPDX-License-Identifier: BSD-3-Clause
"""What a gate does to the connections that go through it."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from redis import Redis
from redis.exceptions import ConnectionError as RedisConnectionError

from tests.support.gate import Gate
from tests.support.process import LOOPBACK
from tests.support.redis import RedisServer

pytestmark = pytest.mark.service


def test_it_lets_through_holds_back_and_cuts_off(private_redis: Callable[..., RedisServer]) -> None:
    server = private_redis()
    with Gate(server.port) as gate, Redis(host=LOOPBACK, port=gate.port) as client:
        assert client.set("a", bytes(200_000))
        assert client.get("a") == bytes(200_000)
        gate.delay_s = 0.2
        begun = time.monotonic()
        assert client.ping()
        assert time.monotonic() - begun >= 0.2
        gate.shut()
        with pytest.raises(RedisConnectionError):
            client.ping()
        assert server.serves()
        gate.open()
        gate.delay_s = 0.0
        assert client.get("a") == bytes(200_000)
