# SPDX-License-Identifier: BSD-3-Clause
"""Laws of the scorer on real alerts and the default bundle."""

import dataclasses
import json
import math
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from broker_plugin.bundle import FORMAT_VERSION, installed_bundles, open_bundle
from broker_plugin.codec.verdict import Tense, Verdict, to_json, verdict_id
from broker_plugin.engine.providers import cpu_choice
from broker_plugin.engine.scorer import Scorer
from broker_plugin.errors import BundleError, ConfigurationError
from broker_plugin.precision import Precision
from broker_plugin.records import Alert, AlertBatch, LightCurve, QualityFlag, SourceContext
from tests.support.alerts import real_alerts
from tests.support.artefacts import REPOSITORY
from tests.support.bundles import make_bundle

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
        cwd=REPOSITORY,
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


def test_a_catalogue_s_period_tells_the_class_and_not_how_strange_the_alert_is(
    scorer: Scorer, alerts: list[Alert]
) -> None:
    some = sorted(alerts, key=lambda alert: -len(alert.light_curve))[:20]
    period = {"catalogue_period_day": 0.61}
    told = [dataclasses.replace(alert, metadata={**alert.metadata, **period}) for alert in some[::2]]
    mixed = [each for pair in zip(told, some[1::2], strict=True) for each in pair]
    for plain, verdict, alert in zip(scorer.score(some), scorer.score(mixed), mixed, strict=True):
        for name in ("anomaly_score", "anomaly_p_value", "anomaly_scores", "anomaly_p_values", "oddities"):
            assert getattr(verdict, name) == getattr(plain, name)
        is_told = "catalogue_period_day" in alert.metadata
        assert (verdict.class_probabilities != plain.class_probabilities) == is_told
        assert ("catalogue period 0.61 d" in verdict.explanation) == is_told


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


def test_a_retraction_is_no_repetition_of_what_it_takes_back(scorer: Scorer, alerts: list[Alert]) -> None:
    withdrawn = dataclasses.replace(alerts[0], flags=(QualityFlag.WITHDRAWN,))
    verdict, retraction, again = scorer.score([alerts[0], withdrawn, withdrawn])
    assert verdict.alert_key == retraction.alert_key
    assert verdict.verdict_id == verdict_id(verdict.survey, verdict.alert_id, verdict.bundle_digest), (
        "the identity of an ordinary verdict is fixed for ever"
    )
    assert retraction.verdict_id == again.verdict_id != verdict.verdict_id
    assert [each.is_retraction for each in (verdict, retraction)] == [False, True]


@pytest.mark.parametrize(
    ("graphs", "device", "said"),
    [("fp32", "fp32", "fp32"), ("bf16", "fp32", "bf16"), ("fp32", "bf16", "bf16"), ("fp16", "bf16", "bf16")],
)
def test_the_precision_is_that_of_the_graphs_unless_the_device_lowers_it(
    alerts: list[Alert], tmp_path: Path, graphs: str, device: str, said: str
) -> None:
    bundle = open_bundle(make_bundle(tmp_path / "bundle", precision=graphs))
    scorer = Scorer(bundle, dataclasses.replace(cpu_choice(), precision=Precision(device)))
    (verdict,) = scorer.score(alerts[:1])
    assert verdict.precision == scorer.precision == said


def test_a_batch_and_its_alerts_score_alike(scorer: Scorer, alerts: list[Alert]) -> None:
    batch = AlertBatch.from_alerts(alerts)
    assert without_clock(scorer.score(batch)) == without_clock(scorer.score(alerts))


def test_the_embedding_is_a_unit_vector_given_on_request(scorer: Scorer, alerts: list[Alert]) -> None:
    assert scorer.score(alerts[:1])[0].embedding is None
    (verdict,) = Scorer.open("default", device="cpu", embeddings=True).score(alerts[:1])
    assert verdict.embedding is not None
    # A float32 norm over the embedding's width.
    assert math.isclose(math.fsum(x * x for x in verdict.embedding), 1.0, abs_tol=1e-5)


PRIOR_FREE = frozenset(
    {
        "verdict_id",
        "class_prior",
        "decision_rule",
        "class_probabilities",
        "top_class",
        "top_class_probability",
    }
)
"""Fields that may differ under another prior."""


def test_another_prior_changes_the_probabilities_and_what_follows_from_them_alone(
    scorer: Scorer, alerts: list[Alert]
) -> None:
    manifest = scorer.bundle.manifest
    own = scorer.score(alerts)
    even = Scorer.open("default", device="cpu", class_prior="uniform").score(alerts)
    for before, after in zip(without_clock(own), without_clock(even), strict=True):
        assert {k: v for k, v in before.items() if k not in PRIOR_FREE} == {
            k: v for k, v in after.items() if k not in PRIOR_FREE
        }
        assert (before["class_prior"], after["class_prior"]) == (manifest.class_prior, "uniform")
        assert before["verdict_id"] != after["verdict_id"]
    for before, after in zip(own, even, strict=True):
        probabilities = np.array(list(before.class_probabilities.values()))
        expected = probabilities / np.array(manifest.class_frequencies)
        found = np.array(list(after.class_probabilities.values()))
        # Bayes' rule in float64.
        assert found == pytest.approx(expected / expected.sum(), abs=1e-12)


