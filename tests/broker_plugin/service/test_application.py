# SPDX-License-Identifier: BSD-3-Clause
"""A service that is told to stop while it starts, and what its parts are told of each other."""

from __future__ import annotations

import threading
from contextlib import nullcontext
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from broker_plugin.errors import TransientError
from broker_plugin.service import application
from broker_plugin.service.application import serve
from broker_plugin.service.settings_sources import load_settings
from broker_plugin.settings import Settings
from broker_plugin.streams.base import OutgoingMessage


def settings_of(**flags: str) -> Settings:
    usual = {"survey": "ztf", "bootstrap": "127.0.0.1:9", "input": "alerts", "output": "verdicts"}
    return load_settings(
        {**usual, "dead_letters": "dead", "group": "night", "device": "cpu", **flags}, config=None
    )


def test_a_stop_gives_up_the_opening_of_the_bundle_and_is_an_end_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))  # where the lock of the instance is
    stop = threading.Event()
    stop.set()
    with capture_logs() as logs:
        serve(settings_of(), stop)
    assert logs[-1]["event"] == "opening_abandoned"


def test_a_stop_while_the_registry_is_away_is_an_end_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setattr(application, "open_models", lambda *_, **__: nullcontext())  # not asked yet
    stop = threading.Event()
    threading.Timer(0.5, stop.set).start()
    with capture_logs() as logs:
        serve(settings_of(registry="http://127.0.0.1:9"), stop)
    assert logs[-1]["event"] == "start_abandoned"


class Counted:
    """A source that has so many partitions, or cannot tell."""

    def __init__(self, partitions: int | None) -> None:
        self._partitions = partitions

    def n_partitions(self) -> int:
        if self._partitions is None:
            raise TransientError("the brokers are away")
        return self._partitions


@pytest.mark.parametrize(("partitions", "warned"), [(1, True), (2, False), (0, False), (None, False)])
def test_workers_are_called_idle_only_where_the_partitions_are_known(
    partitions: int | None, warned: bool
) -> None:
    with capture_logs() as logs:
        application._warn_of_idle_workers(
            Counted(partitions),  # type: ignore[arg-type]
            settings_of(),
            2,
            threading.Event(),
        )
    assert ("more_workers_than_partitions" in {entry["event"] for entry in logs}) == warned


class Attending:
    """A source that tells when its group is answered."""

    def __init__(self, heard: list[str]) -> None:
        self._heard = heard

    def stay(self) -> None:
        self._heard.append("stayed")


def test_before_each_wait_for_the_output_the_loop_lives_and_stays_in_its_group() -> None:
    heard: list[str] = []
    settings = settings_of().model_copy(update={"ack_timeout_s": 0.2})
    source = Attending(heard)
    sink, _ = application._delivery(settings, source, "us", None, beat=lambda: heard.append("beat"))  # type: ignore[arg-type]
    with pytest.raises(TransientError):
        sink.send([OutgoingMessage(topic="verdicts", value=b"v")])
    assert heard == ["beat", "stayed"]
    sink.close()
