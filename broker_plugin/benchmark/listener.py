# SPDX-License-Identifier: BSD-3-Clause
"""The process behind a port of this machine, and the processor time that it takes: Linux only."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Listener"]

PROC = Path("/proc")

LISTENING = "0A"
"""The state of a socket in the kernel's table."""

SCHEDULED = 2
"""Last bits of the number of a process's clock (clock_getcpuclockid(3)): time as the scheduler counts it."""


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
        >>> import os, socket
        >>> with socket.create_server(("127.0.0.1", 0)) as server:
        ...     found = Listener.of("localhost:%d" % server.getsockname()[1])
        ...     found == Listener(os.getpid())
        True
        >>> 0 < found.cpu_s() <= time.process_time()
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
        """Return the processor time that it has taken so far, all threads together; 0 if it has ended.

        To the nanosecond: `/proc` counts in ticks of 10 ms, more than a broker may need for a short burst.
        """
        try:
            return time.clock_gettime((~self.pid << 3) | SCHEDULED)
        except OSError:
            return 0.0


def _inodes(port: int) -> Iterator[str]:
    """Yield the inodes of the sockets that listen on a port."""
    for name in ("tcp", "tcp6"):
        with suppress(OSError):
            for line in (PROC / "net" / name).read_text("utf-8").splitlines()[1:]:
                columns = line.split()
                if columns[3] == LISTENING and int(columns[1].rpartition(":")[2], 16) == port:
                    yield columns[9]
