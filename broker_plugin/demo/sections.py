# SPDX-License-Identifier: BSD-3-Clause
"""The sections of the report: planted oddities, the strangest objects, the whole night, every object."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from html import escape

from broker_plugin.codec.verdict import Verdict
from broker_plugin.demo.cards import Profiles, card, context_name
from broker_plugin.demo.findings import (
    FOUND_FACTOR,
    Confusion,
    DeadLetter,
    PlantedOutcome,
    Playback,
    ScoredObject,
    confusion,
    found_by_chance,
    found_limit,
    p_value_histogram,
    planted_outcomes,
    planted_sentence,
)
from broker_plugin.demo.markup import confusion_table, html_table
from broker_plugin.demo.night_figures import histogram_figure, sky_figure
from broker_plugin.demo.targets import TARGETS_NAME
from broker_plugin.engine.explanation import one_in

__all__ = ["CARDS", "night_section", "objects_section", "planted_section", "strangest_section"]

CARDS = 20
"""Objects that get a card: about what a person looks through before a night."""

NOTES_SHOWN = 3
"""Different remarks that are shown for one reason of rejection."""


def planted_section(playback: Playback, ranked: Sequence[ScoredObject]) -> str:
    """Return what became of the planted oddities, or nothing where none were planted."""
    if playback.night is None or not playback.night.planted:
        return ""
    outcomes = planted_outcomes(playback.night, ranked)
    n_found = sum(outcome.found for outcome in outcomes)
    limit = found_limit(len(outcomes))
    n_stellar = sum(scored.verdict.class_applies for scored in ranked)
    by_chance = found_by_chance(len(outcomes), n_stellar)
    said = (
        f"{n_found} of {len(outcomes)} found."
        if n_stellar > limit
        else planted_sentence(playback.night, ranked)
    )
    table = html_table(
        ("Outcome", "#Rank among stars", "#Rank of all", "#Odds", "Simulated as", "What is odd", "Object"),
        [_planted_row(outcome) for outcome in outcomes],
    )
    return (
        f"<p><strong>{said}</strong> Found means: among the {limit} strangest "
        f"of the night's {n_stellar} stellar objects by p-value, {limit} being {FOUND_FACTOR} times the "
        f"number planted; this was fixed before any night was played. Picking {limit} of them blindly would "
        f"find {by_chance:.1f} on average. Those marked hard change by little, or where few epochs look.</p>"
        f'<div class="panel scroll">{table}</div>'
    )


def strangest_section(playback: Playback, ranked: Sequence[ScoredObject], profiles: Profiles) -> str:
    """Return the cards of the strangest objects."""
    if not ranked:
        return "<p>No alert became a verdict.</p>"
    cards = "".join(card(scored, playback, profiles) for scored in ranked[:CARDS])
    return (
        f"<p>The {min(CARDS, len(ranked))} strangest objects of all kinds, by p-value and then by score. "
        "Left, what was measured; right, the same folded at the period that was found (at twice it where the "
        "object seems an eclipsing binary, whose two eclipses the search cannot tell apart), with the "
        "nearest labelled objects' mean light curves, shifted and stretched to fit. The model was trained on "
        "periodic variable stars: supernovae, galaxies and asteroids are rightly strange to it.</p>"
        f'<div class="cards">{cards}</div>'
    )


def night_section(playback: Playback, ranked: Sequence[ScoredObject]) -> str:
    """Return the night as a whole: p-values, sky, confusion, contexts, dead letters."""
    stellar = [v.anomaly_p_value for v in playback.verdicts if v.class_applies]
    others = [v.anomaly_p_value for v in playback.verdicts if not v.class_applies]
    panels = [
        f"<h3>p-values</h3>{histogram_figure(p_value_histogram(stellar), p_value_histogram(others))}"
        f"<p>Blue: {len(stellar)} verdicts on stellar sources. Grey, on top: {len(others)} on all others. "
        "A heap at the left is what is strange; a slope of the rest says how well the stars of the "
        "calibration stand for these.</p>",
        f"<h3>On the sky</h3>{sky_figure(ranked, n_strangest=CARDS)}"
        f"<p>Triangles: ZTF; circles: LSST; filled: the {CARDS} strangest, the first five numbered.</p>",
    ]
    if playback.night is not None:
        panels.append(_confusion(confusion(playback.night, playback.verdicts)))
    panels.append(f"<h3>What the packets say the sources are</h3>{_contexts(playback)}")
    panels.append(f"<h3>Dead letters, by reason</h3>{_dead_letters(playback.dead_letters)}")
    return '<div class="pair">' + "".join(f'<div class="panel scroll">{p}</div>' for p in panels) + "</div>"


def objects_section(ranked: Sequence[ScoredObject]) -> str:
    """Return every object that was scored, as a table that can be opened."""
    table = html_table(
        ("#Rank", "Object", "Context", "Top class (p)", "#Odds", "#n", "#Epochs"),
        [_object_row(scored) for scored in ranked],
    )
    return (
        f'<p>All {len(ranked)} objects that were scored, also in <a href="{TARGETS_NAME}" download>'
        f"{TARGETS_NAME}</a> with positions and reasons.</p><details><summary>Show the table</summary>"
        f'<div class="panel scroll">{table}</div></details>'
    )


def _planted_row(outcome: PlantedOutcome) -> tuple[str, ...]:
    source, verdict = outcome.thing.source, outcome.verdict
    name = escape(outcome.thing.object_id)
    if outcome.rank is not None and outcome.rank <= CARDS:
        name = f'<a href="#rank-{outcome.rank}">{name}</a>'
    mark = ("found", "✓ found") if outcome.found else ("missed", "✗ missed")
    hard = ' <span class="chip">hard</span>' if source.hard else ""
    return (
        f'<span class="mark {mark[0]}">{mark[1]}</span>',
        str(outcome.stellar_rank or "-"),
        str(outcome.rank or "-"),
        "not scored" if verdict is None else f"{_odds(verdict)} (n = {verdict.calibration_n:,})",
        escape(source.kind),
        escape(source.planted or "") + hard,
        name,
    )


def _object_row(scored: ScoredObject) -> tuple[str, ...]:
    verdict = scored.verdict
    top = "-"
    if verdict.top_class is not None and verdict.top_class_probability is not None:
        top = f"{escape(verdict.top_class)} ({verdict.top_class_probability:.2f})"
    return (
        str(scored.rank),
        f"<code>{escape(verdict.object_id)}</code>",
        escape(context_name(verdict.source_context)),
        top,
        _odds(verdict),
        f"{verdict.calibration_n:,}",
        str(verdict.n_epochs),
    )


def _odds(verdict: Verdict) -> str:
    return escape(one_in(verdict.anomaly_p_value, verdict.calibration_n))


def _contexts(playback: Playback) -> str:
    counts = Counter(verdict.source_context for verdict in playback.verdicts)
    rows = [(escape(context_name(name)), f"{count:,}") for name, count in counts.most_common()]
    return html_table(("Context", "#Verdicts"), rows) + "<p>The classes describe stars only.</p>"


def _dead_letters(letters: Sequence[DeadLetter]) -> str:
    if not letters:
        return "<p>None: every message became a verdict.</p>"
    rows = []
    for reason, count in Counter(letter.reason for letter in letters).most_common():
        remarks = {_remark(letter) for letter in letters if letter.reason == reason}
        shown = "<br>".join(escape(remark) for remark in sorted(remarks)[:NOTES_SHOWN])
        rows.append((f"<code>{escape(reason)}</code>", str(count), shown))
    return html_table(("Reason", "#Messages", "What was found"), rows)


def _remark(letter: DeadLetter) -> str:
    return f"{letter.note}: {letter.detail}" if letter.note else letter.detail


def _confusion(matrix: Confusion) -> str:
    table = confusion_table(matrix.classes, matrix.counts.tolist(), corner="simulated as, said to be")
    n_objects = int(matrix.counts.sum())
    share = (
        "" if matrix.accuracy is None else f"{matrix.accuracy:.0%} of {n_objects} objects on the diagonal. "
    )
    return (
        f"<h3>Confusion</h3>{table}"
        f"<p>{share}Ordinary variable stars only, each by its last verdict; planted objects are left out, "
        "being not what they seem. The stars are simulated, and the model was trained on real ones.</p>"
    )
