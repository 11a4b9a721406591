# SPDX-License-Identifier: BSD-3-Clause
"""`broker-plugin subscribe`: a subscription from the command line, shown and posted."""

from __future__ import annotations

import os
import sys
import threading
from contextlib import nullcontext
from datetime import datetime
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter, validators
from rich.console import Console

from broker_plugin.client.conditions import News
from broker_plugin.client.memory import CHANGE_FACTOR
from broker_plugin.client.opening import subscribe as open_subscription
from broker_plugin.client.options import Tense
from broker_plugin.client.subscription import Subscription
from broker_plugin.client.watch import Cone, WatchList
from broker_plugin.client.watch_files import RADIUS_ARCSEC, read_watch_list
from broker_plugin.client.webhook import Webhook
from broker_plugin.codec.verdict import Verdict
from broker_plugin.commands.listing import Listing, make_listing
from broker_plugin.commands.output import discard_output
from broker_plugin.engine.explanation import counted
from broker_plugin.errors import ConfigurationError
from broker_plugin.instants import parse_moment
from broker_plugin.service.logging import configure_logging
from broker_plugin.service.secret_files import secret_path
from broker_plugin.settings_tables import ContextName
from broker_plugin.signals import stop_on_signal
from broker_plugin.streams.kafka_admission import read_secret

__all__ = ["subscribe"]

HEADER = "ASTROM3_WEBHOOK_HEADER"
"""Variable with the webhook's secret header; with `_FILE` behind it, with the path of a file for it."""

Count = Annotated[int | None, Parameter(validator=validators.Number(gte=1))]
Many = Annotated[tuple[str, ...] | None, Parameter(negative="")]
Positive = Annotated[float | None, Parameter(validator=validators.Number(gt=0))]
Share = Annotated[float | None, Parameter(validator=validators.Number(gte=0, lte=1))]


def subscribe(
    *,
    bootstrap: str | None = None,
    topic: str | None = None,
    group: str | None = None,
    from_beginning: Annotated[bool, Parameter(negative="")] = False,
    since: str | None = None,
    strangest: Count = None,
    context: ContextName | None = None,
    classes: Annotated[tuple[str, ...] | None, Parameter(name="--class", negative="")] = None,
    min_probability: Share = None,
    max_p_value: Share = None,
    min_brightening: Annotated[float | None, Parameter(validator=validators.Number(gte=0))] = None,
    watch: Path | None = None,
    cone: Many = None,
    object_ids: Annotated[tuple[str, ...] | None, Parameter(name="--object", negative="")] = None,
    radius: Annotated[float, Parameter(validator=validators.Number(gt=0))] = RADIUS_ARCSEC,
    only: News = "all",
    change_factor: Annotated[float, Parameter(validator=validators.Number(gt=1))] = CHANGE_FACTOR,
    memory: Path | None = None,
    tense: Tense | None = None,
    webhook: str | None = None,
    webhook_file: Path | None = None,
    output_format: Annotated[Literal["table", "json"], Parameter(name="--format")] = "table",
    limit: Count = None,
    timeout_s: Positive = None,
    registry: str | None = None,
    config: Path | None = None,
) -> int:
    """Follow the verdicts on the output topic, all or those that are asked for.

    JSON has one verdict a line, with the field names of the schema, and with a watch list `watched`, what of
    it matches. A class that no verdict can have is
    warned of: at once if this version knows no such class or kind, else with the first verdict.

        broker-plugin subscribe --bootstrap localhost:9092 --topic verdicts --strangest 10
        broker-plugin subscribe --config run.toml --class RRAB --class RRC --min-probability 0.8 --format json
        broker-plugin subscribe --config run.toml --watch mine.csv --only new --memory mine.db

    Parameters
    ----------
    bootstrap
        host:port of the Kafka cluster; by default the one that run writes to.
    topic
        Topic of verdicts; by default the output of run.
    group
        Consumer group: go on where it left off. Without one nothing is remembered.
    from_beginning
        Begin with the oldest verdict instead of with the next one.
    since
        Begin with the verdicts since then: 2026-11-24T03:00:00Z, or how long ago: 90m, 12h, 3d.
    strangest
        Keep a ranking of the N objects with the smallest p-values since noon at the telescope; with --since
        or --from-beginning of all that is read, until the next noon. An object of an earlier night returns
        only if new data made it stranger; where the survey withdraws an alert, its object stands with its
        other ones or leaves. The table is shown as it changes, JSON at the end. With a webhook each verdict
        that enters the ranking is posted, when it comes or when another is withdrawn, and the retraction of
        what was posted.
    context
        Only what the packet says is of this kind; by default stellar with --strangest, else any.
    classes
        Only this class; a catalogue's spelling or a kind of classes (pulsating) will do. May be repeated.
    min_probability
        Only if one of those classes is at least this probable, or the top class if none is named.
    max_p_value
        Only if the anomaly p-value is at most this.
    min_brightening
        Only if the detection is this many magnitudes brighter than what the reference image has there.
    watch
        Only what is on this watch list: a CSV file with a column object_id, or with columns ra, dec
        (degrees), radius (arcsec; or radius_arcmin, radius_deg) and name; or VizieR's text, or a VOTable. The
        names are shown.
    cone
        Only what lies in RA,DEC,ARCSEC. May be repeated, and adds to the others.
    object_ids
        Only this object (ztf:ZTF18abcdefg, or without the survey); another word is refused. May be repeated,
        and adds to the others.
    radius
        Radius of a watch list's rows that have none, arcsec.
    only
        new: objects that were not shown before. changed: objects that were seen with another top class, or
        another p-value by --change-factor. When the survey withdraws an alert of what was shown, that is
        shown as well, with all too.
    change_factor
        Factor between two p-values of an object that is a change.
    memory
        File that keeps what --only needs, and what was shown, for the next time.
    tense
        Only verdicts of this tense: current is the sky now; replays are archival. By default any, and
        current with a webhook.
    webhook
        Post each verdict to this address as JSON, {"text": ..., "verdict": {...}}; Slack shows the text. What
        is not delivered is tried again and not committed. A secret header, NAME: VALUE, is taken from
        ASTROM3_WEBHOOK_HEADER, or from the file that ASTROM3_WEBHOOK_HEADER_FILE names.
    webhook_file
        File that holds the address, where it is a secret itself.
    output_format
        A table for people, or JSON lines.
    limit
        Stop after so many verdicts that were asked for; with a webhook also posted is what enters the
        ranking for the last one, if that is a retraction.
    timeout_s
        Stop when nothing has come, or could be read, for so many seconds; if the webhook took nothing for so
        long, with status 75.
    registry
        URL of the schema registry, where the verdicts are framed.
    config
        The settings of run, a TOML file; the environment counts too.
    """
    configure_logging(level="warning")
    address = _webhook_address(webhook, webhook_file)
    in_the_past = from_beginning or bool(since)
    listing = make_listing(output_format, strangest, Console(), from_start=in_the_past)
    stop = threading.Event()
    with stop_on_signal(stop):
        try:
            with (
                open_subscription(
                    topic,
                    bootstrap=bootstrap,
                    group=group,
                    from_beginning=from_beginning,
                    since=parse_moment(since) if since else None,
                    # Shown as a ranking, all that is asked for counts; posted, what enters it.
                    strangest=strangest if address else None,
                    context=context or ("any" if strangest is None else "stellar"),
                    classes=classes or (),
                    min_probability=min_probability,
                    max_p_value=max_p_value,
                    min_brightening_mag=min_brightening,
                    watch=_watch_list(watch, cone, object_ids, radius),
                    only=only,
                    change_factor=change_factor,
                    # What is shown as a ranking may rest on any of them, however long ago it came.
                    retractions="told" if strangest is None or address else "all",
                    memory=memory,
                    tense=tense or ("current" if address else "any"),
                    limit=limit,
                    timeout_s=timeout_s,
                    registry=registry,
                    config=config,
                    stop=stop,
                    warn=_warn,
                    after_poll=listing.show,
                ) as verdicts,
                _webhook(address, verdicts, timeout_s) if address else nullcontext() as hook,
                listing,
            ):
                _follow(verdicts, listing, hook)
                if listing.is_empty:
                    ranked = strangest is not None and bool(verdicts.n_wanted or address)
                    _warn(
                        _nothing(verdicts, group, from_beginning=from_beginning, since=since, ranked=ranked)
                    )
        except BrokenPipeError:
            if not discard_output():
                raise
    return 0


