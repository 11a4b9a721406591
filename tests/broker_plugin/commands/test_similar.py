# SPDX-License-Identifier: BSD-3-Clause
"""`similar` reads a store that a run has written, and makes none."""

from __future__ import annotations

import time
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from broker_plugin.bundle import open_bundle
from broker_plugin.commands.similar import similar
from broker_plugin.errors import ConfigurationError
from broker_plugin.pipeline.assembly import parse_access
from broker_plugin.store.address import StoreAddress
from broker_plugin.store.base import Change
from broker_plugin.store.recent import Recent, merged_recents, slot_keys


def test_a_store_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    path = tmp_path / "mistyped.sqlite"
    with pytest.raises(ConfigurationError, match=r"there is no store .*mistyped\.sqlite"):
        similar(store=f"sqlite:{path}")
    assert not list(tmp_path.iterdir())


@pytest.fixture
def store(tmp_path: Path) -> str:
    """A store that a run made, of which nothing was kept yet."""
    text = f"sqlite:{tmp_path / 'store.sqlite'}"
    StoreAddress(text=text).open().close()
    return text


def keep(store: str, *object_ids: str) -> None:
    """Keep alerts on objects in the current slot, as a run does."""
    alerts = [
        Recent(
            alert_key=f"ztf:{number}",
            object_id=object_id,
            mjd_tai=60000.0,
            p_value=0.01,
            top_class=None,
            source_context="stellar",
            embedding=np.array([1.0, 0.0], np.float16),
        )
        for number, object_id in enumerate(object_ids)
    ]
    (key,) = slot_keys(open_bundle("default").digest, parse_access("public"), now=time.time())
    with closing(StoreAddress(text=store).open()) as opened:
        change = Change(key=key, value=merged_recents(None, alerts), seen=b"", ttl_s=3600.0)
        assert opened.swap([change]) == [True]


@pytest.mark.parametrize("written", ["ZTF18abcsatf", "ztf:ZTF18abcsatf", "ztf18abcsatf", ""])
def test_an_object_is_named_with_or_without_its_survey(
    store: str, written: str, capsys: pytest.CaptureFixture[str]
) -> None:
    keep(store, "ztf:ZTF18abcsatf", "lsst:7")
    similar(written, store=store)
    assert "like ztf:ZTF18abcsatf (ztf:0), among 2 strange alerts" in " ".join(
        capsys.readouterr().out.split()
    )


def test_what_is_not_there_is_said(store: str) -> None:
    for written in ("", "ZTF18abcsatf"):
        with pytest.raises(ConfigurationError, match=r"no alert was kept in the last 12 hours; run with"):
            similar(written, store=store)
    keep(store, "lsst:7")
    with pytest.raises(ConfigurationError, match=r"ZTF18abcsatf is not among the 1 alerts .* look further"):
        similar("ZTF18abcsatf", store=store)
    with pytest.raises(ConfigurationError, match="'M31' is no object's name"):
        similar("M31", store=store)
