# SPDX-License-Identifier: BSD-3-Clause
"""Raw scores to verdicts: calibration by stratum, analogues, and the words for a person."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from broker_plugin import __version__
from broker_plugin.bundle import ARGMAX, Bundle, Stratum
from broker_plugin.calibration import class_set, decided, nightly_rate, p_value, softmax
from broker_plugin.codec.verdict import Analogue, Revision, Tense, Verdict, verdict_id
from broker_plugin.engine.encoders import FUSED
from broker_plugin.engine.explanation import explain
from broker_plugin.engine.providers import ProviderChoice
from broker_plugin.engine.scores import RawScores
from broker_plugin.errors import BundleError
from broker_plugin.features.period import Periods
from broker_plugin.prior import ClassPrior, reweighted
from broker_plugin.records import AlertBatch, QualityFlag, SourceContext
from broker_plugin.strata import StreamStrata
from broker_plugin.taxonomy import PASSBANDS
from broker_plugin.times import utc_iso

__all__ = ["Judge"]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Calibrated:
    strata: list[Stratum]  # of the classes
    own: NDArray[np.float64]  # (B, C), for the bundle's class prior
    probabilities: NDArray[np.float64]  # (B, C), for the prior that was asked for
    named: NDArray[np.intp]  # (B,), position of the class that the decision rule names
    p_values: Mapping[str, NDArray[np.float64]]  # source -> (B,)
    basis: list[tuple[str, int]]  # name and size of the stratum behind the p-values


class Judge:
    """Turns raw scores into verdicts with the calibration of one bundle.

    Parameters
    ----------
    prior
        Class frequencies that the probabilities are to assume, None for the bundle's own.
    decide
        Whether the bundle's decision rule names the class; else the most probable one is named, as it is
        under any other prior than the one that the rule was chosen under.
    """

    def __init__(
        self,
        bundle: Bundle,
        choice: ProviderChoice,
        *,
        embeddings: bool,
        prior: ClassPrior | None = None,
        decide: bool = True,
    ) -> None:
        self._bundle = bundle
        self._prior = prior
        self._rule = bundle.manifest.decision_rule if decide and prior is None else ARGMAX
        self._judged = self._choices()
        self._choice = choice
        self._embeddings = embeddings
        self._calibration = bundle.arrays(bundle.manifest.calibration_file)
        self._stream = StreamStrata(bundle.manifest.stream_strata)
        self._own_forest = {model.survey for model in bundle.manifest.forests} - {None}
        self._require_calibration()
        reference = bundle.arrays(bundle.manifest.reference_file)
        self._reference_id, self._reference_label = reference["object_id"], reference["label"]

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
        calibrated = self._calibrate(batch, scores)
        observed = utc_iso(batch.mjd_tai)
        common: dict[str, Any] = {
            "tense": tense,
            "taxonomy": self._bundle.manifest.taxonomy,
            "class_prior": self._prior.name if self._prior else self._bundle.manifest.class_prior,
            "decision_rule": self._rule,
            "bundle_name": self._bundle.manifest.name,
            "bundle_digest": self._bundle.digest,
            "feature_spec_version": self._bundle.manifest.feature_spec_version,
            "plugin_version": __version__,
            "provider": self._choice.provider,
            "precision": self._choice.precision,
            "received_at": received_at,
            "emitted_at": emitted_at,
        }
        verdicts = []
        for row in range(len(batch)):
            parts = (
                common
                | {"observed_utc": observed[row]}
                | self._identity(batch, row)
                | self._classification(batch, row, calibrated)
                | self._strangeness(batch, row, scores, calibrated)
                | _evidence(batch, row, periods)
                | self._resemblance(row, scores)
            )
            parts["explanation"] = _explanation(batch, row, parts)
            verdicts.append(Verdict(**parts))
        return verdicts

    def _choices(self) -> str:
        """Return what sets these verdicts apart from those of the bundle alone, empty for nothing."""
        prior = f"/{self._prior.name}/{self._prior.digest}" if self._prior else ""
        own_rule = self._rule == self._bundle.manifest.decision_rule
        return prior + ("" if own_rule else f"/{self._rule}")

    def _require_calibration(self) -> None:
        manifest = self._bundle.manifest
        for stratum in manifest.strata:
            if stratum.class_weights is not None and len(stratum.class_weights) != len(manifest.classes):
                raise BundleError(
                    f"bundle {manifest.name} has {len(stratum.class_weights)} class weights for "
                    f"{stratum.name} and {len(manifest.classes)} classes",
                    remedy="export it again",
                )
        forests = {forest.source for forest in manifest.forests if forest.survey is None}
        for stratum in manifest.strata:
            modalities = stratum.name.partition("/")[0].split("+")
            for source in forests & {FUSED, *modalities}:
                if f"{stratum.name}/{source}" not in self._calibration:
                    raise BundleError(
                        f"bundle {manifest.name} has no {source} scores for {stratum.name}",
                        remedy="export it again",
                    )
        for stream in manifest.stream_strata:
            if f"{stream.name}/{FUSED}" not in self._calibration:
                raise BundleError(
                    f"bundle {manifest.name} has no {FUSED} scores for {stream.name}",
                    remedy="export it again",
                )

    def _calibrate(self, batch: AlertBatch, scores: RawScores) -> _Calibrated:
        strata = [
            self._bundle.stratum_of(modalities, int(n))
            for modalities, n in zip(scores.modalities, batch.n_epochs, strict=True)
        ]
        position = self._stream.positions(
            batch.survey, batch.source_context, scores.modalities, batch.n_epochs
        )
        self._require_own_strata(batch, scores, position)
        basis = [
            (catalogue.name, catalogue.n) if at < 0 else (self._stream[at].name, self._stream[at].n)
            for catalogue, at in zip(strata, position.tolist(), strict=True)
        ]
        own = softmax(scores.fusion.logits, np.array([stratum.temperature for stratum in strata]))
        probabilities = own
        if self._prior is not None:
            frequencies = self._bundle.manifest.class_frequencies
            probabilities = reweighted(own, frequencies, self._prior.frequencies)
        return _Calibrated(
            strata=strata,
            own=own,
            probabilities=probabilities,
            named=decided(probabilities, self._weights(strata)),
            p_values=self._p_values(scores, np.array([name for name, _ in basis])),
            basis=basis,
        )

    def _weights(self, strata: list[Stratum]) -> NDArray[np.float64]:
        """Return the weights of the classes (B, C) by the decision rule."""
        even = [1.0] * len(self._bundle.manifest.classes)
        if self._rule == ARGMAX:
            return np.array([even])
        return np.array([stratum.class_weights or even for stratum in strata])

    def _p_values(self, scores: RawScores, name: NDArray[np.str_]) -> dict[str, NDArray[np.float64]]:
        """Return p-values by source.

        They are 1 where a stratum has no scores of a source to compare with, and where an alert has no
        modality at all: of nothing, nothing is strange.
        """
        has_any = np.array([bool(modalities) for modalities in scores.modalities])
        p_values = {source: np.ones(len(name)) for source in scores.anomaly}
        for each in np.unique(name):
            rows = (name == each) & has_any
            for source, score in scores.anomaly.items():
                if f"{each}/{source}" in self._calibration:
                    p_values[source][rows] = p_value(score[rows], self._calibration[f"{each}/{source}"])
        return p_values

    def _require_own_strata(self, batch: AlertBatch, scores: RawScores, position: NDArray[np.int64]) -> None:
        """Refuse to compare scores of a survey's own forest with scores of the common one."""
        for survey in self._own_forest & set(batch.survey):
            found = zip(batch.survey, scores.modalities, position.tolist(), strict=True)
            used = {at for name, modalities, at in found if name == survey and modalities}
            if any(at < 0 or self._stream[at].forest != survey for at in used):
                raise BundleError(
                    f"bundle {self._bundle.manifest.name} scores {survey} by a forest of its own and "
                    "has no calibration of that forest for one of the alerts",
                    remedy="fit it again with trainer fit-anomaly",
                )

    def _identity(self, batch: AlertBatch, row: int) -> dict[str, Any]:
        survey, alert_id = batch.survey[row], int(batch.alert_id[row])
        withdrawn = QualityFlag.WITHDRAWN in batch.flags[row]
        return {
            "verdict_id": verdict_id(survey, alert_id, self._bundle.digest, judged=self._judged),
            "alert_key": f"{survey}:{alert_id}",
            "inputs_digest": _inputs_digest(batch, row),
            "revision": Revision.RETRACTION if withdrawn else Revision.INITIAL,
            "survey": survey,
            "alert_id": alert_id,
            "object_id": batch.object_id[row],
            "ra_deg": float(batch.ra_deg[row]),
            "dec_deg": float(batch.dec_deg[row]),
            "mjd_tai": float(batch.mjd_tai[row]),
            "source_context": str(batch.source_context[row]),
            "history_origin": "packet+store" if batch.n_stored_epochs[row] else "packet",
            "n_stored_epochs": batch.n_stored_epochs[row],
            "context_sources": batch.context_sources[row],
            "quality_flags": tuple(str(flag) for flag in batch.flags[row]),
        }

    def _classification(self, batch: AlertBatch, row: int, calibrated: _Calibrated) -> dict[str, Any]:
        classes = self._bundle.manifest.classes
        probabilities = calibrated.probabilities[row]
        top = int(calibrated.named[row])
        applies = batch.source_context[row] is SourceContext.STELLAR
        # Its threshold is one of the bundle's own probabilities; so taken, the set holds as large a share of
        # each class under every prior.
        members = class_set(calibrated.own[row], calibrated.strata[row].class_threshold)
        return {
            "class_probabilities": dict(zip(classes, probabilities.tolist(), strict=True)),
            "class_applies": applies,
            "top_class": classes[top] if applies else None,
            "top_class_probability": float(probabilities[top]) if applies else None,
            "class_set": tuple(classes[member] for member in members),
        }

    def _strangeness(
        self, batch: AlertBatch, row: int, scores: RawScores, calibrated: _Calibrated
    ) -> dict[str, Any]:
        sources = (FUSED, *scores.modalities[row])
        p_values = {source: float(calibrated.p_values[source][row]) for source in sources}
        nightly = self._bundle.manifest.nightly_alerts.get(batch.survey[row])
        name, n = calibrated.basis[row]
        return {
            "anomaly_score": float(scores.anomaly[FUSED][row]),
            "anomaly_p_value": p_values[FUSED],
            "anomaly_scores": {source: float(scores.anomaly[source][row]) for source in sources},
            "anomaly_p_values": p_values,
            "expected_per_night": nightly_rate(p_values[FUSED], n, nightly),
            "calibration_n": n,
            "calibration_stratum": name,
            "modalities": scores.modalities[row],
            "oddities": dict(
                zip(self._bundle.manifest.head.oddities, scores.fusion.oddity[row].tolist(), strict=True)
            ),
        }

    def _resemblance(self, row: int, scores: RawScores) -> dict[str, Any]:
        fusion = scores.fusion
        near = zip(fusion.neighbour[row], fusion.similarity[row], strict=True)
        return {
            "analogues": tuple(
                Analogue(
                    object_id=str(self._reference_id[position]),
                    label=str(self._reference_label[position]),
                    cosine=float(cosine),
                )
                for position, cosine in near
            ),
            "embedding": tuple(fusion.fused[row].tolist()) if self._embeddings else None,
        }


