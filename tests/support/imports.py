# SPDX-License-Identifier: BSD-3-Clause
"""Which modules of this repository a module imports, and which are reached from it, read from the source."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from pathlib import Path

from tests.support.artefacts import REPOSITORY

__all__ = ["imported_modules", "reachable"]


def imported_modules(path: Path) -> set[str]:
    """Return what a file imports anywhere in it, inside functions too."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:  # none is relative: ruff bans them
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {node.module} | {name for name in names if _file_of(name)}
    return found


def reachable(modules: Iterable[str]) -> set[str]:
    """Return modules of this repository, all that they import in any number of steps, and their packages."""
    found: set[str] = set()
    waiting = list(modules)
    while waiting:
        name = waiting.pop()
        path = _file_of(name)
        if path is None or name in found:
            continue
        found.add(name)
        waiting += [*imported_modules(path), *filter(None, [name.rpartition(".")[0]])]
    return found


def _file_of(module: str) -> Path | None:
    place = REPOSITORY.joinpath(*module.split("."))
    return next((path for path in (place.with_suffix(".py"), place / "__init__.py") if path.is_file()), None)
