# SPDX-License-Identifier: BSD-3-Clause
"""The name of this process within its consumer group, the same after a restart.

From it come `group.instance.id`, by which a member that comes back soon gets its partitions without a
rebalance, and `transactional.id`, by which it ends the transaction that its killed predecessor left open. Two
processes of one name would shut each other out, so a name is held by a lock that the system gives back when
the process ends, however it ends.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import socket
import tempfile
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from broker_plugin.errors import ConfigurationError

__all__ = ["Instance", "runtime_dir", "take_instance"]

SLOTS = 1024
"""More processes of one group than any machine runs; the search for a free slot ends there."""

FOLDER = "astrom3-broker"


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """A name that is held until `release`, or the end of the process."""

    group: str
    name: str
    lock: IO[bytes]

    @property
    def member_id(self) -> str:
        """Identity within the cluster: the group and the name."""
        return f"{self.group}-{self.name}"

    def release(self) -> None:
        """Give the name back."""
        self.lock.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


def take_instance(group: str, name: str = "", *, folder: Path | None = None) -> Instance:
    """Take a name within a group: the given one, else the host's name and the lowest free slot.

    Parameters
    ----------
    group
        The consumer group.
    name
        What the operator calls this process.
    folder
        Where the locks are; by default a folder of the user's own. It is of this machine: names that are
        taken on another are not seen.

    Raises
    ------
    ConfigurationError
        If another process of this machine holds the name, or the folder cannot be written.
    """
    folder = folder or runtime_dir()
    if name:
        lock = _try_lock(folder, group, name)
        if lock is None:
            raise ConfigurationError(
                f"another process of this machine runs as --instance {name} in group {group}; "
                "give each its own name"
            )
        return Instance(group=group, name=name, lock=lock)
    host = socket.gethostname()
    for slot in range(SLOTS):
        lock = _try_lock(folder, group, f"{host}-{slot}")
        if lock is not None:
            return Instance(group=group, name=f"{host}-{slot}", lock=lock)
    raise ConfigurationError(f"{SLOTS} processes of group {group} run on this machine; give --instance")


def runtime_dir() -> Path:
    """Return the folder of this user's locks: in `$XDG_RUNTIME_DIR`, else among the temporary files."""
    base = os.environ.get("XDG_RUNTIME_DIR")
    return Path(base) / FOLDER if base else Path(tempfile.gettempdir()) / f"{FOLDER}-{os.getuid()}"


def _try_lock(folder: Path, group: str, name: str) -> IO[bytes] | None:
    # Names may hold what a file name may not.
    digest = hashlib.sha256(f"{group}\x1f{name}".encode()).hexdigest()[:32]
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = (folder / f"{digest}.lock").open("ab")
    except OSError as error:
        raise ConfigurationError(
            f"cannot write {folder} ({error.strerror}), where the names of running instances are kept; "
            "make it writable or set XDG_RUNTIME_DIR"
        ) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        return None
    return lock