def _evidence(batch: AlertBatch, row: int, periods: Periods) -> dict[str, Any]:
    epochs = _epochs(batch, row)
    codes, counts = np.unique(batch.epochs.band[epochs], return_counts=True)
    searched = bool(periods.searched[row])
    return {
        "n_epochs": epochs.stop - epochs.start,
        "n_epochs_by_band": {PASSBANDS[code][0]: int(n) for code, n in zip(codes, counts, strict=True)},
        "period_day": float(periods.period_day[row]) if searched else None,
        "period_false_alarm_probability": float(periods.false_alarm_probability[row]) if searched else None,
        "period_aliases_day": tuple(float(alias) for alias in periods.aliases_day[row] if alias > 0),
        "period_epochs": int(periods.n_epochs[row]) if searched else 0,
    }


def _explanation(batch: AlertBatch, row: int, parts: Mapping[str, Any]) -> str:
    mjd = batch.epochs.mjd_tai[_epochs(batch, row)]
    return explain(
        n_epochs_by_band=parts["n_epochs_by_band"],
        span_day=float(np.ptp(mjd)) if len(mjd) else 0.0,
        modalities=parts["modalities"],
        p_values=parts["anomaly_p_values"],
        calibration_n=parts["calibration_n"],
        calibration_stratum=parts["calibration_stratum"],
        period_day=parts["period_day"],
        period_false_alarm_probability=parts["period_false_alarm_probability"],
        analogues=parts["analogues"],
        class_applies=parts["class_applies"],
        source_context=parts["source_context"],
        oddities=parts["oddities"],
    )


