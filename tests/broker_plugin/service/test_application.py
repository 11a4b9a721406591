# SPDX-License-Identifier: BSD-3-Clause
"""A service that is told to stop while it starts."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from broker_plugin.service.application import serve
from broker_plugin.service.settings_sources import load_settings


def test_a_stop_gives_up_the_opening_of_the_bundle_and_is_an_end_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))  # where the lock of the instance is
    flags = {"survey": "ztf", "bootstrap": "127.0.0.1:9", "input": "alerts", "output": "verdicts"}
    settings = load_settings(
        {**flags, "dead_letters": "dead", "group": "night", "device": "cpu"}, config=None
    )
    stop = threading.Event()
    stop.set()
    with capture_logs() as logs:
        serve(settings, stop)
    assert logs[-1]["event"] == "opening_abandoned"
