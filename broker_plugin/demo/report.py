# SPDX-License-Identifier: BSD-3-Clause
"""The report of a played night: one HTML page that needs nothing but itself, and a table of targets.

Only verdicts that were read back from the output topic are shown. The page has no script and loads nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from broker_plugin.demo.cards import Profiles
from broker_plugin.demo.findings import Playback, ScoredObject, rank_objects
from broker_plugin.demo.page import PageSection, definitions, render_page, tiles
from broker_plugin.demo.sections import (
    night_section,
    objects_section,
    planted_section,
    strangest_section,
)
from broker_plugin.demo.targets import TARGETS_NAME, targets_text
from broker_plugin.engine.explanation import counted
from broker_plugin.streams.output_files import cannot_write, complete_files

__all__ = ["REPORT_NAME", "render_report", "write_report"]

REPORT_NAME = "index.html"

BANNER = "SIMULATED NIGHT: nothing on this page is on the sky"


def write_report(folder: Path, playback: Playback, profiles: Profiles) -> Path:
    """Write the page and the targets into a folder, both or neither, and return the page's path.

    Raises
    ------
    ConfigurationError
        If they cannot be written.
    """
    page = folder / REPORT_NAME
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise cannot_write(folder, error) from error
    with complete_files(page, folder / TARGETS_NAME) as (page_handle, targets_handle):
        page_handle.write(render_report(playback, profiles).encode())
        targets_handle.write(targets_text(rank_objects(playback.verdicts)).encode())
    return page


def render_report(playback: Playback, profiles: Profiles) -> str:
    """Return the page."""
    ranked = rank_objects(playback.verdicts)
    parts = [
        ("planted", "Planted oddities", planted_section(playback, ranked)),
        ("strangest", "The strangest", strangest_section(playback, ranked, profiles)),
        (
            "night",
            "The whole night" if playback.night is not None else "All of them",
            night_section(playback, ranked),
        ),
        ("objects", "Every object", objects_section(ranked)),
    ]
    return render_page(
        title=_headline(playback),
        eyebrow="astrom3-broker · demonstration",
        lede=_lede(playback),
        head=_tiles(playback, ranked) + _equation(playback),
        sections=[PageSection(name=name, title=title, body=body) for name, title, body in parts if body],
        colophon=_colophon(playback),
        links=f'<a href="{TARGETS_NAME}" download>{TARGETS_NAME}</a>',
        banner="" if playback.night is None else BANNER,
    )


def _headline(playback: Playback) -> str:
    return "One simulated night of alerts" if playback.night is not None else "Alerts, scored"


def _lede(playback: Playback) -> str:
    n_objects = len({verdict.object_id for verdict in playback.verdicts})
    surveys = " and ".join(sorted({verdict.survey.upper() for verdict in playback.verdicts}))
    where = "made by a simulator in the surveys' own formats" if playback.night else "read from files"
    return (
        f"{playback.played:,} messages {where} went through Kafka to the same consumer that runs in service. "
        f"It says of each alert of {n_objects:,} objects in {surveys or 'no survey'} what kind of star it "
        "resembles and how strange it is: an object is 1 in N if one in N ordinary stars, with as many "
        "epochs and the same kinds of data, looks at least as strange to the model."
    )


def _tiles(playback: Playback, ranked: Sequence[ScoredObject]) -> str:
    waits = [(verdict.emitted_at - verdict.received_at).total_seconds() for verdict in playback.verdicts]
    rate = playback.played / playback.seconds if playback.seconds > 0 else 0.0
    facts = [
        (f"{playback.played:,}", "messages played"),
        (f"{len(playback.verdicts):,}", "verdicts"),
        (f"{len(playback.dead_letters):,}", "dead letters"),
        (f"{len(ranked):,}", "objects"),
        (f"{rate:,.0f} /s", f"over {playback.seconds:.1f} s, paced"),
        (f"{1000 * float(np.median(waits)) if waits else 0:,.0f} ms", "median, received to verdict"),
    ]
    return tiles(facts)


def _equation(playback: Playback) -> str:
    right = len(playback.verdicts) + len(playback.dead_letters)
    sign = "=" if playback.adds_up else "≠"
    said = "nothing was lost" if playback.adds_up else "messages were lost or came twice"
    return (
        f'<p class="equation {"right" if playback.adds_up else "wrong"}"><strong>{playback.played:,} in '
        f"{sign} {counted(len(playback.verdicts), 'verdict')} + "
        f"{counted(len(playback.dead_letters), 'dead letter')}</strong> ({right:,}): {said}.</p>"
    )


def _colophon(playback: Playback) -> str:
    if not playback.verdicts:
        return "<p>No verdicts.</p>"
    one = playback.verdicts[0]
    facts = [
        ("Bundle", f"{one.bundle_name}, digest {one.bundle_digest}"),
        ("Classes", f"{one.taxonomy}; prior: {one.class_prior}"),
        ("Computed on", f"{one.provider}, {one.precision}"),
        ("Version", f"astrom3-broker {one.plugin_version}, feature spec {one.feature_spec_version}"),
        ("Tense", f"{one.tense}: no telescope may be triggered by these verdicts"),
        ("Rate", f"{playback.played / playback.seconds if playback.seconds else 0:,.1f} messages/s, paced"),
    ]
    if playback.night is not None:
        facts.append(("Seed", str(playback.night.seed)))
    return definitions(facts)
