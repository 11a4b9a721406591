# SPDX-License-Identifier: BSD-3-Clause
"""Where numba comes in: `@kernel` compiles a function once and keeps the machine code for the next start.

The machine code lies beside this package where that can be written, else in the user's cache folder, else in
a folder of this process alone; `NUMBA_CACHE_DIR` names another place. What the place does not take, as on a
full disk, is compiled again at the next start. Code that was compiled when the package was installed
(`broker-plugin doctor --warm`) is taken over from a package that cannot be written. Whoever can write that
place can have code run here, as whoever can write the package can.

With `NUMBA_DISABLE_JIT=1` kernels are plain Python, for looking at them step by step; with
`NUMBA_BOUNDSCHECK=1` every access to an array is checked.
"""

from __future__ import annotations

import atexit
import os
import re
import shutil
import sys
import tempfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import numba
import structlog
from numba.core import cgutils, types
from numba.core.caching import FunctionCache
from numba.extending import intrinsic, overload

from broker_plugin.folders import cache_folder

__all__ = ["are_compiled", "cache_place", "fused_kernel", "kernel", "overload_address"]

log = structlog.get_logger(__name__)

F = TypeVar("F", bound=Callable[..., Any])

PACKAGE_CACHE = Path(__file__).parent / "__pycache__"

CHANGED: dict[str, float] = {}
"""When each module with kernels, or one that it takes kernels or constants from, was last changed."""

IMPORT = re.compile(r"^from ([\w.]+) import ", re.MULTILINE)


def kernel(function: F) -> F:
    """Compile a function at its first call, to run without the GIL.

    It may call kernels and read constants of its own module and of those of this package that it imports
    from, `from ... import ...`: the machine code is made anew when one of those files changes, whatever
    happens to others.
    """
    return _compiled(function, frozenset())


def fused_kernel(function: F) -> F:
    """Compile as `kernel` does, a product and a sum that follow one another being rounded once.

    Twice as fast where sums of products are all there is to do; the last bit depends on the processor.
    """
    return _compiled(function, frozenset({"contract"}))


def are_compiled(*kernels: Callable[..., Any]) -> tuple[Path, bool]:
    """Return the folder of the machine code of kernels of one module, and whether all of it is there."""
    place = getattr(getattr(kernels[0], "stats", None), "cache_path", None)
    if place is None:
        return Path(), True  # plain Python, or compiled at every start in order to check bounds
    return Path(place), all(any(Path(place).glob(f"{_stem(kernel)}*.nbc")) for kernel in kernels)


def overload_address(function: Callable[[int, int], Any]) -> None:
    """Let kernels call a function of an address and a size; compiled, it gives those bytes as an array."""

    @overload(function)  # type: ignore[untyped-decorator]
    def compiled(address: int, size: int) -> Any:
        def at(address: int, size: int) -> Any:
            return numba.carray(_pointer(address), (size,), dtype=numba.uint8)

        return at


def cache_place(package: Path, user: Path) -> Path | None:
    """Return the folder for machine code, None for numba's own choice: beside the package, or nowhere.

    Parameters
    ----------
    package
        The folder beside the package.
    user
        The user's folder; made if it can be, for the user alone.
    """
    if _is_writable(package):
        return None
    if _is_writable(user):
        return user
    log.warning("kernels_not_kept", place=f"{package} or {user}", why="nothing can be written there")
    try:
        scratch = Path(tempfile.mkdtemp(prefix="astrom3-kernels-"))
    except OSError:
        return None
    atexit.register(shutil.rmtree, scratch, ignore_errors=True)
    return scratch


def _is_writable(folder: Path) -> bool:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def _compiled(function: F, fastmath: frozenset[str]) -> F:
    compiled: Any = numba.njit(nogil=True, error_model="numpy", fastmath=set(fastmath) or False)(function)
    if hasattr(compiled, "stats") and not numba.config.BOUNDSCHECK:  # kept code does not say if it checks
        _keep(compiled, function)
    kept: F = compiled
    return kept


