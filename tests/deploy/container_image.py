# SPDX-License-Identifier: BSD-3-Clause
"""The Dockerfile, stage by stage, and its steps taken in a plain environment, without a container engine."""

from __future__ import annotations

import fnmatch
import os
import shlex
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from dockerfile_parse import DockerfileParser

from tests.support.artefacts import REPOSITORY

__all__ = ["DOCKERFILE", "Instruction", "Stage", "build_context", "confined", "stages", "take_steps"]

DOCKERFILE = REPOSITORY / "deploy/docker/Dockerfile"

STEP_S = 900.0
"""Longest wait for a step that installs."""


@dataclass(frozen=True, slots=True)
class Instruction:
    """One line of the file."""

    name: str
    value: str


@dataclass(slots=True)
class Stage:
    """What follows a FROM."""

    base: str
    name: str
    instructions: list[Instruction] = field(default_factory=list)

    def of(self, name: str) -> list[str]:
        """Return the values of all instructions of a name."""
        return [one.value for one in self.instructions if one.name == name]


def stages() -> dict[str, Stage]:
    """Return the stages by name, in order, and under '' what stands before the first."""
    found = {"": Stage("", "")}
    current = found[""]
    with DOCKERFILE.open("rb") as file:
        for line in DockerfileParser(fileobj=file).structure:
            if line["instruction"] == "FROM":
                base, _, name = line["value"].partition(" AS ")
                current = found[name] = Stage(base, name)
            elif line["instruction"] != "COMMENT":
                current.instructions.append(Instruction(line["instruction"], line["value"]))
    return found


def lineage(name: str) -> Iterator[Stage]:
    """Yield the stages that a stage builds on, the first one first, and itself."""
    every = stages()
    if name in every:
        yield from lineage(every[name].base)
        yield every[name]


def environment_of(name: str, **arguments: str) -> dict[str, str]:
    """Return what ARG and ENV leave set in a stage."""
    found: dict[str, str] = {}
    for instruction in (one for stage in lineage(name) for one in stage.instructions):
        if instruction.name not in {"ARG", "ENV"}:
            continue
        for word in shlex.split(instruction.value):
            variable, _, value = word.partition("=")
            value = arguments.get(variable, value)
            for known, given in found.items():
                value = value.replace("${" + known + "}", given)
            found[variable] = value.replace("$PATH", os.environ["PATH"])
    return found


def build_context(folder: Path) -> Path:
    """Copy to a folder what `.dockerignore` lets into the build, of the files that git knows."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=REPOSITORY,
        check=True,
        capture_output=True,
        text=True,
    )
    rules = [
        line for line in (REPOSITORY / ".dockerignore").read_text("utf-8").split("\n") if line[:1] not in "#"
    ]
    for name in listed.stdout.splitlines():
        if _is_sent(name, rules) and (REPOSITORY / name).exists():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(REPOSITORY / name, folder / name)
    return folder


def take_steps(name: str, context: Path, *, root: Path, **arguments: str) -> dict[str, str]:
    """Take the COPY and RUN steps of a stage and of those before it, and return its environment.

    Parameters
    ----------
    name
        The stage.
    context
        What was sent to the build.
    root
        Stands for `/`: absolute paths of the steps are taken in it.
    """
    for stage in lineage(name):
        variables = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        _take_stage(stage, context, root, variables | environment_of(stage.name, **arguments))
    return environment_of(name, **arguments)


def confined(command: Sequence[str], *, scratch: Path, user: int = 10_001) -> list[str]:
    """Return a command that runs it as that user, all file systems read-only but for an empty scratch folder.

    Where we are not root, which may not do that, the command itself.
    """
    if os.geteuid() != 0:
        return list(command)
    script = (
        f"mount -t tmpfs -o mode=1777 scratch {shlex.quote(str(scratch))} && mount -o remount,bind,ro / && "
        f'exec setpriv --reuid {user} --regid {user} --clear-groups "$@"'
    )
    return ["unshare", "--mount", "sh", "-c", script, "sh", *command]


def _take_stage(stage: Stage, context: Path, root: Path, variables: Mapping[str, str]) -> None:
    for instruction in stage.instructions:
        if instruction.name == "RUN":
            _run(["sh", "-c", instruction.value.replace("/opt/", f"{root}/opt/")], root / "src", variables)
        elif instruction.name == "COPY" and instruction.value.startswith("--from="):
            other = instruction.value.removeprefix("--from=").split()[0]
            _take_stage(stages()[other], context, root, variables)  # all stages work in one root here
        elif instruction.name == "COPY":
            _copy(shlex.split(instruction.value), context, root)


def _copy(words: Sequence[str], context: Path, root: Path) -> None:
    *sources, target = words
    place = root / "src" / target
    for source in sources:
        if (context / source).is_dir():
            shutil.copytree(context / source, place, dirs_exist_ok=True)
        else:
            into = target.endswith("/")
            (place if into else place.parent).mkdir(parents=True, exist_ok=True)
            shutil.copy2(context / source, place)


def _run(command: Sequence[str], folder: Path, environment: Mapping[str, str]) -> None:
    done = subprocess.run(
        command,
        cwd=folder,
        env=dict(environment),
        capture_output=True,
        text=True,
        check=False,
        timeout=STEP_S,
    )
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"


def _is_sent(name: str, rules: Sequence[str]) -> bool:
    sent = True
    for rule in rules:
        pattern = rule.removeprefix("!").replace("**/", "*")
        parts = name.split("/")
        heads = ("/".join(parts[:number]) for number in range(1, len(parts) + 1))
        if any(fnmatch.fnmatchcase(head, pattern) for head in heads):
            sent = rule.startswith("!")
    return sent
