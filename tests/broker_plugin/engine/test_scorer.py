# SPDX-License-Identifier: BSD-3-Clause
"""Laws of the scorer on real alerts and the default bundle."""

import dataclasses
import json
import math
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from broker_plugin.codec.verdict import Tense, Verdict, to_json
from broker_plugin.engine.scorer import Scorer
from broker_plugin.records import Alert, AlertBatch, LightCurve, QualityFlag, SourceContext
from tests.support.alerts import real_alerts

N_ALERTS = 300


@pytest.fixture(scope="module")
def scorer() -> Scorer:
    return Scorer.open("default", device="cpu")


@pytest.fixture(scope="module")
def alerts(data_dir: Path) -> list[Alert]:
    """Alerts of both surveys, short and long."""
    every = real_alerts(data_dir)
    picks = np.random.default_rng(5).permutation(len(every))[:N_ALERTS]
    return [every[pick] for pick in picks]


def without_clock(verdicts: Sequence[Verdict]) -> list[dict[str, object]]:
    records = [json.loads(to_json(verdict)) for verdict in verdicts]
    return [{name: value for name, value in r.items() if not name.endswith("_at")} for r in records]


def test_scores_do_not_depend_on_the_order_of_a_batch(scorer: Scorer, alerts: list[Alert]) -> None:
    forward = without_clock(scorer.score(alerts))
    backward = without_clock(scorer.score(alerts[::-1]))
    assert forward == backward[::-1]


@pytest.mark.parametrize("size", [1, 7, 64])
def test_scores_do_not_depend_on_the_size_of_a_batch(scorer: Scorer, alerts: list[Alert], size: int) -> None:
    whole = without_clock(scorer.score(alerts))
    parts = [v for start in range(0, N_ALERTS, size) for v in scorer.score(alerts[start : start + size])]
    assert without_clock(parts) == whole


def test_scores_do_not_depend_on_the_number_of_threads(scorer: Scorer, alerts: list[Alert]) -> None:
    threaded = Scorer.open("default", device="cpu", threads=2)
    assert without_clock(threaded.score(alerts)) == without_clock(scorer.score(alerts))


def test_another_process_gives_the_same_bits(scorer: Scorer, alerts: list[Alert], data_dir: Path) -> None:
    script = (
        "import sys; from pathlib import Path\n"
        "from broker_plugin.engine.scorer import Scorer\n"
        "from broker_plugin.codec.verdict import to_json\n"
        "from tests.support.alerts import real_alerts\n"
        "keys = set(sys.stdin.read().split())\n"
        f"some = [a for a in real_alerts(Path({str(data_dir)!r})) if a.alert_key in keys]\n"
        "for v in Scorer.open('default', device='cpu').score(some): print(v.alert_key, v.anomaly_score.hex())"
    )
    some = alerts[:40]
    result = subprocess.run(
        [sys.executable, "-c", script],
        input="\n".join(alert.alert_key for alert in some),
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[3],
    )
    theirs = {tuple(line.split()) for line in result.stdout.splitlines()}
    ours = {(v.alert_key, v.anomaly_score.hex()) for v in scorer.score(some)}
    assert ours <= theirs


def test_every_number_is_finite_and_probabilities_sum_to_one(scorer: Scorer, alerts: list[Alert]) -> None:
    for verdict in scorer.score(alerts):
        to_json(verdict)  # refuses what is not finite
        # Nine float64 terms are good to a few units of the last place.
        assert math.isclose(sum(verdict.class_probabilities.values()), 1.0, abs_tol=1e-12)
        assert 0 < verdict.anomaly_p_value <= 1
        assert 0 < verdict.anomaly_score < 1


def test_the_class_is_named_only_for_stellar_sources(scorer: Scorer, alerts: list[Alert]) -> None:
    for context in SourceContext:
        (verdict,) = scorer.score([dataclasses.replace(alerts[0], source_context=context)])
        assert verdict.class_applies == (context is SourceContext.STELLAR)
        assert (verdict.top_class is None) == (context is not SourceContext.STELLAR)
        assert len(verdict.class_probabilities) == len(scorer.bundle.manifest.classes)


def test_an_alert_without_epochs_gets_a_verdict_that_says_so(scorer: Scorer, alerts: list[Alert]) -> None:
    bare = dataclasses.replace(
        alerts[0],
        light_curve=LightCurve.empty(),
        metadata={"gal_lat_deg": 30.0},
        flags=(QualityFlag.NO_LIGHT_CURVE,),
    )
    (verdict,) = scorer.score([bare])
    assert verdict.n_epochs == 0
    assert "light_curve" not in verdict.modalities
    assert verdict.calibration_n > 0


def test_the_digest_of_the_inputs_sees_every_epoch(scorer: Scorer, alerts: list[Alert]) -> None:
    alert = next(alert for alert in alerts if len(alert.light_curve) > 3)
    curve = alert.light_curve
    brighter = dataclasses.replace(curve, flux_njy=np.nextafter(curve.flux_njy, np.float32(np.inf)))
    shorter = curve.take(slice(1, None))
    digests = {
        scorer.score([dataclasses.replace(alert, light_curve=lc)])[0].inputs_digest
        for lc in (curve, brighter, shorter)
    }
    assert len(digests) == 3


def test_the_tense_and_a_withdrawn_detection_are_passed_on(scorer: Scorer, alerts: list[Alert]) -> None:
    withdrawn = dataclasses.replace(alerts[0], flags=(QualityFlag.WITHDRAWN,))
    (verdict,) = scorer.score([withdrawn], tense=Tense.ARCHIVAL)
    assert verdict.tense == "archival"
    assert verdict.revision == "retraction"


def test_a_batch_and_its_alerts_score_alike(scorer: Scorer, alerts: list[Alert]) -> None:
    batch = AlertBatch.from_alerts(alerts)
    assert without_clock(scorer.score(batch)) == without_clock(scorer.score(alerts))


def test_the_embedding_is_a_unit_vector_given_on_request(scorer: Scorer, alerts: list[Alert]) -> None:
    assert scorer.score(alerts[:1])[0].embedding is None
    (verdict,) = Scorer.open("default", device="cpu", embeddings=True).score(alerts[:1])
    assert verdict.embedding is not None
    # A float32 norm over the embedding's width.
    assert math.isclose(math.fsum(x * x for x in verdict.embedding), 1.0, abs_tol=1e-5)
