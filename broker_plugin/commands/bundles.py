# SPDX-License-Identifier: BSD-3-Clause
"""`broker-plugin bundles`: the models in service, their versions, and which of them is in force."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Parameter
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from broker_plugin.bundle import Bundle, open_bundle
from broker_plugin.commands.compare import compare
from broker_plugin.engine.providers import choose
from broker_plugin.engine.rehearsal import rehearse
from broker_plugin.engine.scorer import Scorer
from broker_plugin.errors import BundleError, ConfigurationError
from broker_plugin.nights import SITES
from broker_plugin.repository import changes
from broker_plugin.repository.layout import JOURNAL, BundleRepository, split_name
from broker_plugin.repository.promotions import Promotion, in_force
from broker_plugin.service.settings_sources import load_settings

__all__ = ["bundles"]

EXIT_DEFECT = 1
"""A bundle in the repository cannot be used as it is."""

Repository = Annotated[Path | None, Parameter(name="--bundles")]
Flag = Annotated[bool, Parameter(negative="")]

bundles = App(
    name="bundles",
    help="""Keep the models in service: named versions, and which of them is in force.

A repository is a directory, given by --bundles or ASTROM3_BUNDLES. `run --bundles DIR --bundle NAME` follows
what is promoted as NAME, without a restart.

    broker-plugin bundles add runs/mine/bundle --as mine@2 --bundles /srv/bundles
    broker-plugin bundles promote mine@2 --bundles /srv/bundles
    broker-plugin bundles rollback mine --bundles /srv/bundles
