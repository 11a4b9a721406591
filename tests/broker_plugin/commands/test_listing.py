# SPDX-License-Identifier: BSD-3-Clause
"""What is shown has the names of the watch list, as a table and as JSON, one by one and ranked."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Literal

import pytest
from rich.console import Console

from broker_plugin.codec.verdict import Tense, to_json
from broker_plugin.commands.listing import make_listing
from tests.broker_plugin.client.verdicts import a_verdict, retraction_of

NOW = datetime(2026, 11, 24, 3, tzinfo=UTC)

VERDICTS = [
    a_verdict(n, object_id=f"lsst:{n}", anomaly_p_value=p, inputs_digest=str(n), emitted_at=NOW)
    for n, p in enumerate([0.5, 0.1, 0.3])
]

WATCHED = (["0"], ["1", "my nova"], ["M31\ncore\x1b"])


def shown(
    capsys: pytest.CaptureFixture[str], output: Literal["table", "json"], strangest: int | None
) -> list[str]:
    with make_listing(output, strangest, Console(width=80)) as listing:
        assert listing.is_empty
        for verdict, watched in zip(VERDICTS, WATCHED, strict=True):
            listing.add(verdict, NOW, watched=watched)
            listing.show()
        assert not listing.is_empty
    return capsys.readouterr().out.splitlines()


def test_json_has_the_names_beside_the_fields(capsys: pytest.CaptureFixture[str]) -> None:
    lines = [json.loads(line) for line in shown(capsys, "json", None)]
    assert [line.pop("watched") for line in lines] == [*WATCHED]
    assert lines == [json.loads(to_json(verdict)) for verdict in VERDICTS]
    ranked = [json.loads(line) for line in shown(capsys, "json", 2)]
    assert [line["watched"] for line in ranked] == [WATCHED[1], WATCHED[2]]


def test_what_moves_up_for_a_withdrawn_alert_is_shown_with_its_name(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with make_listing("json", 1, Console()) as listing:
        for verdict, watched in zip(VERDICTS, WATCHED, strict=True):
            listing.add(verdict, NOW, watched=watched)
        listing.add(retraction_of(VERDICTS[1]), NOW, watched=WATCHED[1])
    (line,) = capsys.readouterr().out.splitlines()
    assert json.loads(line)["object_id"] == VERDICTS[2].object_id
    assert json.loads(line)["watched"] == WATCHED[2]


@pytest.mark.parametrize("strangest", [None, 2])
def test_a_table_has_the_names_beneath_their_objects(
    capsys: pytest.CaptureFixture[str], strangest: int | None
) -> None:
    lines = shown(capsys, "table", strangest)
    for object_id, name in (("lsst:1", "my nova"), ("lsst:2", "M31?core?")):
        row = max(n for n, line in enumerate(lines) if object_id in line)
        assert lines[row + 1].split() == name.split()
    assert not any(line.split() == ["0"] for line in lines)  # the name that its row has already


@pytest.mark.parametrize("width", [80, 95, 120, 160])
def test_columns_of_a_growing_table_change_beneath_a_new_header_alone(
    capsys: pytest.CaptureFixture[str], width: int
) -> None:
    with make_listing("table", None, Console(width=width)) as listing:
        for tense in (Tense.CURRENT, Tense.ARCHIVAL, Tense.CURRENT, Tense.TEST):
            listing.add(VERDICTS[0]._replace(tense=tense), NOW)
    lines = capsys.readouterr().out.splitlines()
    headers = [n for n, line in enumerate(lines) if line.startswith("observed")]
    assert [("tense" in lines[n]) for n in headers] == [False, True]
    rows = [line for line in lines[headers[1] + 1 :] if "lsst:0" in line]
    place = lines[headers[1]].index("tense")
    assert [line[place:].split()[0] for line in rows] == ["archival", "current", "test"]


def test_without_a_watch_list_a_line_is_the_verdict(capsys: pytest.CaptureFixture[str]) -> None:
    with make_listing("json", None, Console()) as listing:
        listing.add(VERDICTS[0], NOW)
    assert capsys.readouterr().out == f"{to_json(VERDICTS[0])}\n"
