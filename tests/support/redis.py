# SPDX-License-Identifier: BSD-3-Clause
"""A real Redis (or Valkey) server on a loopback port."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from redis import Redis
from redis.exceptions import RedisError

from tests.support.artefacts import redis_program
from tests.support.process import LOOPBACK, Server, ServerProcess, free_ports, port_open

__all__ = ["RedisServer", "redis_answers"]


class RedisServer(Server):
    """A Redis server of the tests' own.

    Parameters
    ----------
    folder
        Where its log and, if durable, its data go.
    durable
        Write every command to disk before it is answered, so that a killed server comes back with
        its data. By default nothing is kept, and it comes back empty.

    Examples
    --------
    ::

        with RedisServer(tmp_path) as server:
            Redis.from_url(server.url).set("a", 1)
    """

    READY_S: ClassVar[float] = 20.0
    """It serves within a tenth of a second; more is a machine that does nothing else."""

    def __init__(self, folder: Path, *, durable: bool = False) -> None:
        (self.port,) = free_ports(1)
        folder.mkdir(parents=True, exist_ok=True)
        persistence = ["--appendonly", "yes" if durable else "no", "--appendfsync", "always"]
        command = [
            redis_program(),
            *("--bind", LOOPBACK),
            *("--port", str(self.port)),
            *("--dir", str(folder)),
            *("--save", ""),
            *persistence,
        ]
        super().__init__(ServerProcess("Redis", command, log_path=folder / "redis.log"))

    @property
    def url(self) -> str:
        """Address for clients; the same over restarts."""
        return f"redis://{LOOPBACK}:{self.port}/0"

    def serves(self) -> bool:
        """Return whether it answers a ping."""
        return port_open(self.port) and redis_answers(self.url)


def redis_answers(url: str) -> bool:
    """Return whether a server at this address answers a ping."""
    client = Redis.from_url(url, socket_timeout=2.0, socket_connect_timeout=2.0)
    try:
        return bool(client.ping())
    except RedisError:
        return False
    finally:
        client.close()
