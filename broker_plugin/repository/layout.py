# SPDX-License-Identifier: BSD-3-Clause
"""A directory of bundles with names and versions, as it lies on disk. Readers need no right to write.

::

    bundles/
    ├── journal.jsonl            who did what and when, one line a change
    └── mine/                    a name
        ├── current.json         what was promoted: see `promotions`
        ├── 1/                   a version: a bundle's directory
        └── 2/
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from broker_plugin.bundle import MANIFEST, installed_bundles
from broker_plugin.errors import BundleError
from broker_plugin.repository.promotions import POINTER, Promotion, in_force, read_promotions

__all__ = ["JOURNAL", "BundleRepository", "check_name", "digest_of", "locate_bundle", "split_name"]

JOURNAL = "journal.jsonl"

PLAIN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,63}")
"""What a name or version may be: never hidden, never a path."""


class BundleRepository:
    """Reads a directory of bundles.

    Parameters
    ----------
    root
        The directory.

    Raises
    ------
    BundleError
        If it is not there.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        if not root.is_dir():
            raise BundleError(
                f"no bundle repository at {root}",
                remedy="make the directory and add a bundle with `broker-plugin bundles add`",
            )

    def names(self) -> list[str]:
        """Return the names that have a version or a promotion."""
        return sorted(
            path.name
            for path in self.root.iterdir()
            if PLAIN_NAME.fullmatch(path.name)
            and path.is_dir()
            and (self.versions(path.name) or (path / POINTER).is_file())
        )

    def versions(self, name: str) -> list[str]:
        """Return the versions of a name from low to high: 3.10 comes after 3.9."""
        folder = self.root / check_name(name)
        if not folder.is_dir():
            return []
        found = (path.parent.name for path in folder.glob(f"*/{MANIFEST}"))
        return sorted((each for each in found if PLAIN_NAME.fullmatch(each)), key=_natural)

    def path_of(self, name: str, version: str) -> Path:
        """Return the directory of a bundle.

        Raises
        ------
        BundleError
            If there is no such version.
        """
        if version not in self.versions(name):
            known = ", ".join(self.versions(name)) or "none"
            raise BundleError(
                f"no version {version!r} of {name!r} in {self.root}; there are: {known}",
                remedy="add it with `broker-plugin bundles add`",
            )
        return self.root / name / version

    def promoted(self, name: str, promotion: Promotion) -> Path:
        """Return the directory of a promoted bundle.

        Raises
        ------
        BundleError
            If it is gone, or another one lies under its version now.
        """
        path = self.path_of(name, promotion.version)
        found = digest_of(path)
        if found != promotion.digest:
            raise BundleError(
                f"{name}@{promotion.version} is not the bundle that was promoted (digest {found[:16]}, not "
                f"{promotion.digest[:16]})",
                remedy="restore it, or promote the version that you want",
            )
        return path

    def pointer(self, name: str) -> Path:
        """Return where the promotions of a name are."""
        return self.root / check_name(name) / POINTER

    def promotions(self, name: str) -> tuple[Promotion, ...]:
        """Return the promotions of a name, the oldest first."""
        return read_promotions(self.pointer(name))

    def in_force(self, name: str, survey: str | None, when: datetime | None = None) -> Path:
        """Return the directory of the bundle that a name stands for at a moment, now by default.

        Before its first promotion takes effect, that is the installed bundle of the name, or the promoted
        one if none is installed.

        Raises
        ------
        BundleError
            If nothing of the name was promoted or installed, or what was promoted is gone or another now.
        """
        promotions = self.promotions(name)
        holding = in_force(promotions, survey, when or datetime.now(UTC))
        if holding is not None:
            return self.promoted(name, holding)
        if name in installed_bundles():
            return installed_bundles()[name]
        if promotions:
            return self.promoted(name, promotions[0])
        versions = self.versions(name)
        if versions:
            raise BundleError(
                f"of {name!r} no version was promoted in {self.root}",
                remedy=f"do `broker-plugin bundles promote {name}@{versions[-1]}`",
            )
        raise BundleError(f"nothing named {name!r} in {self.root}; there are: {', '.join(self.known())}")

    def known(self) -> list[str]:
        """Return all names that a bundle can be asked for by, those of the installed ones too."""
        return list(dict.fromkeys([*self.names(), *installed_bundles()]))


def locate_bundle(
    wanted: str, root: Path | None, *, survey: str | None = None, when: datetime | None = None
) -> Path | str:
    """Return the directory of what `--bundle` names; without a repository what was given.

    Parameters
    ----------
    wanted
        `NAME` for the version in force, `NAME@VERSION`, or a directory.
    root
        Repository in which names are looked up first; then come the installed bundles and directories.
    survey
        Whose noon decides; None for the last of them.

    Raises
    ------
    BundleError
        If a name or version is not there.
    """
    name, version = split_name(wanted)
    if root is None:
        if version is not None and not Path(wanted).is_dir():
            raise BundleError(
                f"{wanted!r} is a version in a bundle repository", remedy="say which with --bundles DIR"
            )
        return wanted
    repository = BundleRepository(root)
    if version is not None:
        return repository.path_of(name, version)
    if PLAIN_NAME.fullmatch(wanted) and wanted in repository.known():
        return repository.in_force(wanted, survey, when)
    if (Path(wanted) / MANIFEST).is_file():
        return wanted
    known = ", ".join(repository.known())
    raise BundleError(
        f"no bundle {wanted!r} in {repository.root}; names are: {known}",
        remedy=f"give NAME, NAME@VERSION or a directory with a {MANIFEST}",
    )


def split_name(text: str) -> tuple[str, str | None]:
    """Return the name and the version of `NAME@VERSION`; None for the version of anything else.

    Examples
    --------
    >>> split_name("default@3.1"), split_name("default"), split_name("./dir@home/bundle")
    (('default', '3.1'), ('default', None), ('./dir@home/bundle', None))
    """
    name, at, version = text.partition("@")
    if at and PLAIN_NAME.fullmatch(name) and PLAIN_NAME.fullmatch(version):
        return name, version
    return text, None


def digest_of(path: Path) -> str:
    """Return the digest of a bundle's directory: SHA-256 of its manifest, which holds those of all files."""
    return hashlib.sha256((path / MANIFEST).read_bytes()).hexdigest()


def check_name(text: str) -> str:
    """Return a name or version that can stand for a directory.

    Raises
    ------
    BundleError
        If it cannot.

    Examples
    --------
    >>> check_name("default")
    'default'
    """
    if not PLAIN_NAME.fullmatch(text):
        raise BundleError(
            f"{text!r} cannot be a name or version",
            remedy="use letters, digits and . _ + -, no more than 64, the first a letter or digit",
        )
    return text


def _natural(text: str) -> list[tuple[int, int, str]]:
    parts: Iterator[str] = (part for part in re.split(r"(\d+)", text) if part)
    return [(1, int(part), "") if part.isdigit() else (0, 0, part) for part in parts]
