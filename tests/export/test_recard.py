# SPDX-License-Identifier: BSD-3-Clause
"""A card says what its manifest holds, and can be written anew from it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from broker_plugin.bundle import installed_bundles, open_bundle
from broker_plugin.errors import ConfigurationError
from export.card import CARD, model_card
from export.cli import export
from export.recard import card_of, write_recarded_bundle
from export.stream import next_version
from tests.export.conftest import Exported


def test_the_default_bundle_has_the_card_that_its_manifest_gives() -> None:
    bundle = open_bundle("default")
    assert bundle.contents[CARD].decode() == card_of(bundle.manifest)


def test_an_exported_card_follows_from_the_manifest_alone(exported: Exported) -> None:
    bundle = open_bundle(exported.bundle)
    assert bundle.contents[CARD].decode() == model_card(bundle.manifest)


def test_nothing_else_changes_but_the_card_and_the_version(tmp_path: Path) -> None:
    old = open_bundle("default")
    export(bundle="default", card=True, out=tmp_path / "new")
    new = open_bundle(tmp_path / "new")
    assert new.manifest.version == next_version(old.manifest.version)
    assert new.contents[CARD].startswith(f"# Model card: default {new.manifest.version}\n".encode())
    assert {name for name in old.contents if new.contents[name] != old.contents[name]} == {CARD}
    changed = {"version", "files"}
    assert new.manifest.model_dump(exclude=changed) == old.manifest.model_dump(exclude=changed)


def test_a_bundle_of_unknown_settings_is_refused(tmp_path: Path) -> None:
    copy = Path(shutil.copytree(installed_bundles()["default"], tmp_path / "strange"))
    manifest = json.loads((copy / "manifest.json").read_text())
    manifest["training"]["settings"]["alchemy"] = True
    (copy / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ConfigurationError, match=r"trained by another version .*alchemy"):
        write_recarded_bundle(open_bundle(copy), tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_a_card_is_not_asked_for_with_anything_that_writes_one(tmp_path: Path) -> None:
    for asked in ({"checkpoint": tmp_path}, {"bundle": "default", "stream": tmp_path}):
        with pytest.raises(ConfigurationError, match="give either"):
            export(**asked, card=True, out=tmp_path / "new")
