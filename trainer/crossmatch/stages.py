# SPDX-License-Identifier: BSD-3-Clause
"""Stages of a build: each leaves its files and a marker, so that a stopped build goes on where it was."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainer.data.catalina import file_digest

__all__ = ["Stages", "digest_of", "files_digest"]

STAGE_VERSION = 2
"""Raised whenever a stage would make other files of the same inputs; old markers then count for nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stages:
    """The finished stages in a folder.

    Parameters
    ----------
    say
        Takes a line for the user.
    """

    folder: Path
    say: Callable[[str], None]

    def run(
        self,
        name: str,
        inputs: Any,
        files: Sequence[Path],
        *,
        make: Callable[[], Mapping[str, Any]],
    ) -> tuple[dict[str, Any], str]:
        """Make a stage's files, unless they are there, whole and of the same inputs.

        Parameters
        ----------
        inputs
            Everything that the files depend on; compared as JSON.
        make
            Writes all `files` and returns what later stages are told.

        Returns
        -------
        :
            What `make` returned now or then, and a digest of the files and of that.
        """
        wanted = digest_of([STAGE_VERSION, inputs])
        marker = self.folder / f"{name}.json"
        if marker.is_file():
            found = json.loads(marker.read_text("utf-8"))
            if found["inputs"] == wanted and found["files"] == _digests(files):
                self.say(f"{name}: there already")
                return found["result"], digest_of([found["files"], found["result"]])
        marker.unlink(missing_ok=True)
        result = json.loads(json.dumps(make()))
        made = _digests(files)
        self.folder.mkdir(parents=True, exist_ok=True)
        unfinished = marker.with_suffix(".part")
        unfinished.write_text(json.dumps({"inputs": wanted, "files": made, "result": result}), "utf-8")
        unfinished.replace(marker)
        return result, digest_of([made, result])


def digest_of(value: Any) -> str:
    """Return the SHA-256 of a value's JSON.

    Examples
    --------
    >>> digest_of({"a": 1, "b": 2}) == digest_of({"b": 2, "a": 1})
    True
    """
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def files_digest(folder: Path, files: Sequence[Path]) -> str:
    """Return one SHA-256 of the list of files: of their names and their own SHA-256s."""
    return digest_of([[path.relative_to(folder).as_posix(), file_digest(path)] for path in files])


def _digests(files: Sequence[Path]) -> dict[str, str | None]:
    return {path.name: file_digest(path) if path.is_file() else None for path in files}
