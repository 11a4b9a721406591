# SPDX-License-Identifier: BSD-3-Clause
"""The process behind a port of this machine, and the processor time that it takes: Linux only."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Listener"]

PROC = Path("/proc")

LISTENING = "0A"
"""The state of a socket in the kernel's table."""


@dataclass(frozen=True, slots=True)
class Listener:
    """A process that listens."""

    pid: int

    @classmethod
    def of(cls, bootstrap: str) -> Listener | None:
        """Return who listens at an address of this machine, as far as we may see it.

        Parameters
        ----------
        bootstrap
            host:port, of several with commas between the first.

        Examples
        --------
        >>> import socket
        >>> with socket.create_server(("127.0.0.1", 0)) as server:
        ...     found = Listener.of("localhost:%d" % server.getsockname()[1])
        ...     found == Listener(os.getpid())
        True
        >>> Listener.of("127.0.0.1:1") is None
        True
        """
        port = bootstrap.split(",")[0].rpartition(":")[2]
        if not port.isdecimal():
            return None
        wanted = {f"socket:[{inode}]" for inode in _inodes(int(port))}
        for links in PROC.glob("[0-9]*/fd"):
            with suppress(OSError):
                if any(str(link.readlink()) in wanted for link in links.iterdir()):
                    return cls(int(links.parent.name))
        return None

    def cpu_s(self) -> float:
        """Return the processor time that it has taken so far, all threads together; 0 if it has ended."""
        try:
            fields = (PROC / str(self.pid) / "stat").read_text("utf-8").rpartition(") ")[2].split()
        except OSError:
            return 0.0
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _inodes(port: int) -> Iterator[str]:
    """Yield the inodes of the sockets that listen on a port."""
    for name in ("tcp", "tcp6"):
        with suppress(OSError):
            for line in (PROC / "net" / name).read_text("utf-8").splitlines()[1:]:
                columns = line.split()
                if columns[3] == LISTENING and int(columns[1].rpartition(":")[2], 16) == port:
                    yield columns[9]