""",
)

bundles.command(compare)


@bundles.command(name="list")
def list_(*, bundles: Repository = None, as_json: Annotated[bool, Parameter(name="--json")] = False) -> int:
    """Show the versions, which is in force for which survey, and what was promoted by whom.

    Parameters
    ----------
    bundles
        The repository; by default ASTROM3_BUNDLES.
    as_json
        Print JSON, one object for each version.
    """
    repository = _repository(bundles)
    rows = list(_rows(repository))
    if as_json:
        sys.stdout.writelines(json.dumps(row) + "\n" for row in rows)
        return 0
    console = Console()
    if not rows:
        said = f"no bundle in {repository.root}; add one with `broker-plugin bundles add DIR`"
        console.print(said, markup=False)
        return 0
    table = Table("bundle", "in force", "digest", "macro-F1", "promoted", box=None)
    for row in rows:
        table.add_row(*(escape(str(row[name])) for name in COLUMNS))
    console.print(table)
    return 0


COLUMNS = ("bundle", "in_force", "short_digest", "macro_f1", "promoted")
"""What the table shows of a row; JSON has all of it."""


@bundles.command
def add(
    source: str,
    *,
    bundles: Repository = None,
    as_: Annotated[str, Parameter(name="--as")] = "",
    note: str = "",
) -> int:
    """Take a bundle in, after its digests, format, parity and a rehearsal were found good.

    Nothing uses it before it is promoted.

    Parameters
    ----------
    source
        The bundle's directory, or the name of an installed one.
    bundles
        The repository; by default ASTROM3_BUNDLES.
    as_
        NAME@VERSION, if it is to be called otherwise than in its manifest.
    note
        Why, for the journal.
    """
    name, version = split_name(as_) if as_ else ("", "")
    if version is None:
        raise BundleError(f"{as_!r} is not NAME@VERSION; give --as mine@2 or the like")
    repository = _repository(bundles)
    change = changes.add(repository, source, name=name, version=version, note=note, rehearse=_rehearse)
    said = "added" if change.made else "was there already:"
    _say(f"{said} {change.name}@{change.version} (digest {change.digest[:16]})")
    _warn_unnoted(change)
    if change.made:
        promote = f"broker-plugin bundles promote {change.name}@{change.version} --bundles {repository.root}"
        _say(f"it is used after `{promote}`")
    return 0


@bundles.command
def promote(wanted: str, *, bundles: Repository = None, now: Flag = False, note: str = "") -> int:
    """Let a name stand for one of its versions: running services switch to it between two batches.

    They switch at the survey's next local noon (Palomar for ZTF, Cerro Pachon for Rubin), so that no night is
    scored by two bundles. They open and warm it beforehand; one that cannot be opened changes nothing.

    Parameters
    ----------
    wanted
        NAME@VERSION, or NAME for its highest version.
    bundles
        The repository; by default ASTROM3_BUNDLES.
    now
        Switch at once.
    note
        Why, for the journal.
    """
    _tell_promotion(*changes.promote(_repository(bundles), wanted, now=now, note=note))
    return 0


@bundles.command
def rollback(name: str, *, bundles: Repository = None, at_noon: Flag = False, note: str = "") -> int:
    """Go back to what was in force before: at once, since a rollback is for trouble.

    That is the promotion before, or the installed bundle of the name, which is then added.

    Parameters
    ----------
    name
        The bundle's name.
    bundles
        The repository; by default ASTROM3_BUNDLES.
    at_noon
        Wait for the survey's next local noon, as a promotion does.
    note
        Why, for the journal.
    """
    _tell_promotion(*changes.rollback(_repository(bundles), name, at_noon=at_noon, note=note))
    return 0


@bundles.command
def verify(*wanted: str, bundles: Repository = None, rehearsal: Flag = False) -> int:
    """Check the digests, format and parity of the bundles; the exit status is 1 if one is not good.

    Parameters
    ----------
    wanted
        NAME@VERSION, or NAME for all its versions; by default everything.
    bundles
        The repository; by default ASTROM3_BUNDLES.
    rehearsal
        Also run every graph, and score plain alerts.
    """
    repository = _repository(bundles)
    table = Table("bundle", "", "digest", box=None)
    defects = 0
    for name, version in _asked(repository, wanted):
        try:
            bundle = changes.check_bundle(repository.path_of(name, version))
            if rehearsal:
                _rehearse(bundle)
            table.add_row(escape(f"{name}@{version}"), "[green]good[/]", bundle.digest[:16])
        except ConfigurationError as error:
            defects += 1
            table.add_row(escape(f"{name}@{version}"), "[bold red]refused[/]", escape(str(error)))
    for name in repository.names():
        try:
            repository.promotions(name)
        except BundleError as error:
            defects += 1
            table.add_row(escape(name), "[bold red]refused[/]", escape(str(error)))
    Console().print(table)
    return EXIT_DEFECT if defects else 0


@bundles.command
def remove(wanted: str, *, bundles: Repository = None, note: str = "") -> int:
    """Delete a version that is neither in force nor about to be.

    Parameters
    ----------
    wanted
        NAME@VERSION.
    bundles
        The repository; by default ASTROM3_BUNDLES.
    note
        Why, for the journal.
    """
    change = changes.remove(_repository(bundles), wanted, note=note)
    _say(f"removed {change.name}@{change.version}")
    _warn_unnoted(change)
    return 0


def _repository(given: Path | None) -> BundleRepository:
    root = given or load_settings().bundles
    if root is None:
        raise ConfigurationError("no bundle repository was named; give --bundles DIR or ASTROM3_BUNDLES")
    return BundleRepository(root)


def _rehearse(bundle: Bundle) -> None:
    rehearse(Scorer(bundle, choose("cpu")))


def _asked(repository: BundleRepository, wanted: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    for text in wanted or repository.names():
        name, version = split_name(text)
        versions = [version] if version else repository.versions(name)
        if not versions:
            raise BundleError(
                f"nothing named {text!r} in {repository.root}; see `broker-plugin bundles list`"
            )
        yield from ((name, each) for each in versions)


def _tell_promotion(promotion: Promotion, change: changes.Change) -> None:
    what = f"{change.name}@{change.version} (digest {change.digest[:16]})"
    if not change.made:
        _say(
            f"nothing changed: {what} was promoted already, by {promotion.by} at {promotion.at:%F %H:%M} UTC"
        )
    for survey in SITES:
        at = promotion.takes_effect(survey)
        when = f"from {at:%F %H:%M} UTC on, local noon" if promotion.at_noon else "at once"
        _say(f"{survey}: {what} {when}")
    _warn_unnoted(change)


def _warn_unnoted(change: changes.Change) -> None:
    if change.unnoted:
        sys.stderr.write(
            f"broker-plugin: that is done, but {JOURNAL} does not say so ({change.unnoted}); make room or "
            "permit it\n"
        )


def _rows(repository: BundleRepository) -> Iterator[dict[str, Any]]:
    for name in repository.names():
        try:
            promotions = repository.promotions(name)
        except BundleError as error:  # the other names are told all the same
            promotions = ()
            yield {"bundle": name, "in_force": "", "promoted": "", **_refused(error)}
        for version in repository.versions(name):
            yield {
                "bundle": f"{name}@{version}",
                "in_force": ", ".join(_surveys(promotions, version)),
                "promoted": _promoted(promotions, version),
                **_summary(repository, name, version),
            }


def _surveys(promotions: tuple[Promotion, ...], version: str) -> Iterator[str]:
    """Yield the surveys that a version holds for, or from when on it will."""
    for survey in SITES:
        holding = in_force(promotions, survey, datetime.now(UTC))
        if holding is not None and holding.version == version:
            yield survey
        elif promotions and promotions[-1].version == version:
            yield f"{survey} from {promotions[-1].takes_effect(survey):%d %b %H:%M} UTC"


def _promoted(promotions: tuple[Promotion, ...], version: str) -> str:
    of_version = [each for each in promotions if each.version == version]
    if not of_version:
        return ""
    last = of_version[-1]
    return f"{last.at:%F %H:%M} by {last.by}{f': {last.note}' if last.note else ''}"


def _summary(repository: BundleRepository, name: str, version: str) -> dict[str, Any]:
    """Return what the model card says first, or why the bundle is refused."""
    try:
        bundle = open_bundle(repository.path_of(name, version))
    except BundleError as error:
        return _refused(error)
    manifest = bundle.manifest
    score = ((manifest.training.get("catalogue") or {}).get("macro_f1") or {}).get("all")
    data = manifest.training.get("data") or {}
    return {
        "digest": bundle.digest,
        "short_digest": bundle.digest[:12],
        "macro_f1": "" if score is None else f"{score:.3f}",
        "description": manifest.description,
        "format_version": manifest.format_version,
        "classes": manifest.classes,
        "modalities": [model.name for model in manifest.modalities],
        "trained_on": {key: data.get(key) for key in ("file", "sha256", "stars")},
    }


def _refused(error: BundleError) -> dict[str, Any]:
    return {"digest": "", "short_digest": "REFUSED", "macro_f1": "", "refused": str(error)}


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
