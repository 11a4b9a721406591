# SPDX-License-Identifier: BSD-3-Clause
"""Every page links to what is there and shows commands that exist; every alarm is in the runbook."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from tests.deploy.monitoring import rules
from tests.support.artefacts import REPOSITORY
from tests.support.guides import anchors, blocks, links, unknown_flags

GUIDES = sorted((REPOSITORY / "deploy/docs").glob("*.md"))
PAGES = [*GUIDES, *sorted((REPOSITORY / "deploy/brokers").rglob("*.md")), REPOSITORY / "README.md"]
INDEX = REPOSITORY / "deploy/docs/README.md"
OPERATING = REPOSITORY / "deploy/docs/operating.md"


def name_of(page: Path) -> str:
    return str(page.relative_to(REPOSITORY))


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_what_it_links_to_is_there(page: Path) -> None:
    for target, anchor in links(page):
        assert target.exists(), target
        assert not anchor or anchor in anchors(target), f"{target}#{anchor}"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_command_and_flag_exists(page: Path) -> None:
    assert unknown_flags(page, "sh", "console") == []


@pytest.mark.parametrize("page", [page for page in GUIDES if blocks(page, "sh")], ids=name_of)
def test_what_can_be_typed_of_a_guide_a_test_types(page: Path) -> None:
    assert any(types(path, page) for path in (REPOSITORY / "tests").rglob("test_*.py"))


def types(test: Path, page: Path) -> bool:
    """Tell whether a file of tests takes the blocks that can be typed of a page."""
    text = test.read_text("utf-8")
    names = re.findall(rf'^(\w+) = REPOSITORY / "{re.escape(name_of(page))}"$', text, re.MULTILINE)
    return any(re.search(rf'\b(blocks\({name}, "sh"\)|read_through\({name}, )', text) for name in names)


@pytest.mark.parametrize(
    ("rest", "typed"),
    [
        ("reader.read(blocks(PAGE, 'sh')[0])", True),
        ("read_through(PAGE, Reader(folder))", True),
        ("PAGE.read_text()", False),
        ("blocks(PAGE, 'toml')", False),
        ("blocks(OTHER, 'sh')", False),
    ],
)
def test_to_name_a_page_is_not_to_type_it(tmp_path: Path, rest: str, typed: bool) -> None:
    test = tmp_path / "test_page.py"
    test.write_text(f"PAGE = REPOSITORY / '{name_of(OPERATING)}'\n{rest}\n".replace("'", '"'))
    assert types(test, OPERATING) is typed


def test_what_does_not_exist_would_be_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "```sh\nbroker-plugin run --confg a\ntrainer fly\nbroker-plugin dlq list --reason x # --no\n```\n"
    )
    assert unknown_flags(page, "sh") == ["run --confg", "fly"]
    page.write_text("[a](gone.md) [b](#here)\n# Not here\n")
    assert [(target.exists(), anchor in anchors(page)) for target, anchor in links(page)] == [
        (False, False),
        (True, False),
    ]


@pytest.mark.parametrize("page", GUIDES, ids=name_of)
def test_every_file_of_ours_in_a_command_is_there(page: Path) -> None:
    for block in blocks(page, "sh", "console"):
        for path in re.findall(r"(?<![\w/])(?:deploy|trainer|tests)/[\w@./-]+", block):
            assert (REPOSITORY / path).exists(), path


@pytest.mark.parametrize("page", [*GUIDES, REPOSITORY / "README.md"], ids=name_of)
def test_git_ignores_what_its_commands_write_into_the_checkout(page: Path) -> None:
    shown = "\n".join(blocks(page, "sh", "console"))
    written = re.findall(r"(?:--out|--memory|--json|--plot|--output-dir|cat >|' >) ([\w./-]+)", shown)
    here = [name for name in written if not name.startswith("/") and name != "."]
    for name in here:
        done = subprocess.run(["git", "check-ignore", "--quiet", name], cwd=REPOSITORY, check=False)
        assert done.returncode == 0, name


@pytest.mark.parametrize("page", [*PAGES, REPOSITORY / "trainer/astrom3/README.md"], ids=name_of)
def test_nobody_is_told_to_take_from_a_package_index_what_is_on_none(page: Path) -> None:
    assert "install 'astrom3-broker" not in page.read_text("utf-8")


@pytest.mark.parametrize("host", ["ampel", "antares", "fink", "lasair", "pittgoogle"])
def test_the_page_of_a_broker_that_calls_us_says_how_we_come_there(host: str) -> None:
    page = REPOSITORY / "deploy/brokers" / host / "README.md"
    assert "pip install '.[cpu]'" in page.read_text("utf-8")
    assert (REPOSITORY / "deploy/brokers/README.md", "install-it-there") in links(page)


def test_the_index_and_the_readme_lead_to_every_guide() -> None:
    listed = {target for target, _ in links(INDEX)}
    assert set(GUIDES) - {INDEX} <= listed
    assert INDEX in {target for target, _ in links(REPOSITORY / "README.md")}


def test_every_alarm_has_an_entry_in_the_runbook_and_no_entry_is_of_another() -> None:
    entries = re.findall(r"^### (Astrom3\w+)$", OPERATING.read_text("utf-8"), re.MULTILINE)
    assert entries == [rule["alert"] for rule in rules()]
    for rule in rules():
        page, _, anchor = rule["annotations"]["runbook"].partition("#")
        assert anchor in anchors(REPOSITORY / page)


@pytest.mark.parametrize("script", sorted((REPOSITORY / "deploy").rglob("*.sh")), ids=name_of)
def test_scripts_are_sound_for_any_posix_shell(script: Path) -> None:
    assert script.read_text("utf-8").startswith("#!/bin/sh\n# SPDX-License-Identifier: BSD-3-Clause\n")
    assert script.stat().st_mode & 0o100
    subprocess.run(["sh", "-n", script], check=True)
