# SPDX-License-Identifier: BSD-3-Clause
"""Changes of a bundle repository, one at a time, each whole or not at all, each noted in the journal."""

from __future__ import annotations

import fcntl
import getpass
import json
import os
import shutil
import socket
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO, Literal

from broker_plugin.bundle import MANIFEST, Bundle, installed_bundles, open_bundle
from broker_plugin.errors import BundleError, ConfigurationError
from broker_plugin.nights import SITES
from broker_plugin.parity import parity_defects
from broker_plugin.repository.layout import JOURNAL, BundleRepository, check_name, digest_of, split_name
from broker_plugin.repository.promotions import Promotion, in_force, promotions_text, standing_promotions
from broker_plugin.signals import unbroken
from broker_plugin.whole_file import PART, sync_folder, write_whole

__all__ = ["Change", "add", "check_bundle", "promote", "remove", "rollback", "who"]

LOCK = ".lock"


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A version that a change was about.

    Parameters
    ----------
    made
        False where all was so already.
    unnoted
        Why the journal lacks it, empty where it does not.
    """

    name: str
    version: str
    digest: str
    made: bool
    unnoted: str = ""


def check_bundle(source: str | Path) -> Bundle:
    """Open a bundle and make sure that its export was checked.

    Raises
    ------
    BundleError
        If a digest, the format or the feature spec is wrong, or a graph was not compared with what it was
        made from, or differs from that.
    """
    bundle = open_bundle(source)
    manifest = bundle.manifest
    defects = list(parity_defects(manifest.parity, tuple(model.name for model in manifest.modalities)))
    if defects:
        raise BundleError(
            f"{bundle.path} does not compute what it was trained to: {'; '.join(defects)}",
            remedy="export it again",
        )
    return bundle


def add(
    repository: BundleRepository,
    source: str | Path,
    *,
    name: str = "",
    version: str = "",
    note: str = "",
    rehearse: Callable[[Bundle], object] = lambda bundle: None,
) -> Change:
    """Take a bundle in, after everything about it was checked. Nothing uses it before it is promoted.

    Parameters
    ----------
    source
        A bundle's directory, or the name of an installed one.
    name, version
        What it is called here; by default as in its manifest.
    note
        For the journal.
    rehearse
        Is called with the bundle before it is taken in; what it raises keeps the bundle out.

    Raises
    ------
    BundleError
        If the bundle is refused, or another one has the name and version.
    """
    bundle = check_bundle(source)
    name = check_name(name or bundle.manifest.name)
    version = check_name(version or bundle.manifest.version)
    rehearse(bundle)
    with _changing(repository):
        return _take_in(repository, bundle, name, version, note=note)


def promote(
    repository: BundleRepository, wanted: str, *, now: bool = False, note: str = ""
) -> tuple[Promotion, Change]:
    """Let a name stand for one of its versions, from the next local noon of each survey on, or at once.

    Parameters
    ----------
    wanted
        `NAME@VERSION`, or `NAME` for its highest version.
    now
        Do not wait for noon.
    note
        Why, for the journal.

    Raises
    ------
    BundleError
        If there is no such version, or it is altered.
    """
    name, version = split_name(wanted)
    if version is None:
        versions = repository.versions(name)
        if not versions:
            raise BundleError(
                f"no version of {name!r} in {repository.root}", remedy="add one with `bundles add DIR`"
            )
        version = versions[-1]
    with _changing(repository):
        bundle = check_bundle(repository.path_of(name, version))
        return _append(repository, name, version, bundle.digest, action="promote", at_noon=not now, note=note)


def rollback(
    repository: BundleRepository, name: str, *, at_noon: bool = False, note: str = ""
) -> tuple[Promotion, Change]:
    """Go back to what was in force before, at once or from the next local noon on.

    Before the first promotion that is the installed bundle of the name, which is taken in for it.

    Raises
    ------
    BundleError
        If nothing was in force before, or it is gone or altered.
    """
    with _changing(repository):
        version, digest = _before(repository, name, note=note)
        return _append(repository, name, version, digest, action="rollback", at_noon=at_noon, note=note)


def remove(repository: BundleRepository, wanted: str, *, note: str = "") -> Change:
    """Delete a version that is not in force and does not wait for noon.

    Raises
    ------
    BundleError
        If it is, or there is no such version.
    """
    name, version = split_name(wanted)
    if version is None:
        raise BundleError(f"{wanted!r} names no version", remedy="give NAME@VERSION")
    with _changing(repository):
        path = repository.path_of(name, version)
        if version in _in_use(repository.promotions(name)):
            raise BundleError(f"{wanted} is in force or about to be", remedy="promote another version first")
        digest = digest_of(path)
        part = path.with_name(f".{version}.{uuid.uuid4().hex[:8]}{PART}")
        change = Change(name=name, version=version, digest=digest, made=True)
        with unbroken():
            path.rename(part)
            shutil.rmtree(part)
            return _noted(repository, "remove", change, note=note)


def who() -> str:
    """Return the user and the machine, for the journal."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user often has no name
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"


