# SPDX-License-Identifier: BSD-3-Clause
"""`broker-plugin demo`: a night of alerts through the consumer, a live table and a report, no server."""

from __future__ import annotations

import tempfile
import threading
import webbrowser
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter, validators
from rich.console import Console
from rich.text import Text

from broker_plugin.codec.decoder import Decoder
from broker_plugin.codec.schemas import SchemaStore
from broker_plugin.demo.cards import reference_profiles
from broker_plugin.demo.findings import Playback, planted_sentence, rank_objects
from broker_plugin.demo.night import play
from broker_plugin.demo.packets import write_schemas
from broker_plugin.demo.playlist import Track, archive_tracks, night_tracks
from broker_plugin.demo.report import write_report
from broker_plugin.demo.simulator import Night, simulate_night
from broker_plugin.demo.table import NightTable
from broker_plugin.demo.targets import TARGETS_NAME
from broker_plugin.engine.providers import Device
from broker_plugin.engine.scorer import Scorer
from broker_plugin.service.bundle_choice import chosen_bundle
from broker_plugin.service.logging import quieten
from broker_plugin.signals import stop_on_signal
from broker_plugin.streams.output_files import cannot_write, prepare_folder
from broker_plugin.surveys.registry import adapters

__all__ = ["demo"]

EXIT_LOST = 1
"""What went in did not come out."""


def demo(
    *,
    alerts: Annotated[list[Path] | None, Parameter(consume_multiple=True, negative="")] = None,
    out: Path = Path("demo-report"),
    n_alerts: Annotated[int, Parameter(validator=validators.Number(gte=1))] = 400,
    seed: Annotated[int, Parameter(validator=validators.Number(gte=0))] = 1,
    bundle: str = "default",
    bundles: Path | None = None,
    device: Device = Device.AUTO,
    schemas: Path | None = None,
    open_browser: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Play a night of alerts through the consumer and write a report; no server is needed.

    A Kafka cluster inside this process stands between a simulated survey, the consumer that `run` is, and a
    subscriber who reads the verdicts back. The exit status is 1 if what went in did not come out. Ctrl-C ends
    the night early, with a report of what was played.

    Parameters
    ----------
    alerts
        Real packets to play instead of a simulated night: Avro files, directories, tar archives.
    out
        Folder of the report.
    n_alerts
        Size of the simulated night; it is larger where the planted oddities alone raise more alerts.
    seed
        Equal seeds give equal nights; 0 or more.
    bundle
        NAME of a bundle, in the repository or installed; NAME@VERSION in the repository; or a directory.
    bundles
        Repository of bundles, a directory; by default ASTROM3_BUNDLES.
    device
        Where the encoders run; only auto may choose.
    schemas
        Directory of alert schemas, for framed packets.
    open_browser
        Open the report when it is written.
    """
    quieten()
    prepare_folder(out)
    console = Console()
    night = None if alerts else simulate_night(seed, n_alerts=n_alerts)
    tracks = archive_tracks(alerts or []) if night is None else night_tracks(night)
    scorer = Scorer.open(chosen_bundle(bundle, bundles), device=device)
    console.print(_opening(scorer), highlight=False, soft_wrap=True)
    scorer.warm_up()
    playback = _play(console, tracks, scorer, night=night, schemas=schemas)
    page = write_report(out, playback, reference_profiles(scorer.bundle))
    console.print(_closing(playback, page), highlight=False, soft_wrap=True)
    if open_browser:
        webbrowser.open(page.resolve().as_uri())
    return 0 if playback.adds_up else EXIT_LOST


def _play(
    console: Console, tracks: Iterable[Track], scorer: Scorer, *, night: Night | None, schemas: Path | None
) -> Playback:
    title = "Real alerts" if night is None else f"Simulated night {night.seed}"
    stop = threading.Event()
    with (
        stop_on_signal(stop),
        tempfile.TemporaryDirectory() as scratch,
        NightTable(console, title=title) as table,
    ):
        _write_schemas(Path(scratch))
        directories = [Path(scratch)] if schemas is None else [schemas, Path(scratch)]
        decoder = Decoder(schemas=SchemaStore(directories=directories), adapters=adapters())
        playback = play(tracks, scorer, decoder, watch=table.watch, night=night, stop=stop)
    table.finish()
    return playback


def _write_schemas(scratch: Path) -> None:
    try:
        write_schemas(scratch)
    except OSError as error:
        raise cannot_write(scratch, error) from error


def _opening(scorer: Scorer) -> Text:
    manifest = scorer.bundle.manifest
    text = Text(f"bundle {manifest.name} {manifest.version}, {scorer.provider.reason}\n", style="dim")
    for warning in scorer.provider.warnings:
        text.append(f"{warning}\n", style="yellow")
    return text


def _closing(playback: Playback, page: Path) -> Text:
    text = Text()
    if not playback.adds_up:
        text.append("Messages were lost or came twice; please report it.\n", "bold red")
    if playback.night is not None:
        text.append(f"{planted_sentence(playback.night, rank_objects(playback.verdicts))}\n")
    text.append(f"Report: {page.resolve().as_uri()}\nTargets: {page.with_name(TARGETS_NAME)}")
    return text
