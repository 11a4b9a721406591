# SPDX-License-Identifier: BSD-3-Clause
"""The live table fits its terminal and keeps the books."""

import io

import pytest
from rich.console import Console

from broker_plugin.demo.findings import Playback, ScoredObject, rank_objects
from broker_plugin.demo.night import Progress
from broker_plugin.demo.table import NightTable, books
from broker_plugin.engine.explanation import one_in


@pytest.fixture
def progress(playback: Playback) -> Progress:
    return Progress(
        played=playback.played + 7,
        lag=12,
        started=0.0,
        ended=4.0,
        verdicts=list(playback.verdicts),
        dead_letters=list(playback.dead_letters),
    )


def screen(progress: Progress, *, width: int, height: int = 40) -> list[str]:
    console = Console(file=io.StringIO(), width=width, height=height, force_terminal=True, color_system=None)
    console.print(NightTable(console, title="A night").render(progress))
    file = console.file
    assert isinstance(file, io.StringIO)
    return file.getvalue().splitlines()


@pytest.mark.parametrize("width", [80, 120, 160, 220])
def test_the_screen_fits_the_terminal(progress: Progress, width: int) -> None:
    lines = screen(progress, width=width)
    assert len(lines) <= 40
    assert max(len(line) for line in lines) <= width


def ranked_stars(progress: Progress) -> list[ScoredObject]:
    return rank_objects([verdict for verdict in progress.verdicts if verdict.source_context == "stellar"])


@pytest.mark.parametrize("width", [80, 120, 160, 220])
def test_the_strangest_come_first_with_their_odds_whole(progress: Progress, width: int) -> None:
    text = "\n".join(screen(progress, width=width))
    places = []
    for scored in ranked_stars(progress)[:4]:
        verdict = scored.verdict
        odds = f"{one_in(verdict.anomaly_p_value, verdict.calibration_n)} (n={verdict.calibration_n:,})"
        line = next(line for line in text.splitlines() if verdict.object_id in line)
        assert odds in line
        places.append(text.index(line))
    assert places == sorted(places)


@pytest.mark.parametrize("width", [80, 220])
def test_a_row_says_what_the_verdict_rests_on(progress: Progress, width: int) -> None:
    verdict = ranked_stars(progress)[0].verdict
    text = "\n".join(screen(progress, width=width))
    band, count = next(iter(verdict.n_epochs_by_band.items()))
    assert f"{band.rpartition('_')[2]}{count}" in text
    assert "curve" in text
    last_reason = verdict.explanation.split("; ")[-1]
    assert last_reason[:10] in text


def test_the_books_always_balance(progress: Progress) -> None:
    said = books(progress).plain
    n = len(progress.verdicts)
    assert f"{n + 8} played = {n} verdicts + 1 dead letter + 7 in flight" in said
    assert "lag 12" in said
    assert f"{(n + 1) / 4:,.0f} messages/s" in said


def test_without_a_terminal_there_are_lines_and_a_final_table(progress: Progress) -> None:
    out = io.StringIO()
    console = Console(file=out, width=80)
    with NightTable(console, title="A night") as table:
        table.watch(progress)
        table.watch(progress)  # too soon for a second line
    table.finish()
    text = out.getvalue()
    assert "\x1b" not in text
    assert text.count("in flight") == 2
    assert ranked_stars(progress)[0].verdict.object_id in text


def test_an_empty_night_can_be_shown() -> None:
    assert any("0 played = 0 verdicts" in line for line in screen(Progress(), width=80))


@pytest.mark.parametrize("width", [80, 160])
def test_no_two_cells_touch(progress: Progress, width: int) -> None:
    long = progress.verdicts[0]._replace(object_id="lsst:src:9100000000000000000", source_context="unknown")
    shown = next(line for line in screen(Progress(verdicts=[long]), width=width) if long.object_id in line)
    assert f"{long.object_id} " in shown
    assert "unknown source " in shown
