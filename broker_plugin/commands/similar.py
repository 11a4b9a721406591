# SPDX-License-Identifier: BSD-3-Clause
"""`broker-plugin similar`: the strange alerts of the last hours that are like one of them."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Annotated, TypeVar

from cyclopts import Parameter, validators
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from broker_plugin.bundle import open_bundle
from broker_plugin.errors import ConfigurationError
from broker_plugin.object_names import object_name
from broker_plugin.pipeline.assembly import parse_access
from broker_plugin.service.bundle_choice import chosen_bundle
from broker_plugin.service.settings_sources import load_settings
from broker_plugin.store.address import NO_STORE, StoreAddress
from broker_plugin.store.base import CorruptValueError
from broker_plugin.store.recent import Recent, nearest, recents_in, slot_keys, withdrawn_in, withdrawn_keys

__all__ = ["similar"]

TIMEOUT_S = 30.0

Entry = TypeVar("Entry")


def similar(
    object_id: str = "",
    *,
    n: Annotated[int, Parameter(validator=validators.Number(gte=1))] = 10,
    hours: Annotated[float, Parameter(validator=validators.Number(gt=0))] = 12.0,
    bundle: str = "default",
    bundles: Path | None = None,
    access: str = "public",
    store: str | None = None,
    as_json: Annotated[bool, Parameter(name="--json", negative="")] = False,
) -> None:
    """Show which strange alerts of the last hours are most like those of an object.

    `run --similar-hours 12` with a store keeps the strangest hundred alerts of every ten minutes (p <= 0.1)
    with their embeddings. Without an object, the strangest of them is taken. What the survey has withdrawn
    since is left out.

        broker-plugin similar ztf:ZTF18abcdefg --store redis://localhost

    Parameters
    ----------
    object_id
        The object as verdicts name it, or without the survey; it must be among those that were kept.
    n
        How many to show, one alert an object.
    hours
        How far to look back.
    bundle
        The bundle of the run: NAME, NAME@VERSION or a directory.
    bundles
        Repository of bundles, a directory; by default ASTROM3_BUNDLES.
    access
        As for the run.
    store
        As for the run; by default ASTROM3_STORE.
    as_json
        Print JSON lines.
    """
    address = StoreAddress(text=_store(store), timeout_s=TIMEOUT_S)
    with closing(address.open_existing()) as opened:
        digest = open_bundle(chosen_bundle(bundle, bundles)).digest
        rights, now = parse_access(access), time.time()
        kept = _readable(opened.fetch(slot_keys(digest, rights, now=now, hours=hours)), recents_in)
        noted = opened.fetch(withdrawn_keys(rights, now=now, hours=hours))
        withdrawn = frozenset(_readable(noted, withdrawn_in))
    recents = [each for each in kept if each.alert_key not in withdrawn]
    if not recents:
        raise ConfigurationError(
            f"no alert was kept in the last {hours:g} hours",
            remedy="run with --similar-hours, or look further back with --hours",
        )
    of = _chosen(object_id, recents)
    found = nearest(of, recents, n=n)
    if as_json:
        sys.stdout.writelines(json.dumps(_plain(cosine, each)) + "\n" for cosine, each in found)
        return
    title = f"like {of.object_id} ({of.alert_key}), among {len(recents):,} strange alerts"
    table = Table(title=escape(title))
    for heading in ("cosine", "object", "alert", "p", "class", "context"):
        table.add_column(heading)
    for cosine, each in found:
        said = (f"{each.p_value:.3g}", each.top_class or "-", each.source_context)
        table.add_row(*map(escape, (f"{cosine:.3f}", each.object_id, each.alert_key, *said)))
    Console().print(table)


def _readable(slots: Sequence[bytes | None], read: Callable[[bytes | None], Iterable[Entry]]) -> list[Entry]:
    """Return what is in all slots that can be read, and say how many cannot."""
    entries: list[Entry] = []
    damaged = 0
    for slot in slots:
        try:
            entries += read(slot)
        except CorruptValueError:
            damaged += 1
    if damaged:
        Console(stderr=True).print(
            f"broker-plugin: passed over {damaged} of {len(slots)} stored slots, which are damaged",
            style="yellow",
        )
    return entries


def _chosen(object_id: str, recents: list[Recent]) -> Recent:
    wanted = object_name(object_id) if object_id else ""
    of_object = [each for each in recents if wanted in ("", each.object_id, each.object_id.partition(":")[2])]
    if not of_object:
        raise ConfigurationError(
            f"{object_id} is not among the {len(recents):,} alerts that were kept and stand",
            remedy="look further back with --hours",
        )
    return min(of_object, key=lambda each: (each.p_value, -each.mjd_tai, each.alert_key))


def _store(given: str | None) -> str:
    store = given or load_settings({}).store
    if store in (NO_STORE, "memory"):
        raise ConfigurationError(
            "no store that a run could have written to", remedy="give --store sqlite:PATH or redis://..."
        )
    return store


def _plain(cosine: float, each: Recent) -> dict[str, object]:
    return {
        "cosine": round(cosine, 6),
        "object_id": each.object_id,
        "alert_key": each.alert_key,
        "mjd_tai": each.mjd_tai,
        "anomaly_p_value": each.p_value,
        "top_class": each.top_class,
        "source_context": each.source_context,
    }
