# SPDX-License-Identifier: BSD-3-Clause
"""A new bundle is taken up when its time has come, between batches; an unfit one is not."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from broker_plugin.engine.opening import OpeningAbandonedError, abandoned_when, begin_step
from broker_plugin.engine.scorer import Scorer
from broker_plugin.nights import next_noon
from broker_plugin.pipeline.reload import BundleChange, BundleWatch, SwitchableScorer
from broker_plugin.repository import changes
from broker_plugin.repository.layout import BundleRepository
from tests.support.bundles import make_bundle

PATIENCE_S = 30.0


class Follower:
    """A watch whose clock the test holds, and what it told."""

    def __init__(self, root: Path) -> None:
        self.repository = BundleRepository(root)
        self.now = datetime.now(UTC)
        self.told: list[BundleChange] = []
        self.scorer = SwitchableScorer(Scorer.open("default", device="cpu"))
        self.watch = BundleWatch(
            self.repository,
            "default",
            survey="ztf",
            scorer=self.scorer,
            open_scorer=lambda path: Scorer.open(path, device="cpu"),
            on_change=self.told.append,
            clock=lambda: self.now,
        )

    @property
    def version(self) -> str:
        return self.scorer.scorer.bundle.manifest.version

    def go_on(self) -> str:
        """Look, and begin a batch; return the version that it is scored with."""
        self.watch.look()
        self.watch.switch_if_due()
        return self.version


@pytest.fixture
def follower(tmp_path: Path) -> Follower:
    root = tmp_path / "bundles"
    root.mkdir()
    for version in ("8", "9"):
        source = make_bundle(tmp_path / version, version=version)
        changes.add(BundleRepository(root), source)
    return Follower(root)


INSTALLED = Scorer.open("default", device="cpu").bundle.manifest.version


def test_a_promotion_waits_for_noon_and_no_longer(follower: Follower) -> None:
    changes.promote(follower.repository, "default@8")
    noon = next_noon("ztf", datetime.now(UTC))
    follower.now = noon - timedelta(seconds=1)
    assert follower.go_on() == INSTALLED
    follower.now = noon
    assert follower.go_on() == "8"
    assert follower.told == ["switched"]


def test_the_last_of_several_holds_and_a_rollback_takes_back_what_waits(follower: Follower) -> None:
    changes.promote(follower.repository, "default@8", now=True)
    follower.now = datetime.now(UTC)
    assert follower.go_on() == "8"
    changes.promote(follower.repository, "default@9")
    assert follower.go_on() == "8"
    changes.rollback(follower.repository, "default")
    follower.now += timedelta(days=2)
    assert follower.go_on() == "8"
    changes.promote(follower.repository, "default@9", now=True)
    assert follower.go_on() == "9"
    assert follower.told == ["switched", "switched"]


def test_an_end_does_not_wait_for_a_bundle_that_is_being_opened(follower: Follower, tmp_path: Path) -> None:
    changes.promote(follower.repository, "default@8", now=True)
    opening = threading.Event()

    def open_for_ever(path: Path) -> Scorer:
        opening.set()
        while True:
            begin_step()
            time.sleep(0.01)

    told: list[BundleChange] = []
    watch = BundleWatch(
        follower.repository,
        "default",
        survey="ztf",
        scorer=follower.scorer,
        open_scorer=open_for_ever,
        on_change=told.append,
    )
    with watch:
        assert opening.wait(PATIENCE_S)
    assert told == []  # nothing is wrong with that bundle


@pytest.mark.parametrize("steps", [0, 3, 9])
def test_the_opening_of_a_real_bundle_ends_between_two_of_its_graphs(steps: int) -> None:
    taken = 0

    def enough() -> bool:
        nonlocal taken
        taken += 1
        return taken > steps

    with abandoned_when(enough), pytest.raises(OpeningAbandonedError):
        Scorer.open("default", device="cpu").warm_up()
    assert taken == steps + 1


def test_nothing_switches_within_a_batch(follower: Follower) -> None:
    changes.promote(follower.repository, "default@8", now=True)
    follower.now += timedelta(days=2)
    follower.watch.look()
    assert follower.version == INSTALLED
    follower.watch.switch_if_due()
    assert follower.version == "8"


def test_a_spoilt_bundle_and_a_spoilt_pointer_change_nothing(follower: Follower) -> None:
    changes.promote(follower.repository, "default@8", now=True)
    follower.now += timedelta(days=2)
    path = follower.repository.path_of("default", "8") / "head.onnx"
    content = path.read_bytes()
    path.write_bytes(content[:-1])
    assert follower.go_on() == INSTALLED
    assert follower.go_on() == INSTALLED
    assert follower.told == ["refused"]  # it is not tried again at once
    pointer = follower.repository.pointer("default")
    good = pointer.read_bytes()
    pointer.write_bytes(good[:-9])
    assert follower.go_on() == INSTALLED
    pointer.write_bytes(good)
    changes.promote(follower.repository, "default@9", now=True)
    assert follower.go_on() == "9"


def test_a_bundle_in_the_place_of_the_promoted_one_is_refused(follower: Follower, tmp_path: Path) -> None:
    changes.promote(follower.repository, "default@8", now=True)
    follower.now += timedelta(days=2)
    path = follower.repository.path_of("default", "8")
    path.rename(tmp_path / "old")
    make_bundle(path, version="8", description="another")
    assert follower.go_on() == INSTALLED
    assert follower.told == ["refused"]
