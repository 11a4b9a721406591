# SPDX-License-Identifier: BSD-3-Clause
"""The table of an audit can be read on any terminal: no number is cut, whatever the topics are called."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import date

import pytest

from broker_plugin.commands.audit import show
from broker_plugin.pipeline.audit import PartitionAudit
from broker_plugin.pipeline.offset_ranges import OffsetRanges
from broker_plugin.settings import Settings

NIGHT = date(2026, 11, 27)

FOUND = PartitionAudit(
    topic="ztf_20261127_programid1",
    partition=3,
    first_offset=100_000_000,
    last_offset=100_015_234,
    messages=15_235,
    verdicts=15_230,
    dead_letters=5,
    duplicates=0,
    differing=0,
    missing=OffsetRanges(),
    recorded=15_235,
)


def shown(
    found: PartitionAudit, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> list[str]:
    for name, value in {"COLUMNS": "80", "FORCE_COLOR": "1", "NO_COLOR": "1", "TERM": "xterm"}.items():
        monkeypatch.setenv(name, value)
    show(Settings(survey="ztf", input="alerts"), NIGHT, [found])
    return re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out).splitlines()


@pytest.mark.parametrize("topic", [FOUND.topic, "a.very.long.topic.of.some.cluster.in.a.country.far.away"])
@pytest.mark.parametrize("repeated", [0, 1_234])
def test_no_number_is_cut(
    topic: str, repeated: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = replace(FOUND, topic=topic, duplicates=repeated, redone=repeated)
    lines = shown(found, monkeypatch, capsys)
    assert max(map(len, lines)) <= 80
    words = " ".join(lines).split()
    for number in ("100000000", "100015234", "15235", "15230", "5"):
        assert number in words
    assert words.count("15235") == 3, "messages, those in the ledger, and all in the end"
    assert words.count("1234") == (2 if repeated else 0)
    assert ("twice" in words) == bool(repeated)


def test_what_is_missing_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = replace(FOUND, first_offset=0, last_offset=9, missing=OffsetRanges([(3, 5), (7, 7)]))
    text = " ".join(" ".join(shown(found, monkeypatch, capsys)).split())
    assert "3-5, 7" in text
    assert "NOT complete: 4 of 15235 messages are not accounted for" in text


def test_a_message_that_both_witnesses_lack_is_counted_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = replace(FOUND, missing=OffsetRanges(((3, 5),)), unrecorded=OffsetRanges(((5, 6),)))
    text = " ".join(" ".join(shown(found, monkeypatch, capsys)).split())
    assert "NOT complete: 4 of 15235 messages are not accounted for" in text