def _epochs(batch: AlertBatch, row: int) -> slice:
    return slice(int(batch.offsets[row]), int(batch.offsets[row + 1]))


def _inputs_digest(batch: AlertBatch, row: int) -> str:
    """Hash all that a verdict reads of an alert: 128 bits, more than enough to tell alerts apart."""
    digest = hashlib.sha256()
    identity = (batch.survey[row], batch.object_id[row], batch.source_context[row], *batch.flags[row])
    digest.update("\x1f".join(identity).encode())
    for name in ("alert_id", "ra_deg", "dec_deg", "mjd_tai", "metadata", "metadata_valid"):
        digest.update(getattr(batch, name)[row].tobytes())
    for column in fields(batch.epochs):
        digest.update(getattr(batch.epochs, column.name)[_epochs(batch, row)].tobytes())
    if batch.n_stored_epochs[row] is not None:
        digest.update(f"\x1fstored={batch.n_stored_epochs[row]}".encode())
    for source in batch.context_sources[row]:
        digest.update(f"\x1fcontext={source}".encode())
    spectrum = batch.spectra[row]
    if spectrum is not None:
        for values in (spectrum.wave_aa, spectrum.flux, spectrum.inverse_variance):
            digest.update(values.tobytes())
    for name, attachment in sorted(batch.attachments[row].items()):
        digest.update(f"\x1f{name}{attachment.values.shape}".encode())
        digest.update(attachment.values.tobytes())
    return digest.hexdigest()[:32]
