# SPDX-License-Identifier: BSD-3-Clause
"""Names of files, objects and bundles are shown as they are: brackets in them are no markup."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from broker_plugin.benchmark.report import tables
from broker_plugin.bundle import open_bundle
from broker_plugin.cli import main
from broker_plugin.records import Access
from broker_plugin.store.address import StoreAddress
from broker_plugin.store.base import Change
from broker_plugin.store.recent import Recent, merged_recents, slot_keys
from tests.broker_plugin.benchmark.test_report import KAFKA, document
from tests.support.bundles import edit_manifest, make_bundle


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Call of the command line that returns all that it said."""
    monkeypatch.setenv("COLUMNS", "200")

    def run(*arguments: object) -> str:
        with pytest.raises(SystemExit):
            main([str(each) for each in arguments])
        captured = capsys.readouterr()
        return captured.out + captured.err

    return run


def test_of_files(said: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "junk.avro").write_bytes(b"no packet")
    out = tmp_path / "night [bold].jsonl"
    assert f"0 verdicts in {out};" in said("replay", tmp_path / "junk.avro", "--out", out)


def test_of_a_repository(said: Callable[..., str], tmp_path: Path) -> None:
    root = tmp_path / "my [bold] bundles"
    root.mkdir()
    assert "my [bold] bundles" in said("bundles", "list", "--bundles", root).replace("\n", "")


def test_of_a_bundle(said: Callable[..., str], tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "bundle")

    def rename(manifest: dict[str, Any]) -> None:
        manifest["strata"][0]["name"] += "[bold]"

    edit_manifest(bundle, rename)
    assert "[bold]" in said("inspect", bundle)


def test_of_objects(said: Callable[..., str], tmp_path: Path) -> None:
    strange = [
        Recent(
            alert_key=f"made:{n}[bold]",
            object_id=f"made:o{n}[bold]",
            mjd_tai=60_000.0,
            p_value=0.01 * n,
            top_class=None,
            source_context="stellar",
            embedding=np.eye(4, dtype=np.float16)[n],
        )
        for n in (1, 2)
    ]
    key, *_ = slot_keys(open_bundle("default").digest, frozenset({Access.PUBLIC}), now=time.time())
    with closing(StoreAddress(text=f"sqlite:{tmp_path / 'store'}").open()) as store:
        store.swap([Change(key=key, seen=b"", value=merged_recents(None, strange), ttl_s=3600.0)])
    shown = said("similar", "--store", f"sqlite:{tmp_path / 'store'}", "--bundle", "default")
    assert "like made:o1[bold] (made:1[bold])" in shown
    assert "made:o2[bold]" in shown
    assert "made:2[bold]" in shown


def test_of_a_cluster() -> None:
    console = Console(width=200)
    with console.capture() as captured:
        for table in tables(document(kafka=KAFKA | {"cluster": "[fe80::1]:9092"})):
            console.print(table)
    assert "Through Kafka ([fe80::1]:9092)" in captured.get()
