# SPDX-License-Identifier: BSD-3-Clause
"""The labelled stars of a run: read once, then taken from the run's own folder."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection
from pathlib import Path

from trainer.data.catalina import learned_classes, read_catalina
from trainer.data.stars import StarTable, read_stars, write_stars

__all__ = ["STARS_VERSION", "keep_labelled", "labelled_stars"]

STARS, NAMES, MARKER = "stars.npz", "classes.json", "stars.sha256"

STARS_VERSION = "3"
"""Version of the table of stars; raise it with any change of its columns' meaning, or of who is in it."""


def labelled_stars(
    data: Path, cache: Path, *, digest: str, held_out: Collection[str], say: Callable[[str], None]
) -> tuple[StarTable, tuple[str, ...]]:
    """Return the stars of the data folder and the classes that their labels count.

    Parameters
    ----------
    digest
        SHA-256 of the file; with it and the same classes held out, what was kept is taken.

    Raises
    ------
    ConfigurationError
        If there is no file, or no star in it that can be used.
    """
    if _are_kept(cache, digest, held_out):
        stars = read_stars(cache / STARS)
        say(f"{len(stars):,} stars from {cache / STARS}")
        return stars, tuple(json.loads((cache / NAMES).read_text()))
    found = read_catalina(data, held_out=held_out)
    for line in found.funnel.lines():
        say(line)
    if found.absent:
        say(f"no star of {', '.join(found.absent)}: the model will not know these classes")
    return found.stars, found.classes


def keep_labelled(
    stars: StarTable, classes: tuple[str, ...], cache: Path, *, digest: str, held_out: Collection[str]
) -> None:
    """Write what `labelled_stars` returned, for worker processes and later commands, unless it is there."""
    if _are_kept(cache, digest, held_out):
        return
    write_stars(stars, cache / STARS)
    (cache / NAMES).write_text(json.dumps(classes) + "\n")
    (cache / MARKER).write_text(_version(digest, held_out))


def _are_kept(cache: Path, digest: str, held_out: Collection[str]) -> bool:
    marker = cache / MARKER
    return (cache / NAMES).is_file() and marker.is_file() and marker.read_text() == _version(digest, held_out)


def _version(digest: str, held_out: Collection[str]) -> str:
    return f"{digest} {STARS_VERSION} {' '.join(learned_classes(held_out))}"
