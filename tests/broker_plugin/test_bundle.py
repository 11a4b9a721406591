# SPDX-License-Identifier: BSD-3-Clause
"""A bundle that was altered, cut short or made for another version is refused with the reason."""

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from broker_plugin.bundle import installed_bundles, open_bundle, stratum_name
from broker_plugin.errors import BundleError


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    return Path(shutil.copytree(installed_bundles()["default"], tmp_path / "copy"))


def edit_manifest(bundle: Path, **changes: object) -> None:
    path = bundle / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_the_default_bundle_opens_and_its_digest_is_that_of_the_manifest() -> None:
    bundle = open_bundle("default")
    manifest = (installed_bundles()["default"] / "manifest.json").read_bytes()
    assert bundle.digest == hashlib.sha256(manifest).hexdigest()
    assert set(bundle.contents) == set(bundle.manifest.files)


def test_every_file_of_the_default_bundle_is_listed() -> None:
    path = installed_bundles()["default"]
    listed = {*open_bundle("default").manifest.files, "manifest.json"}
    assert {file.name for file in path.iterdir()} == listed


def test_one_changed_byte_is_refused(copy: Path) -> None:
    for name in open_bundle(copy).manifest.files:
        original = (copy / name).read_bytes()
        (copy / name).write_bytes(bytes([original[0] ^ 1]) + original[1:])
        with pytest.raises(BundleError, match=r"was altered or cut short"):
            open_bundle(copy)
        (copy / name).write_bytes(original)


def test_a_truncated_file_and_a_missing_file_are_refused(copy: Path) -> None:
    name = open_bundle(copy).manifest.head.file
    (copy / name).write_bytes((copy / name).read_bytes()[:-1])
    with pytest.raises(BundleError, match="cut short"):
        open_bundle(copy)
    (copy / name).unlink()
    with pytest.raises(BundleError, match="cannot read"):
        open_bundle(copy)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format_version": 99}, "bundle format 99"),
        ({"feature_spec_version": "99"}, "feature spec '99'"),
        ({"classes": "EW"}, "not a valid manifest"),
        ({"surprise": 1}, "not a valid manifest"),
        ({"files": {"../outside": "0" * 64}}, "not a file inside the bundle"),
        ({"files": {}}, "lists no digest"),
    ],
)
def test_a_manifest_of_another_kind_is_refused(copy: Path, change: dict[str, object], message: str) -> None:
    edit_manifest(copy, **change)
    with pytest.raises(BundleError, match=message):
        open_bundle(copy)


def test_a_precision_that_is_none_is_refused_with_those_that_are(copy: Path) -> None:
    edit_manifest(copy, precision="fp32, mostly")
    with pytest.raises(BundleError, match=r"precision\n.*'fp32', 'fp16', 'bf16' or 'int8'"):
        open_bundle(copy)


def test_text_that_is_not_json_is_refused(copy: Path) -> None:
    (copy / "manifest.json").write_bytes(b"\x80\x04]\x94.")
    with pytest.raises(BundleError, match="not JSON"):
        open_bundle(copy)


def test_an_unknown_bundle_names_the_installed_ones(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="default"):
        open_bundle(tmp_path / "nowhere")


def test_arrays_that_would_need_a_pickle_are_refused(copy: Path) -> None:
    manifest = open_bundle(copy).manifest
    path = copy / manifest.reference_file
    np.savez(path, object_id=np.array([{}], dtype=object))
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    edit_manifest(copy, files=manifest.files | {manifest.reference_file: digest})
    with pytest.raises(ValueError, match="allow_pickle"):
        open_bundle(copy).arrays(manifest.reference_file)


def test_every_number_of_epochs_has_a_stratum() -> None:
    edges = [0, 1, 2, 4]
    names = [stratum_name(("p",), n, edges) for n in (0, 1, 3, 4, 999)]
    assert names == ["p/0-0", "p/1-1", "p/2-3", "p/4+", "p/4+"]
