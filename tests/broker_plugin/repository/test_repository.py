# SPDX-License-Identifier: BSD-3-Clause
"""A repository takes in what is sound, changes as a whole, and gives what was promoted."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from broker_plugin.bundle import Bundle, installed_bundles, open_bundle
from broker_plugin.engine.providers import choose
from broker_plugin.engine.rehearsal import rehearse
from broker_plugin.engine.scorer import Scorer
from broker_plugin.errors import BundleError
from broker_plugin.repository import changes
from broker_plugin.repository.layout import BundleRepository, locate_bundle
from tests.support.bundles import edit_manifest, make_bundle, replace_file

INSTALLED = open_bundle("default").manifest.version
NEWER = "999.10"


@pytest.fixture
def repository(tmp_path: Path) -> BundleRepository:
    root = tmp_path / "bundles"
    root.mkdir()
    return BundleRepository(root)


@pytest.fixture
def newer(tmp_path: Path) -> Path:
    return make_bundle(tmp_path / "newer", version=NEWER, temperature=2.0)


def everything(root: Path) -> dict[str, bytes]:
    """The content of all files that hold something."""
    files = (path for path in root.rglob("*") if path.is_file() and path.stat().st_size)
    return {str(path.relative_to(root)): path.read_bytes() for path in files}


def on_cpu(bundle: Bundle) -> None:
    rehearse(Scorer(bundle, choose("cpu")))


def test_a_bundle_is_taken_in_byte_by_byte_and_only_once(repository: BundleRepository) -> None:
    assert changes.add(repository, "default").made
    assert not changes.add(repository, "default").made
    assert repository.versions("default") == [INSTALLED]
    assert everything(repository.root / "default" / INSTALLED) == everything(installed_bundles()["default"])


def test_versions_go_by_their_numbers(repository: BundleRepository, newer: Path) -> None:
    for version in ("3.10", "3.9", "3.10-rc1", "3.2"):
        changes.add(repository, newer, version=version)
    assert repository.versions("default") == ["3.2", "3.9", "3.10", "3.10-rc1"]


def test_another_bundle_of_the_same_name_and_version_needs_another(
    repository: BundleRepository, newer: Path
) -> None:
    changes.add(repository, newer)
    edit_manifest(newer, lambda manifest: manifest.update(description="another"))
    with pytest.raises(BundleError, match="--as NAME@VERSION"):
        changes.add(repository, newer)
    assert changes.add(repository, newer, name="mine", version="1").made


def spoil_parity(bundle: Path) -> None:
    edit_manifest(bundle, lambda manifest: manifest["parity"].update(probability_difference_max=0.01))


def forget_parity(bundle: Path) -> None:
    edit_manifest(bundle, lambda manifest: manifest.update(parity={}))


def cut(bundle: Path) -> None:
    (bundle / "head.onnx").write_bytes((bundle / "head.onnx").read_bytes()[:-1])


def tamper(bundle: Path) -> None:
    content = bytearray((bundle / "calibration.npz").read_bytes())
    content[len(content) // 2] ^= 1
    (bundle / "calibration.npz").write_bytes(content)


def come_from_the_future(bundle: Path) -> None:
    edit_manifest(bundle, lambda manifest: manifest.update(format_version=99))


def swap_graphs(bundle: Path) -> None:
    replace_file(bundle, "metadata.onnx", (bundle / "light_curve.onnx").read_bytes())


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (spoil_parity, r"probability_difference_max is 0\.01"),
        (forget_parity, "there is no probability_difference_max"),
        (cut, "altered or cut short"),
        (tamper, "altered or cut short"),
        (come_from_the_future, "bundle format 99"),
        (swap_graphs, "cannot score a plain alert"),
    ],
)
def test_an_unsound_bundle_is_refused_with_the_reason_and_leaves_nothing(
    repository: BundleRepository, newer: Path, spoil: Callable[[Path], None], why: str
) -> None:
    spoil(newer)
    with pytest.raises(BundleError, match=why):
        changes.add(repository, newer, rehearse=on_cpu)
    assert everything(repository.root) == {}


def test_what_was_altered_in_the_repository_is_not_promoted(
    repository: BundleRepository, newer: Path
) -> None:
    changes.add(repository, newer)
    tamper(repository.path_of("default", NEWER))
    with pytest.raises(BundleError, match="altered or cut short"):
        changes.promote(repository, f"default@{NEWER}")
    assert repository.promotions("default") == ()


def test_promotion_rollback_and_removal(repository: BundleRepository, newer: Path) -> None:
    changes.add(repository, "default")
    changes.add(repository, newer)
    changes.promote(repository, f"default@{INSTALLED}", now=True)
    _, change = changes.promote(repository, "default", now=True, note="better")
    assert (change.version, change.made) == (NEWER, True)
    assert not changes.promote(repository, f"default@{NEWER}", now=True)[1].made
    assert repository.in_force("default", "ztf") == repository.path_of("default", NEWER)
    with pytest.raises(BundleError, match="in force"):
        changes.remove(repository, f"default@{NEWER}")
    promotion, _ = changes.rollback(repository, "default", note="worse after all")
    assert (promotion.version, promotion.action) == (INSTALLED, "rollback")
    assert repository.in_force("default", "lsst") == repository.path_of("default", INSTALLED)
    with pytest.raises(BundleError, match="nothing was promoted"):
        changes.rollback(repository, "default")
    changes.remove(repository, f"default@{NEWER}")
    assert repository.versions("default") == [INSTALLED]
    journal = [json.loads(line) for line in (repository.root / "journal.jsonl").read_text().splitlines()]
    assert [line["action"] for line in journal] == ["add", "add", "promote", "promote", "rollback", "remove"]
    assert journal[3]["note"] == "better"
    assert all(line["by"] == changes.who() for line in journal)


def test_a_rollback_of_the_first_promotion_goes_back_to_the_installed_bundle(
    repository: BundleRepository, newer: Path
) -> None:
    changes.add(repository, newer)
    for _ in range(2):
        changes.promote(repository, f"default@{NEWER}", now=True)
        promotion, change = changes.rollback(repository, "default")
        assert (promotion.version, promotion.action, change.made) == (INSTALLED, "rollback", True)
        in_force = repository.in_force("default", "ztf")
        assert everything(in_force) == everything(installed_bundles()["default"])
    with pytest.raises(BundleError, match="nothing was promoted or installed"):
        changes.rollback(repository, "default")
    changes.add(repository, newer, name="mine")
    changes.promote(repository, f"mine@{NEWER}", now=True)
    with pytest.raises(BundleError, match="nothing was promoted or installed"):
        changes.rollback(repository, "mine")


def test_another_bundle_under_the_version_of_the_installed_one_hinders_no_rollback(
    repository: BundleRepository, newer: Path
) -> None:
    changes.add(repository, newer, version=INSTALLED)
    changes.promote(repository, f"default@{INSTALLED}", now=True)
    promotion, _ = changes.rollback(repository, "default")
    assert promotion.version == f"{INSTALLED}+{promotion.digest[:8]}"
    assert promotion.digest == open_bundle("default").digest


def test_a_line_of_the_journal_that_was_cut_short_spoils_no_other(
    repository: BundleRepository, newer: Path
) -> None:
    changes.add(repository, newer)
    journal = repository.root / "journal.jsonl"
    whole = journal.read_bytes()
    journal.write_bytes(whole + whole[:20])
    change = changes.remove(repository, f"default@{NEWER}")
    lines = journal.read_bytes().splitlines(keepends=True)
    assert lines[:2] == [whole, whole[:20] + b"\n"]
    assert (json.loads(lines[2])["action"], len(lines), change.unnoted) == ("remove", 3, "")


def test_what_the_journal_lacks_is_done_all_the_same(repository: BundleRepository, newer: Path) -> None:
    changes.add(repository, "default")
    changes.add(repository, newer)
    journal = repository.root / "journal.jsonl"
    journal.unlink()
    journal.symlink_to("/dev/full")
    _, first = changes.promote(repository, f"default@{INSTALLED}", now=True)
    _, second = changes.promote(repository, f"default@{NEWER}", now=True)
    _, back = changes.rollback(repository, "default")
    gone = changes.remove(repository, f"default@{NEWER}")
    assert {each.unnoted for each in (first, second, back, gone)} == {"No space left on device"}
    assert repository.in_force("default", "ztf") == repository.path_of("default", INSTALLED)
    assert repository.versions("default") == [INSTALLED]


def test_a_rollback_to_what_was_replaced_meanwhile_is_refused(
    repository: BundleRepository, newer: Path
) -> None:
    changes.add(repository, newer, version="1")
    changes.add(repository, "default", version="2")
    changes.promote(repository, "default@1", now=True)
    changes.promote(repository, "default@2", now=True)
    changes.remove(repository, "default@1")
    with pytest.raises(BundleError, match="no version '1'"):
        changes.rollback(repository, "default")
    changes.add(repository, "default", version="1")
    with pytest.raises(BundleError, match="is not the bundle that was promoted"):
        changes.rollback(repository, "default")


def test_what_lies_under_a_promoted_version_now_is_not_served(
    repository: BundleRepository, newer: Path
) -> None:
    changes.add(repository, newer, version="1")
    changes.promote(repository, "default@1", now=True)
    path = repository.path_of("default", "1")
    shutil.rmtree(path)
    shutil.copytree(installed_bundles()["default"], path)
    with pytest.raises(BundleError, match="default@1 is not the bundle that was promoted"):
        locate_bundle("default", repository.root, survey="ztf")
    assert locate_bundle("default@1", repository.root) == path  # who names a version gets it


def test_a_promotion_that_waits_leaves_what_is_in_force(repository: BundleRepository, newer: Path) -> None:
    changes.add(repository, newer)
    changes.promote(repository, "default")
    now = datetime.now(UTC)
    assert repository.in_force("default", "ztf", now) == installed_bundles()["default"]
    later = now + timedelta(days=1)
    assert repository.in_force("default", "ztf", later) == repository.path_of("default", NEWER)
    changes.add(repository, newer, name="mine")
    changes.promote(repository, "mine")
    assert repository.in_force("mine", "ztf", now) == repository.path_of("mine", NEWER)


def test_a_name_a_version_and_a_directory_are_found(repository: BundleRepository, newer: Path) -> None:
    root = repository.root
    changes.add(repository, newer, name="mine")
    assert locate_bundle(f"mine@{NEWER}", root) == repository.path_of("mine", NEWER)
    assert locate_bundle(str(newer), root) == str(newer)
    assert locate_bundle("default", root) == installed_bundles()["default"]
    assert locate_bundle("default", None) == "default"
    with pytest.raises(BundleError, match=r"no version was promoted .* promote mine@999\.10"):
        locate_bundle("mine", root)
    with pytest.raises(BundleError, match=r"no version '9' .* there are: 999\.10"):
        locate_bundle("mine@9", root)
    with pytest.raises(BundleError, match="names are: mine, default"):
        locate_bundle("yours", root)
    with pytest.raises(BundleError, match="--bundles DIR"):
        locate_bundle(f"mine@{NEWER}", None)
    with pytest.raises(BundleError, match="no bundle repository"):
        locate_bundle("mine", root / "nowhere")


@pytest.mark.parametrize("name", ["..", "../up", ".hidden", "a/b", " ", "a" * 65, "a\nb"])
def test_no_name_leads_out_of_the_repository(repository: BundleRepository, newer: Path, name: str) -> None:
    for kind in ("name", "version"):
        with pytest.raises(BundleError, match="cannot be a name"):
            changes.add(repository, newer, **{kind: name})  # type: ignore[arg-type]
    assert everything(repository.root.parent).keys() == {f"newer/{path}" for path in everything(newer)}


def test_changes_at_the_same_time_come_one_after_the_other(repository: BundleRepository, newer: Path) -> None:
    changes.add(repository, newer, version="1")
    changes.add(repository, "default", version="2")

    def insist(version: str) -> None:
        for _ in range(5):
            changes.promote(repository, f"default@{version}", now=True)

    threads = [threading.Thread(target=insist, args=(version,)) for version in "12"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    promotions = repository.promotions("default")
    assert [each.number for each in promotions] == list(range(1, len(promotions) + 1))
    assert len((repository.root / "journal.jsonl").read_text().splitlines()) == 2 + len(promotions)


def test_leftovers_of_a_killed_process_are_no_version(repository: BundleRepository, newer: Path) -> None:
    changes.add(repository, newer)
    path = repository.path_of("default", NEWER)
    shutil.copytree(path, path.with_name(f".{NEWER}.0123abcd.part"))
    assert repository.versions("default") == [NEWER]
