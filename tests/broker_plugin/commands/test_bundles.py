# SPDX-License-Identifier: BSD-3-Clause
"""`bundles` from the command line, as an operator types it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from broker_plugin.bundle import open_bundle
from broker_plugin.cli import main
from tests.support.bundles import make_bundle

INSTALLED = open_bundle("default")

Call = Callable[..., tuple[int, str]]


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    root = tmp_path / "bundles"
    root.mkdir()
    monkeypatch.setenv("ASTROM3_BUNDLES", str(root))
    monkeypatch.setenv("COLUMNS", "200")
    return root


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]) -> Call:
    """Call of the command line that returns its exit status and what it said."""

    def run(*arguments: str) -> tuple[int, str]:
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        said = capsys.readouterr()
        assert "Traceback" not in said.err
        return int(ended.value.code or 0), said.out + said.err

    return run


@pytest.mark.usefixtures("repository")
def test_from_adding_to_removing(call: Call, tmp_path: Path) -> None:
    newer = make_bundle(tmp_path / "newer", version="9.1", temperature=2.0)
    assert call("bundles", "add", "default")[0] == 0
    assert call("bundles", "promote", "default", "--now")[0] == 0
    status, said = call("bundles", "add", str(newer))
    assert (status, "added default@9.1" in said) == (0, True)
    status, said = call("bundles", "promote", "default@9.1", "--note", "better")
    assert (status, said.count("local noon")) == (0, 2)
    rows = {row["bundle"]: row for row in map(json.loads, call("bundles", "list", "--json")[1].splitlines())}
    installed = f"default@{INSTALLED.manifest.version}"
    assert rows[installed]["in_force"] == "ztf, lsst"
    assert rows[installed]["digest"] == INSTALLED.digest
    assert rows["default@9.1"]["in_force"].startswith("ztf from ")
    assert rows["default@9.1"]["promoted"].endswith(": better")
    assert "default@9.1" in call("bundles", "list")[1]
    assert call("bundles", "remove", "default@9.1")[0] == 2
    assert call("bundles", "rollback", "default")[0] == 0
    assert call("bundles", "verify", "--rehearsal")[0] == 0
    assert call("bundles", "remove", "default@9.1")[0] == 0
    assert "9.1" not in call("bundles", "list")[1]


def test_what_is_done_is_not_called_a_failure_for_the_journals_sake(call: Call, repository: Path) -> None:
    (repository / "journal.jsonl").symlink_to("/dev/full")
    status, said = call("bundles", "add", "default", "--as", "mine@2")
    assert (status, "added mine@2" in said) == (0, True)
    assert "journal.jsonl does not say so (No space left on device)" in said
    status, said = call("bundles", "promote", "mine@2", "--now")
    assert (status, said.count("mine@2")) == (0, 2)
    assert "journal.jsonl does not say so (No space left on device)" in said
    assert json.loads(call("bundles", "list", "--json")[1])["in_force"] == "ztf, lsst"


def test_what_is_spoilt_is_told_by_list_and_verify(call: Call, repository: Path) -> None:
    call("bundles", "add", "default", "--as", "mine@1")
    (repository / "mine" / "1" / "head.onnx").write_bytes(b"cut")
    assert "REFUSED" in call("bundles", "list")[1]
    status, said = call("bundles", "verify")
    assert (status, "SHA-256" in said) == (1, True)
    assert call("bundles", "promote", "mine", "--now")[0] == 2


def test_the_overview_has_a_line_for_every_command(call: Call) -> None:
    status, said = call("bundles", "--help")
    assert (status, "Compare the verdicts of two bundles" in said) == (0, True)


def test_promotions_that_cannot_be_read_hide_no_other_name(call: Call, repository: Path) -> None:
    for name in ("mine@1", "other@1"):
        call("bundles", "add", "default", "--as", name)
        call("bundles", "promote", name, "--now")
    (repository / "mine" / "current.json").write_text('{"promotions": [')
    status, said = call("bundles", "list", "--json")
    rows = {row["bundle"]: row for row in map(json.loads, said.splitlines())}
    assert (status, set(rows)) == (0, {"mine", "mine@1", "other@1"})
    assert (rows["mine"]["short_digest"], rows["mine@1"]["in_force"]) == ("REFUSED", "")
    assert "promote again" in rows["mine"]["refused"]
    assert rows["other@1"]["in_force"] == "ztf, lsst"
    assert "REFUSED" in call("bundles", "list")[1]


def test_without_a_repository_it_says_how_to_name_one(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ASTROM3_BUNDLES", raising=False)
    status, said = call("bundles", "list")
    assert (status, "--bundles DIR" in said) == (2, True)


@pytest.mark.usefixtures("repository")
def test_other_commands_find_a_version_by_its_name(call: Call, tmp_path: Path) -> None:
    newer = make_bundle(tmp_path / "newer", version="9.1")
    call("bundles", "add", str(newer))
    for name, digest in (("default@9.1", open_bundle(newer).digest), ("default", INSTALLED.digest)):
        status, said = call("inspect", name, "--json")
        assert (status, json.loads(said)["digest"]) == (0, digest)
    call("bundles", "promote", "default@9.1", "--now")
    assert json.loads(call("inspect", "default", "--json")[1])["digest"] == open_bundle(newer).digest
    assert call("inspect", "default@9.2")[0] == 2
    assert call("doctor", "--bundle", "default@9.2")[0] == 1
