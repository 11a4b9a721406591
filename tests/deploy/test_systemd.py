# SPDX-License-Identifier: BSD-3-Clause
"""The unit is one that systemd takes, and leaves the service few rights."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.artefacts import REPOSITORY
from tests.support.tiers import unavailable

UNIT = REPOSITORY / "deploy/systemd/astrom3-broker@.service"

WORST = 3.0
"""Of systemd's own measure of exposure, from 0 to 10; a unit without any of this has 9."""


@pytest.fixture
def analyze() -> str:
    program = shutil.which("systemd-analyze")
    if program is None:
        unavailable("no systemd-analyze, which comes with systemd")
    return program


@pytest.fixture
def unit(tmp_path: Path) -> Path:
    """The unit, with the program where it is here."""
    place = tmp_path / UNIT.name
    program = Path(sys.executable).with_name("broker-plugin")
    place.write_text(UNIT.read_text().replace("/opt/astrom3/bin/broker-plugin", str(program)))
    return place


def test_systemd_finds_the_unit_sound(analyze: str, unit: Path) -> None:
    done = subprocess.run([analyze, "verify", unit], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_systemd_refuses_what_is_wrong(analyze: str, unit: Path) -> None:
    unit.write_text(unit.read_text().replace("ProtectClock=yes", "ProtectClocks=yes"))
    done = subprocess.run([analyze, "verify", unit], capture_output=True, text=True, check=False)
    assert "ProtectClocks" in done.stderr


def test_the_service_is_little_exposed(analyze: str, unit: Path) -> None:
    done = subprocess.run(
        [analyze, "security", "--offline=yes", "--no-pager", unit],
        capture_output=True,
        text=True,
        check=False,
    )
    found = re.search(r"Overall exposure level for .*: ([\d.]+)", done.stdout)
    assert found is not None, done.stderr
    assert float(found[1]) < WORST


def test_a_restart_is_left_out_where_it_does_not_help() -> None:
    text = UNIT.read_text()
    assert "Restart=always" in text
    assert "RestartPreventExitStatus=2\n" in text
