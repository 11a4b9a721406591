# SPDX-License-Identifier: BSD-3-Clause
"""The first start: what was never compiled here is compiled by several processes at once.

To compile all kernels takes one core three quarters of a minute. Each process compiles a part of them and
keeps the machine code, which this process then loads, and so do others that start at the same time: they
wait.
"""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from types import MappingProxyType
from typing import IO

import structlog

from broker_plugin.codec import bulk as decoder
from broker_plugin.engine.opening import begin_step
from broker_plugin.features import warm_up as features

__all__ = ["PARTS", "compile_kernels", "warm_up"]

log = structlog.get_logger(__name__)


def _folds_and_search() -> None:
    features.compile_folds()
    features.compile_search()


def _statistics_and_decoder() -> None:
    features.compile_statistics()
    decoder.warm_up()


PARTS: Mapping[str, Callable[[], None]] = MappingProxyType(
    {"folds-and-search": _folds_and_search, "statistics-and-decoder": _statistics_and_decoder}
)
"""What one process compiles; each part takes about as long. More of them would pay off with more than two
cores, if importing what a part needs did not take a tenth of the whole."""

WAIT_S = 120.0
"""A process that takes longer to compile its part than any machine should is not waited for."""

LOOK_S = 0.2
"""Time between two looks at a process that compiles; bounds how late it is noticed that nobody waits."""


def warm_up() -> None:
    """Compile decoder and features, or load them from their cache: many seconds at first, some later."""
    compile_kernels()
    decoder.warm_up()
    features.warm_up()


def compile_kernels() -> None:
    """Compile what is not compiled yet, if there are cores for more than one process; else do nothing.

    Nothing depends on it: what is missing is compiled at its first use.
    """
    if len(os.sched_getaffinity(0)) < len(PARTS) or not sys.executable or _are_compiled():
        return
    with _alone():
        if not _are_compiled():
            _compile_in_processes()


def _compile_in_processes() -> None:
    log.info("kernels_not_compiled", processes=len(PARTS))
    path = os.pathsep.join(filter(None, map(str, sys.path)))  # an empty one is the working directory
    children: list[subprocess.Popen[bytes]] = []
    try:
        for part in PARTS:
            child = subprocess.Popen(  # noqa: S603  # our own module, and none of where the service was started
                [sys.executable, "-P", "-m", __name__, part],
                env={**os.environ, "PYTHONPATH": path},
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            children.append(child)
        for part, child in zip(PARTS, children, strict=True):
            status = _awaited(child)
            if status != 0:
                log.warning("kernels_not_compiled_ahead", part=part, status=status)
    finally:
        for child in children:
            child.kill()
            child.wait()


def _awaited(child: subprocess.Popen[bytes]) -> int:
    """Return the status of a process, which is killed if it takes too long."""
    deadline = time.monotonic() + WAIT_S
    while time.monotonic() < deadline:
        begin_step()
        try:
            return child.wait(LOOK_S)
        except subprocess.TimeoutExpired:
            continue
    child.kill()
    return child.wait()


def _are_compiled() -> bool:
    return all(part.compiled_kernels()[1] for part in (decoder, features))


@contextmanager
def _alone() -> Iterator[None]:
    """Let one process of this machine compile at a time; where no lock can be had, all of them."""
    place, _ = decoder.compiled_kernels()
    with ExitStack() as stack:
        try:
            place.mkdir(parents=True, exist_ok=True)
            lock = stack.enter_context((place / "compiling.lock").open("w"))
            _lock(lock)
        except OSError as error:
            log.debug("kernels_compiled_without_lock", why=str(error))
        yield


def _lock(file: IO[str]) -> None:
    deadline = time.monotonic() + WAIT_S
    while True:
        begin_step()
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                raise TimeoutError("another process compiles for too long") from None
            time.sleep(LOOK_S)
        else:
            return


if __name__ == "__main__":
    PARTS[sys.argv[1]]()
