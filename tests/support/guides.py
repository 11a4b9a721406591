# SPDX-License-Identifier: BSD-3-Clause
"""Guides as they are read: their commands, their links, and a reader who types what they show.

A block of a guide in `deploy/docs` that is marked `sh` can be typed here, so a test types it. One that
is marked `console` needs what no test has (a container engine, a cluster of Kubernetes, an init system
that runs, hours) or leaves out what only its reader knows (`...`): of it, as of other pages, the files
and our own commands are checked.
"""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from rich.console import Console

from broker_plugin.cli import COMMANDS, make_app
from trainer.cli import COMMANDS as TRAINER_COMMANDS
from trainer.cli import make_app as make_trainer

__all__ = ["Reader", "anchors", "blocks", "links", "unknown_flags"]

BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.DOTALL | re.MULTILINE)

GROUPS = frozenset({"dlq", "bundles", "context"})
"""Commands that have commands of their own."""

CALL = re.compile(r"^(?:\w+=\S+ )*(broker-plugin|trainer) ([\w-]+)(.*)$", re.MULTILINE)

STEP_S = 900.0
"""Longest wait for a block of a guide; of those that are typed in every run none takes a minute."""


def blocks(page: Path, *languages: str) -> list[str]:
    """Return what stands in the blocks of some languages, in order."""
    return [text for name, text in BLOCK.findall(page.read_text("utf-8")) if name in languages]


def links(page: Path) -> list[tuple[Path, str]]:
    """Return the files of ours that a page links to, with the anchor or nothing."""
    found = re.findall(r"\]\((?!https?:)([^)#\s]*)(?:#([^)\s]*))?\)", page.read_text("utf-8"))
    return [((page.parent / name).resolve() if name else page, anchor) for name, anchor in found]


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as forges make them."""
    titles = re.findall(r"^#+ (.+)$", page.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title).strip().lower().replace(" ", "-") for title in titles}


def unknown_flags(page: Path, *languages: str) -> list[str]:
    """Return the commands and flags of ours in a page's blocks that `--help` does not know."""
    shown = "\n".join(blocks(page, *languages)).replace("\\\n", " ")
    wrong = []
    for program, name, rest in CALL.findall(shown):
        command = (name, *rest.split()[:1]) if program == "broker-plugin" and name in GROUPS else (name,)
        if name not in (COMMANDS if program == "broker-plugin" else TRAINER_COMMANDS):
            wrong.append(name)
            continue
        text = f"{_help(program, *command)} --help"
        flags = re.findall(r"(?<!\S)--[a-z][a-z-]*", rest.split(" #")[0].split("|")[0])
        wrong += [f"{' '.join(command)} {flag}" for flag in flags if not re.search(rf"{flag}\b", text)]
    return wrong


class Reader:
    """Types the blocks of a guide into one shell after another, in one folder.

    Parameters
    ----------
    folder
        Where the commands are typed.
    instead
        What stands in the guide, and what is typed in its place.
    variables
        Of the environment.
    """

    def __init__(
        self,
        folder: Path,
        *,
        instead: Mapping[str, str] | None = None,
        variables: Mapping[str, str] | None = None,
    ) -> None:
        self.folder = folder
        self.instead = dict(instead or {})
        ours = {name: value for name, value in os.environ.items() if not name.startswith("ASTROM3_")}
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        self.environment = {**ours, "PATH": path, "OMP_NUM_THREADS": "1", **(variables or {})}

    def typed(self, block: str) -> str:
        """Return what is typed for a block."""
        for shown, typed in self.instead.items():
            block = block.replace(shown, typed)
        return block

    def read(self, block: str, *, status: int = 0) -> str:
        """Type a block, and return what it printed; fail if it ends otherwise."""
        done = subprocess.run(
            ["sh", "-eu", "-c", self.typed(block)],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=STEP_S,
        )
        output = done.stdout + done.stderr
        assert done.returncode == status, f"{self.typed(block)}\nended with {done.returncode}:\n{output}"
        return output


@cache
def _help(program: str, *command: str) -> str:
    """Return what `--help` prints of a command, without starting a process for each."""
    make = make_trainer if program == "trainer" else make_app
    app = make(command[0])
    shown = io.StringIO()
    app.help_print(list(command), console=Console(file=shown, width=200))
    return shown.getvalue()