def _follow(verdicts: Subscription[Verdict], listing: Listing, hook: Webhook | None) -> None:
    for verdict in verdicts:
        watched = verdicts.watched
        if hook is not None and not hook.deliver(verdict, watched=watched):
            verdicts.give_back()
            break
        listing.add(verdict, datetime.now().astimezone(), watched=watched)


def _nothing(
    verdicts: Subscription[Verdict],
    group: str | None,
    *,
    from_beginning: bool,
    since: str | None,
    ranked: bool,
) -> str:
    """Return what there is to say where nothing was shown; `ranked` if a noon may be why."""
    if verdicts.n_read and ranked:
        past = "" if from_beginning or since else "; with --since or --from-beginning earlier ones count too"
        return f"{counted(verdicts.n_read, 'verdict')} read, none asked for since the last noon{past}"
    if verdicts.n_read:
        return f"{counted(verdicts.n_read, 'verdict')} read, none of them asked for"
    if verdicts.n_skipped:
        return f"no verdict came; {counted(verdicts.n_skipped, 'message')} skipped, which hold none"
    if not (from_beginning or since):
        past = "what is on the topic already comes with --from-beginning or --since, to a new group"
        return f"no verdict came; {past}"
    if group:
        return f"no verdict came; the topic has no message that group {group} has not read"
    return f"no verdict came; the topic has no message{f' since {since}' if since else ''}"


def _watch_list(
    path: Path | None, cones: tuple[str, ...] | None, object_ids: tuple[str, ...] | None, radius_arcsec: float
) -> WatchList | None:
    named = WatchList([Cone.parse(text) for text in cones or ()], object_ids or ())
    if path is not None:
        return read_watch_list(path, radius_arcsec=radius_arcsec, warn=_warn) | named
    return named if len(named) else None


def _webhook_address(url: str | None, path: Path | None) -> str | None:
    if url and path:
        raise ConfigurationError("--webhook and --webhook-file are both set", remedy="leave one out")
    return read_secret(secret_path(str(path)), "--webhook-file").strip() if path else url


def _webhook(url: str, verdicts: Subscription[Verdict], timeout_s: float | None) -> Webhook:
    header, path = os.environ.get(HEADER), os.environ.get(f"{HEADER}_FILE")
    if path:
        header = read_secret(secret_path(path), f"{HEADER}_FILE")
    return Webhook(url, header=header, give_up_s=timeout_s, wait=verdicts.wait, warn=_warn)


def _warn(text: str) -> None:
    sys.stderr.write(f"broker-plugin: {text}\n")
