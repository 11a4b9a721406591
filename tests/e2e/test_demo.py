# SPDX-License-Identifier: BSD-3-Clause
"""`broker-plugin demo` as a newcomer types it: no server, a table, a report, an exit status."""

import csv
import re
import subprocess
import sys
from pathlib import Path

import pytest

TIMEOUT_S = 240
"""A small night takes seconds; a busy machine is slower."""


def demo(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "broker_plugin", "demo", "--device", "cpu", *arguments],
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )


def counts(output: str) -> tuple[int, int, int, int]:
    """Return played, verdicts, dead letters and in flight of the last line of the books."""
    books = r"([\d,]+) played = ([\d,]+) verdicts \+ ([\d,]+) dead letters \+ ([\d,]+) in flight"
    found = re.findall(books, " ".join(output.split()))[-1]
    played, verdicts, dead_letters, in_flight = (int(number.replace(",", "")) for number in found)
    return played, verdicts, dead_letters, in_flight


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> tuple[subprocess.CompletedProcess[str], Path]:
    out = tmp_path_factory.mktemp("demo") / "report"
    return demo("--n-alerts", "80", "--seed", "4", "--out", str(out)), out


def test_a_simulated_night_ends_well(simulated: tuple[subprocess.CompletedProcess[str], Path]) -> None:
    done, _ = simulated
    assert done.returncode == 0, done.stderr
    played, verdicts, dead_letters, in_flight = counts(done.stdout)
    assert played == verdicts + dead_letters
    assert dead_letters == 5
    assert in_flight == 0
    assert verdicts >= 80
    assert done.stderr == ""


def test_its_report_holds_what_the_table_counted(
    simulated: tuple[subprocess.CompletedProcess[str], Path],
) -> None:
    done, out = simulated
    played, verdicts, dead_letters, _ = counts(done.stdout)
    html = (out / "index.html").read_text("utf-8")
    assert f"{played} in = {verdicts} verdicts + {dead_letters} dead letters" in html
    assert "SIMULATED" in html
    with (out / "targets.csv").open(newline="", encoding="utf-8") as handle:
        names = [row["object_id"] for row in csv.DictReader(handle)]
    assert len(names) == len(set(names)) > 50
    assert all(name in html for name in names)


def test_real_alerts_go_the_same_way(data_dir: Path, tmp_path: Path) -> None:
    alerts = (
        data_dir / "alerts/lsst/lsst_v9_0_nocutouts.avro",
        data_dir / "alerts/lsst/raw/fink-broker_v7_4",
    )
    done = demo("--alerts", *map(str, alerts), "--out", str(tmp_path / "report"))
    assert done.returncode == 0, done.stderr
    played, verdicts, dead_letters, _ = counts(done.stdout)
    assert played == verdicts == 229 + len(list(alerts[1].iterdir()))
    assert dead_letters == 0
    html = (tmp_path / "report/index.html").read_text("utf-8")
    assert "SIMULATED" not in html
    assert "fink-portal.org" in html


def test_a_wrong_path_stops_with_advice(tmp_path: Path) -> None:
    done = demo("--alerts", str(tmp_path / "nowhere"), "--out", str(tmp_path / "report"))
    assert done.returncode == 2
    assert "does not exist" in done.stderr
    assert "Traceback" not in done.stderr
