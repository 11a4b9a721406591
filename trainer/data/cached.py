# SPDX-License-Identifier: BSD-3-Clause
"""The labelled stars of a run: read once, then taken from the run's own folder."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection
from pathlib import Path

from trainer.data.catalina import learned_classes, read_catalina
from trainer.data.stars import StarTable, read_stars, write_stars

__all__ = ["STARS_VERSION", "labelled_stars"]

STARS_VERSION = "2"
"""Version of the table of stars; raise it with any change of its columns' meaning."""


def labelled_stars(
    data: Path, cache: Path, *, digest: str, held_out: Collection[str], say: Callable[[str], None]
) -> tuple[StarTable, tuple[str, ...]]:
    """Return the stars of the data folder and the classes that their labels count, and keep both.

    Parameters
    ----------
    digest
        SHA-256 of the file; with it and the same classes held out, what was kept is used again.

    Raises
    ------
    ConfigurationError
        If there is no file, or no star in it that can be used.
    """
    path, marker, names = cache / "stars.npz", cache / "stars.sha256", cache / "classes.json"
    version = f"{digest} {STARS_VERSION} {' '.join(learned_classes(held_out))}"
    if names.is_file() and marker.is_file() and marker.read_text() == version:
        stars = read_stars(path)
        say(f"{len(stars):,} stars from {path}")
        return stars, tuple(json.loads(names.read_text()))
    found = read_catalina(data, held_out=held_out)
    write_stars(found.stars, path)
    names.write_text(json.dumps(found.classes) + "\n")
    marker.write_text(version)
    for line in found.funnel.lines():
        say(line)
    if found.absent:
        say(f"no star of {', '.join(found.absent)}: the model will not know these classes")
    return found.stars, found.classes
