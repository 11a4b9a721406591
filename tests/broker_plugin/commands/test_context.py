# SPDX-License-Identifier: BSD-3-Clause
"""`context load` says what it left out of a file and why, and fails where that is all of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from broker_plugin.cli import main


def load(folder: Path, rows: str, capsys: pytest.CaptureFixture[str]) -> tuple[object, str]:
    path = folder / "stars.csv"
    path.write_text(f"source_id,ra,dec,gmag\n{rows}")
    options = ["--source", "source_id", "--ra", "ra", "--dec", "dec", "--column", "reference_mag=gmag"]
    with pytest.raises(SystemExit) as ended:
        main(
            [
                "context",
                "load",
                str(path),
                "--catalogue",
                "c",
                *options,
                "--store",
                f"sqlite:{folder}/s.sqlite",
            ]
        )
    return ended.value.code, capsys.readouterr().err


def test_a_row_that_says_nothing_is_left_out_with_the_reason(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, said = load(tmp_path, "1,10.5,20,15\n2,11,21,16\n3,12,22,---\n", capsys)
    assert status == 0
    assert "stars.csv: no number from -2 to 40 for reference_mag in 1 cell of gmag, taken as empty" in said
    assert "left out of stars.csv: 1 row;" in said


def test_a_number_that_cannot_be_is_told_with_what_can(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, said = load(tmp_path, "1,10.5,20,15\n2,11,21,99.99\n", capsys)
    assert "stars.csv: no number from -2 to 40 for reference_mag in 1 cell of gmag, taken as empty" in said


def test_a_file_of_which_nothing_is_kept_is_a_failure_each_time(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for _ in range(2):
        status, said = load(tmp_path, "1,10.5,20,---\n", capsys)
        assert status == 1
        assert "left out of stars.csv: 1 row;" in said