def _keep(compiled: Any, function: Callable[..., Any]) -> None:
    """Do what `cache=True` does, and go on where it cannot be done: a kernel runs as well without."""
    try:
        compiled._cache = _Cache(function)
    except RuntimeError:  # numba's word for having found no folder
        _say_not_kept(str(Path(function.__code__.co_filename).parent), "no folder can be written")
        return
    place = Path(compiled.stats.cache_path)
    if numba.config.CACHE_DIR:
        _take_over(function, place)
    _forget_outdated(function, place)


class _Cache(FunctionCache):  # type: ignore[misc]
    """Keeps machine code as numba does, as long as the disk takes it."""

    def save_overload(self, sig: Any, data: Any) -> None:
        try:
            super().save_overload(sig, data)
        except OSError as error:
            _say_not_kept(self.cache_path, error.strerror or str(error))
            # numba writes the index first, which may name what an earlier version of the function left.
            with suppress(OSError):
                for index in Path(self.cache_path).glob(f"{_stem(self._py_func)}*.nbi"):
                    index.unlink()


@cache
def _say_not_kept(place: str, why: str) -> None:
    """Warn once, since there are a dozen kernels."""
    log.warning("kernels_not_kept", place=place, why=why)


def _forget_outdated(function: Callable[..., Any], place: Path) -> None:
    """Remove machine code older than a module it was made from: numba looks at the function's own alone."""
    own = function.__code__.co_filename
    newest = max(_imports_changed(function), default=0.0)
    CHANGED[own] = max(newest, Path(own).stat().st_mtime)
    try:
        for index in place.glob(f"{_stem(function)}*.nbi"):
            if index.stat().st_mtime < newest:
                index.unlink()
    except OSError as error:
        log.warning("outdated_kernels_not_removed", why=str(error))


def _imports_changed(function: Callable[..., Any]) -> Iterator[float]:
    """Say when the modules of the package were changed that a function's module imports from.

    Which constants went into machine code cannot be told afterwards: a number does not say where it is from.
    """
    package = function.__module__.partition(".")[0]
    for name in IMPORT.findall(Path(function.__code__.co_filename).read_text("utf-8")):
        file = getattr(sys.modules.get(name), "__file__", None)
        if file in CHANGED:
            yield CHANGED[file]
        elif file is not None and name.partition(".")[0] == package:
            yield Path(file).stat().st_mtime


def _stem(function: Callable[..., Any]) -> str:
    return f"{function.__module__.rpartition('.')[2]}.{function.__qualname__}-"


def _take_over(function: Callable[..., Any], place: Path) -> None:
    """Copy the machine code of a function from beside its module, where the place has none yet."""
    beside = Path(function.__code__.co_filename).parent / "__pycache__"
    try:
        place.mkdir(parents=True, exist_ok=True)
        for index in beside.glob(f"{_stem(function)}*.nbi"):
            if (place / index.name).exists():
                continue
            # The index comes last: it names the others, and may find old ones of the same names there.
            for file in (*beside.glob(f"{index.stem}.*.nbc"), index):
                _copy_whole(file, place)
    except OSError as error:
        log.debug("kernels_not_taken_over", why=str(error))


def _copy_whole(file: Path, place: Path) -> None:
    """Copy a file with its time; nobody who reads or kills meanwhile sees or leaves a part under its name."""
    part = place / f"{file.name}.{uuid.uuid4().hex[:8]}.part"
    try:
        shutil.copy2(file, part)
        part.replace(place / file.name)
    finally:
        part.unlink(missing_ok=True)


@intrinsic  # type: ignore[untyped-decorator]
def _pointer(typing_context: Any, address: Any) -> Any:
    def make(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.inttoptr(arguments[0], cgutils.voidptr_t)

    return types.voidptr(address), make


if not numba.config.CACHE_DIR:
    _place = cache_place(PACKAGE_CACHE, cache_folder("kernels"))
    if _place is not None:
        os.environ["NUMBA_CACHE_DIR"] = numba.config.CACHE_DIR = str(_place)
