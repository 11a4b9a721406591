# SPDX-License-Identifier: BSD-3-Clause
"""Which store a text of the settings means, and opening it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from broker_plugin.addresses import shown_address
from broker_plugin.errors import ConfigurationError
from broker_plugin.store.base import Store

__all__ = ["NO_STORE", "StoreAddress"]

NO_STORE = "none"
"""The setting that asks for no store at all."""

DEFAULT_FILE = Path("astrom3-store.sqlite")
"""Where `sqlite` without a path keeps its file: the working directory, as a service's unit sets it."""

REDIS_SCHEMES = ("redis://", "rediss://", "unix://")


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreAddress:
    """Where things are remembered.

    Parameters
    ----------
    text
        `memory`, `sqlite`, `sqlite:PATH`, or the URL of a Redis or Valkey server.
    max_bytes
        Most bytes that memory or file may use; a server has its own bound.
    timeout_s
        Longest time that a call may take.

    Examples
    --------
    >>> StoreAddress(text="memory").open().check()
    'memory of this process, gone when it ends'
    """

    text: str
    max_bytes: int = 10_000_000_000
    timeout_s: float = 0.5

    def __post_init__(self) -> None:
        if self.text not in ("memory", "sqlite") and not self.text.startswith(("sqlite:", *REDIS_SCHEMES)):
            raise ConfigurationError(
                f"no store {self.text.partition(':')[0]!r}",
                remedy="choose none, memory, sqlite, sqlite:PATH or the URL of a Redis or Valkey server "
                "(redis://HOST:PORT/DB)",
            )

    @property
    def shown(self) -> str:
        """The address without a password."""
        if not self.text.startswith(REDIS_SCHEMES):
            return self.text
        return shown_address(self.text)

    @property
    def file(self) -> Path | None:
        """The file of SQLite, None for other stores."""
        if not self.text.startswith("sqlite"):
            return None
        return Path(self.text.partition(":")[2] or DEFAULT_FILE)

    def open_existing(self) -> Store:
        """Open the store for who reads it alone, and would not make one.

        Raises
        ------
        ConfigurationError
            If it can never be opened, or its file is not there.
        StoreError
            If it is away.
        """
        if self.file is not None and not self.file.is_file():
            raise ConfigurationError(
                f"there is no store {self.file}", remedy="name the file that a run with --store writes"
            )
        return self.open()

    def open(self) -> Store:
        """Open the store.

        Raises
        ------
        ConfigurationError
            If it can never be opened.
        StoreError
            If it is away.
        """
        # Imported where they are needed: a client library is no business of who keeps a file.
        if self.text == "memory":
            from broker_plugin.store.memory import MemoryStore

            return MemoryStore(max_bytes=self.max_bytes)
        if self.file is not None:
            from broker_plugin.store.sqlite import SqliteStore

            return SqliteStore(self.file, max_bytes=self.max_bytes, timeout_s=self.timeout_s)
        from broker_plugin.store.redis import RedisStore

        return RedisStore(self.text, timeout_s=self.timeout_s)
