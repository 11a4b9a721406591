# SPDX-License-Identifier: BSD-3-Clause
"""Raw scores to verdicts: what the calibration says, analogues, and the words for a person."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from broker_plugin import __version__
from broker_plugin.bundle import Bundle
from broker_plugin.calibration import nightly_rate
from broker_plugin.codec.verdict import Analogue, Revision, Tense, Verdict, verdict_id
from broker_plugin.decision import rule_in_force
from broker_plugin.engine.calibrator import Calibrated, Calibrator
from broker_plugin.engine.encoders import FUSED
from broker_plugin.engine.evidence import evidence, given_periods, spans
from broker_plugin.engine.explanation import explain
from broker_plugin.engine.inputs_digest import inputs_digests
from broker_plugin.engine.providers import ProviderChoice
from broker_plugin.engine.scores import RawScores
from broker_plugin.features.period import Periods
from broker_plugin.prior import BUNDLE, ClassPrior
from broker_plugin.records import AlertBatch, QualityFlag, SourceContext
from broker_plugin.times import utc_iso

__all__ = ["Judge"]

Columns = dict[str, Sequence[Any]]
"""Fields of verdicts by name, each with one entry for each alert of a batch."""

EXPLAINED = (
    "n_epochs_by_band",
    "modalities",
    "calibration_n",
    "calibration_stratum",
    "period_day",
    "period_false_alarm_probability",
    "analogues",
    "class_applies",
    "source_context",
    "oddities",
)
"""Fields that the explanation reads under their own names."""


class Judge:
    """Turns raw scores into verdicts with the calibration of one bundle.

    Parameters
    ----------
    prior
        Class frequencies that the probabilities are to assume, None for the bundle's own.
    decision_rule
        What names the class, a `DecisionRule`.

    Attributes
    ----------
    precision
        That of the encoders as they run.

    Raises
    ------
    ConfigurationError
        If there is no such rule.
    """

    def __init__(
        self,
        bundle: Bundle,
        choice: ProviderChoice,
        *,
        embeddings: bool,
        prior: ClassPrior | None = None,
        decision_rule: str = BUNDLE,
    ) -> None:
        manifest = bundle.manifest
        rule = rule_in_force(decision_rule, manifest.decision_rule, other_prior=prior is not None)
        self.precision = manifest.precision.lowered_to(choice.precision)
        self._manifest = manifest
        self._digest = bundle.digest
        self._judged = _choices(prior, own_rule=rule == manifest.decision_rule, rule=rule)
        self._embeddings = embeddings
        self._calibrator = Calibrator(bundle, prior=prior, rule=rule)
        reference = bundle.arrays(manifest.reference_file)
        self._object_ids, self._labels = (list(map(str, reference[name])) for name in ("object_id", "label"))
        self._common = {
            "taxonomy": manifest.taxonomy,
            "class_prior": prior.name if prior else manifest.class_prior,
            "decision_rule": rule,
            "bundle_name": manifest.name,
            "bundle_digest": bundle.digest,
            "feature_spec_version": manifest.feature_spec_version,
            "plugin_version": __version__,
            "provider": choice.provider,
            "precision": str(self.precision),
        }

    def verdicts(
        self,
        batch: AlertBatch,
        periods: Periods,
        scores: RawScores,
        *,
        tense: Tense,
        received_at: datetime,
        emitted_at: datetime,
    ) -> list[Verdict]:
        """Return one verdict for each alert of a batch, in order."""
        calibrated = self._calibrator.calibrate(batch, scores)
        # Whole columns of fields, as plain numbers: a verdict is then no more than a row of them.
        columns: Columns = (
            self._identity(batch)
            | self._classification(batch, calibrated)
            | self._strangeness(batch, scores, calibrated)
            | evidence(batch, periods)
            | self._resemblance(scores)
        )
        columns["explanation"] = _explanations(batch, columns)
        common = self._common | {"tense": tense, "received_at": received_at, "emitted_at": emitted_at}
        columns |= {name: [value] * len(batch) for name, value in common.items()}
        return list(map(Verdict._make, zip(*(columns[name] for name in Verdict._fields), strict=True)))

    def _identity(self, batch: AlertBatch) -> Columns:
        alert_id = batch.alert_id.tolist()
        keys = list(zip(batch.survey, alert_id, strict=True))
        revisions = [
            Revision.RETRACTION if QualityFlag.WITHDRAWN in flags else Revision.INITIAL
            for flags in batch.flags
        ]
        return {
            "verdict_id": [
                verdict_id(survey, each, self._digest, judged=self._judged, revision=revision)
                for (survey, each), revision in zip(keys, revisions, strict=True)
            ],
            "alert_key": [f"{survey}:{each}" for survey, each in keys],
            "inputs_digest": inputs_digests(batch),
            "revision": revisions,
            "survey": batch.survey,
            "alert_id": alert_id,
            "object_id": batch.object_id,
            "ra_deg": batch.ra_deg.tolist(),
            "dec_deg": batch.dec_deg.tolist(),
            "mjd_tai": batch.mjd_tai.tolist(),
            "observed_utc": utc_iso(batch.mjd_tai),
            "source_context": [str(context) for context in batch.source_context],
            "history_origin": ["packet+store" if n else "packet" for n in batch.n_stored_epochs],
            "n_stored_epochs": batch.n_stored_epochs,
            "context_sources": batch.context_sources,
            "quality_flags": [tuple(map(str, flags)) for flags in batch.flags],
        }

    def _classification(self, batch: AlertBatch, calibrated: Calibrated) -> Columns:
        classes = self._manifest.classes
        applies = [context is SourceContext.STELLAR for context in batch.source_context]
        tops = [
            (classes[top], probabilities[top]) if named else (None, None)
            for named, top, probabilities in zip(
                applies, calibrated.named, calibrated.probabilities, strict=True
            )
        ]
        return {
            "class_probabilities": [
                dict(zip(classes, probabilities, strict=True)) for probabilities in calibrated.probabilities
            ],
            "class_applies": applies,
            "top_class": [name for name, _ in tops],
            "top_class_probability": [probability for _, probability in tops],
            "class_set": [tuple(classes[member] for member in members) for members in calibrated.class_sets],
        }

    def _strangeness(self, batch: AlertBatch, scores: RawScores, calibrated: Calibrated) -> Columns:
        anomaly = {source: each.tolist() for source, each in scores.anomaly.items()}
        fused = [p_values[FUSED] for p_values in calibrated.p_values]
        sizes = [n for _, n in calibrated.basis]
        nightly = self._manifest.nightly_alerts
        oddities = self._manifest.head.oddities
        return {
            "anomaly_score": anomaly[FUSED],
            "anomaly_p_value": fused,
            "anomaly_scores": [
                {source: anomaly[source][row] for source in p_values}
                for row, p_values in enumerate(calibrated.p_values)
            ],
            "anomaly_p_values": calibrated.p_values,
            "expected_per_night": [
                nightly_rate(p, n, nightly.get(survey))
                for p, n, survey in zip(fused, sizes, batch.survey, strict=True)
            ],
            "calibration_n": sizes,
            "calibration_stratum": [name for name, _ in calibrated.basis],
            "modalities": scores.modalities,
            "oddities": [dict(zip(oddities, odd, strict=True)) for odd in scores.fusion.oddity.tolist()],
        }

    def _resemblance(self, scores: RawScores) -> Columns:
        fusion = scores.fusion
        found = zip(fusion.neighbour.tolist(), fusion.similarity.tolist(), strict=True)
        return {
            "analogues": [
                tuple(
                    Analogue(self._object_ids[at], self._labels[at], cosine)
                    for at, cosine in zip(positions, cosines, strict=True)
                )
                for positions, cosines in found
            ],
            "embedding": list(map(tuple, fusion.fused.tolist()))
            if self._embeddings
            else [None] * len(fusion.fused),
        }


def _explanations(batch: AlertBatch, columns: Columns) -> list[str]:
    read = zip(
        spans(batch),
        given_periods(batch),
        *(columns[name] for name in EXPLAINED),
        columns["anomaly_p_values"],
        strict=True,
    )
    return [
        explain(
            span_day=span_day,
            catalogue_period_day=given_day,
            p_values=p_values,
            **dict(zip(EXPLAINED, fields, strict=True)),
        )
        for span_day, given_day, *fields, p_values in read
    ]


def _choices(prior: ClassPrior | None, *, own_rule: bool, rule: str) -> str:
    """Return what sets these verdicts apart from those of the bundle alone, empty for nothing."""
    asked = f"/{prior.name}/{prior.digest}" if prior else ""
    return asked + ("" if own_rule else f"/{rule}")