def test_the_bundles_own_frequencies_as_a_prior_change_no_probability(
    scorer: Scorer, alerts: list[Alert]
) -> None:
    manifest = scorer.bundle.manifest
    table = zip(manifest.classes, manifest.class_frequencies, strict=True)
    text = "mine:" + ",".join(f"{name}={share!r}" for name, share in table)
    again = Scorer.open("default", device="cpu", class_prior=text).score(alerts[:50])
    for before, after in zip(scorer.score(alerts[:50]), again, strict=True):
        assert after.class_prior == "mine"
        assert after.top_class == before.top_class
        # Frequencies that are normalised again may differ in the last place.
        assert after.class_probabilities == pytest.approx(before.class_probabilities, abs=1e-12)


def weighted_bundle(folder: Path, weights: dict[str, float]) -> Path:
    """Return a copy of the default bundle with a decision rule."""
    source = installed_bundles()["default"]
    copy = Path(shutil.copytree(source, folder / "weighted"))
    manifest = json.loads((copy / "manifest.json").read_text())
    for stratum in manifest["strata"]:
        stratum["class_weights"] = [weights.get(name, 1.0) for name in manifest["classes"]]
    changed = manifest | {"decision_rule": "macro_f1", "format_version": FORMAT_VERSION}
    (copy / "manifest.json").write_text(json.dumps(changed))
    return copy


def test_a_decision_rule_names_the_class_and_leaves_the_probabilities(
    scorer: Scorer, alerts: list[Alert], tmp_path: Path
) -> None:
    bundle = weighted_bundle(tmp_path, {"EA": 1e9})
    decided = Scorer.open(bundle, device="cpu").score(alerts)
    plain = Scorer.open(bundle, device="cpu", decision_rule="argmax").score(alerts)
    for before, by_rule, by_argmax in zip(scorer.score(alerts), decided, plain, strict=True):
        assert by_rule.class_probabilities == before.class_probabilities == by_argmax.class_probabilities
        assert by_argmax.top_class == before.top_class
        assert (by_rule.decision_rule, by_argmax.decision_rule) == ("macro_f1", "argmax")
        assert by_rule.verdict_id != by_argmax.verdict_id
        if by_rule.class_applies:
            assert by_rule.top_class == "EA"
            assert by_rule.top_class_probability == before.class_probabilities["EA"]


def test_under_another_prior_the_most_probable_class_is_named(alerts: list[Alert], tmp_path: Path) -> None:
    bundle = weighted_bundle(tmp_path, {"EA": 1e9})
    for verdict in Scorer.open(bundle, device="cpu", class_prior="uniform").score(alerts[:50]):
        assert verdict.decision_rule == "argmax"
        if verdict.top_class is not None:
            most = max(verdict.class_probabilities.values())
            assert verdict.class_probabilities[verdict.top_class] == most


@pytest.mark.parametrize("prior", ["bundle", "uniform"])
def test_the_tempered_rule_weights_each_class_by_the_root_of_its_frequency(
    scorer: Scorer, alerts: list[Alert], tmp_path: Path, prior: str
) -> None:
    bundle = weighted_bundle(tmp_path, {"EA": 1e9})  # whose own rule is not asked
    manifest = scorer.bundle.manifest
    frequency = dict(zip(manifest.classes, manifest.class_frequencies, strict=True))
    tempered = Scorer.open(bundle, device="cpu", class_prior=prior, decision_rule="tempered").score(alerts)
    changed = 0
    for before, verdict in zip(
        Scorer.open(bundle, device="cpu", class_prior=prior, decision_rule="argmax").score(alerts),
        tempered,
        strict=True,
    ):
        found = verdict.class_probabilities
        assert found == before.class_probabilities
        assert verdict.decision_rule == "tempered"
        assert verdict.verdict_id != before.verdict_id
        if verdict.class_applies:
            weight = {name: 1.0 if prior == "uniform" else frequency[name] ** -0.5 for name in found}
            assert verdict.top_class == max(found, key=lambda name: found[name] * weight[name])
            changed += verdict.top_class != before.top_class
    assert bool(changed) == (prior == "bundle")


def test_a_rule_that_is_not_there_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="bundle, argmax or tempered"):
        Scorer.open("default", device="cpu", decision_rule="best")


def test_a_bundle_with_too_few_weights_is_refused(tmp_path: Path) -> None:
    bundle = weighted_bundle(tmp_path, {})
    manifest = json.loads((bundle / "manifest.json").read_text())
    manifest["strata"][0]["class_weights"].pop()
    (bundle / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(BundleError, match="class weights"):
        Scorer.open(bundle, device="cpu")