def _take_in(repository: BundleRepository, bundle: Bundle, name: str, version: str, *, note: str) -> Change:
    folder = repository.root / name
    change = Change(name=name, version=version, digest=bundle.digest, made=True)
    if version in repository.versions(name):
        there = open_bundle(folder / version).digest
        if there != bundle.digest:
            raise BundleError(
                f"{name}@{version} is another bundle (digest {there[:16]}, not {bundle.digest[:16]})",
                remedy="give it a version of its own with --as NAME@VERSION",
            )
        return Change(name=name, version=version, digest=bundle.digest, made=False)
    folder.mkdir(exist_ok=True)
    part = folder / f".{version}.{uuid.uuid4().hex[:8]}{PART}"
    try:
        _write(bundle, part)
        if open_bundle(part).digest != bundle.digest:
            raise BundleError(f"{bundle.path} changed while it was read", remedy="add it again")
        with unbroken():
            part.rename(folder / version)
            sync_folder(folder)
            return _noted(repository, "add", change, note=note, source=str(bundle.path))
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _before(repository: BundleRepository, name: str, *, note: str) -> tuple[str, str]:
    """Return the version and the digest of what was in force as a name before the present one."""
    installed = installed_bundles().get(name)
    standing = standing_promotions(repository.promotions(name), installed=installed is not None)
    if len(standing) > 1:
        target = standing[-2]
        return target.version, check_bundle(repository.promoted(name, target)).digest
    bundle = check_bundle(installed) if installed is not None and standing else None
    if bundle is None or bundle.digest == standing[-1].digest:
        raise BundleError(
            f"nothing was promoted or installed as {name!r} before the present version",
            remedy="promote the one that you want",
        )
    version = _version_for(repository, bundle, name)
    _take_in(repository, bundle, name, version, note=note)
    return version, bundle.digest


def _version_for(repository: BundleRepository, bundle: Bundle, name: str) -> str:
    """Return the version that the installed bundle has or can have; another one may lie under its own."""
    version = bundle.manifest.version
    taken = version in repository.versions(name) and digest_of(repository.path_of(name, version))
    return f"{version}+{bundle.digest[:8]}" if taken and taken != bundle.digest else version


def _append(
    repository: BundleRepository,
    name: str,
    version: str,
    digest: str,
    *,
    action: Literal["promote", "rollback"],
    at_noon: bool,
    note: str,
) -> tuple[Promotion, Change]:
    earlier = repository.promotions(name)
    if earlier and (earlier[-1].version, earlier[-1].digest) == (version, digest):
        last = earlier[-1]
        waits = any(in_force(earlier, survey, datetime.now(UTC)) is not last for survey in SITES)
        if at_noon or not waits:
            return last, Change(name=name, version=version, digest=digest, made=False)
    promotion = Promotion(
        number=earlier[-1].number + 1 if earlier else 1,
        version=version,
        digest=digest,
        action=action,
        at=datetime.now(UTC),
        by=who(),
        at_noon=at_noon,
        note=note,
    )
    change = Change(name=name, version=version, digest=digest, made=True)
    with unbroken():
        write_whole(repository.pointer(name), promotions_text([*earlier, promotion]))
        return promotion, _noted(repository, action, change, note=note, at_noon=at_noon)


def _in_use(promotions: tuple[Promotion, ...]) -> set[str]:
    now = datetime.now(UTC)
    holding = {in_force(promotions, survey, now) for survey in SITES} | set(promotions[-1:])
    return {each.version for each in holding if each is not None}


@contextmanager
def _changing(repository: BundleRepository) -> Iterator[None]:
    """Hold the repository against other changes, and say what a refusal of the system means."""
    try:
        with (repository.root / LOCK).open("ab") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
    except OSError as error:
        raise ConfigurationError(
            f"cannot change {error.filename or repository.root} ({error.strerror})",
            remedy="make room or permit it",
        ) from error


def _write(bundle: Bundle, folder: Path) -> None:
    """Write the bytes that were verified, not what the disk may hold by now."""
    folder.mkdir()
    manifest = (bundle.path / MANIFEST).read_bytes()
    for name, content in {**bundle.contents, MANIFEST: manifest}.items():
        with (folder / name).open("xb") as handle:
            handle.write(content)
            handle.flush()
            os.fsync(handle.fileno())
    sync_folder(folder)


def _noted(repository: BundleRepository, action: str, change: Change, **more: Any) -> Change:
    """Add a line to the journal, and return the change with why there is none if that fails."""
    line = {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "by": who(),
        "action": action,
        "bundle": f"{change.name}@{change.version}",
        "digest": change.digest,
        **more,
    }
    # Only after the change: a line before it would tell of what may not come about. That the line is missing
    # takes nothing back, and a failed command would say so.
    try:
        with (repository.root / JOURNAL).open("a+b") as journal:
            begun = journal.tell() and _last_byte(journal) != b"\n"  # what a full disk left of a line
            journal.write((b"\n" if begun else b"") + json.dumps(line).encode() + b"\n")
    except OSError as error:
        return replace(change, unnoted=error.strerror or str(error))
    return change


def _last_byte(file: BinaryIO) -> bytes:
    file.seek(-1, os.SEEK_END)
    return file.read(1)
