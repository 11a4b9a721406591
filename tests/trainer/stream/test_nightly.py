# SPDX-License-Identifier: BSD-3-Clause
"""SIMULATED nights: a cut at N a night, fitted on one, lets through N objects of another one.

The nights are those of the demonstration, whose share of each kind of source is made up. They show that the
promise is kept from night to night where a night is like another, and not that real nights are.
"""

from __future__ import annotations

import json
import math
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from broker_plugin.bundle import open_bundle
from broker_plugin.codec.verdict import Tense, Verdict
from broker_plugin.demo.packets import night_messages, write_schemas
from broker_plugin.demo.simulator import simulate_night
from broker_plugin.engine.scorer import Scorer
from broker_plugin.records import SourceContext
from export.stream import write_stream_bundle
from trainer.stream.archive import Sighting, StreamArchive, read_archive
from trainer.stream.objects import one_each
from trainer.stream.refit import refit

FITTED_SEED, UNSEEN_SEED = 11, 12

N_ALERTS = 1000
"""Of each night: some 500 objects of ZTF and 300 of LSST."""

SIGMAS = 3.0
"""Most deviations between the count and what is due."""


def read_night(seed: int, folder: Path) -> StreamArchive:
    """Return the ordinary alerts of a simulated night as an archive of packets holds them."""
    night = simulate_night(seed, n_alerts=N_ALERTS)
    schemas, packets = folder / "schemas", folder / "packets"
    for made in (schemas, packets):
        made.mkdir()
    write_schemas(schemas)
    for number, (_, message) in enumerate(night_messages(night)):
        (packets / f"{number:05d}.avro").write_bytes(message)
    archive = read_archive([packets], surveys=("ztf", "lsst"), schemas=[schemas])
    ordinary = [each for each in archive.sightings if each.alert.object_id not in night.planted]
    return replace(archive, sightings=tuple(ordinary))


@pytest.fixture(scope="module")
def unseen(tmp_path_factory: pytest.TempPathFactory) -> list[Sighting]:
    """One alert of each object of the other night, as the calibration has them."""
    sightings = read_night(UNSEEN_SEED, tmp_path_factory.mktemp("unseen")).sightings
    return one_each(sightings, seed=UNSEEN_SEED)[0]


@pytest.fixture(scope="module")
def nightly(unseen: list[Sighting]) -> Counter[str]:
    """The known size of the unseen night: its objects, by survey."""
    return Counter(each.alert.survey for each in unseen)


@pytest.fixture(scope="module")
def verdicts(
    unseen: list[Sighting], nightly: Counter[str], tmp_path_factory: pytest.TempPathFactory
) -> list[Verdict]:
    """What a bundle that was fitted on one simulated night says of the other."""
    folder = tmp_path_factory.mktemp("fitted")
    base, night = open_bundle("default"), read_night(FITTED_SEED, folder)
    refit(base, night, folder / "fit", seed=FITTED_SEED, splits=0, say=lambda line: None)
    return scored(write_stream_bundle(base, folder / "fit", folder / "bundle"), unseen, nightly)


def scored(bundle: Path, unseen: list[Sighting], nightly: Counter[str]) -> list[Verdict]:
    """Return verdicts of a bundle that is told how large the night is."""
    manifest = bundle / "manifest.json"
    content = json.loads(manifest.read_text()) | {"nightly_alerts": dict(nightly)}
    manifest.write_text(json.dumps(content))
    scorer = Scorer.open(bundle, device="cpu")
    return scorer.score([each.alert for each in unseen], tense=Tense.TEST)


def passes(verdict: Verdict, wanted: float) -> bool:
    """Tell whether a reader who wants N a night takes a verdict: null is stranger than all that is known."""
    return verdict.expected_per_night is None or verdict.expected_per_night <= wanted


def due(verdicts: list[Verdict], share: float) -> tuple[float, float]:
    """Return how many of these pass a cut at a share of the night, and the error of that.

    Of a stratum with n objects the cut takes p <= k / (n + 1), so that with exchangeable nights the number
    among m is beta-binomial: the binomial error of m, and that of n, which placed the cut.
    """
    expected = variance = 0.0
    for (_, n), m in Counter((each.calibration_stratum, each.calibration_n) for each in verdicts).items():
        p = math.floor(share * (n + 1) + 1e-9) / (n + 1)
        expected += m * p
        variance += m * p * (1 - p) * (1 + (m - 1) / (n + 2))
    return expected, math.sqrt(variance)


def off(verdicts: list[Verdict], wanted: float, share: float) -> float:
    """Return by how many errors the number that pass differs from what is due."""
    expected, error = due(verdicts, share)
    return (sum(passes(each, wanted) for each in verdicts) - expected) / error


@pytest.mark.parametrize("survey", ["ztf", "lsst"])
@pytest.mark.parametrize("wanted", [10, 30, 100])
def test_as_many_objects_of_an_unseen_simulated_night_pass_as_the_cut_promises(
    verdicts: list[Verdict], nightly: Counter[str], survey: str, wanted: int
) -> None:
    of_survey = [each for each in verdicts if each.survey == survey]
    share = wanted / nightly[survey]
    for verdict in of_survey:
        assert verdict.calibration_stratum.startswith(f"{survey}/")
        assert 1 / (verdict.calibration_n + 1) <= share  # no stratum is too small to promise so few
    expected, _ = due(of_survey, share)
    # Strata round the promise down, by less than one object of the calibration each.
    assert 0.9 * wanted < expected <= wanted
    assert abs(off(of_survey, wanted, share)) <= SIGMAS
    # Contexts with few objects share a stratum with all others; the stellar ones have their own.
    stellar = [each for each in of_survey if each.source_context == SourceContext.STELLAR]
    assert {each.calibration_stratum.split("/")[1] for each in stellar} == {"stellar"}
    assert abs(off(stellar, wanted, share)) <= SIGMAS


def test_a_bundle_that_was_fitted_on_other_nights_breaks_its_promise_on_this_one(
    unseen: list[Sighting], nightly: Counter[str], tmp_path: Path
) -> None:
    """What the demonstration simulates is not the stream that the default bundle knows as normal."""
    copy = Path(shutil.copytree(open_bundle("default").path, tmp_path / "default"))
    of_ztf = [each for each in scored(copy, unseen, nightly) if each.survey == "ztf"]
    assert off(of_ztf, 10, 10 / nightly["ztf"]) > SIGMAS
