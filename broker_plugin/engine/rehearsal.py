# SPDX-License-Identifier: BSD-3-Clause
"""A dress rehearsal: every graph at every shape, and alerts that every sound bundle can score."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from broker_plugin.codec.verdict import Tense, Verdict
from broker_plugin.engine.scorer import Scorer
from broker_plugin.errors import BrokerPluginError, BundleError
from broker_plugin.records import Access, Alert, AlertBatch, LightCurve, Origin
from broker_plugin.surveys.registry import SURVEYS

__all__ = ["PLAIN_ALERT", "plain_alert", "rehearse"]

PLAIN_ALERT = Alert(
    survey="ztf",
    alert_id=1,
    object_id="ztf:plain",
    ra_deg=0.0,
    dec_deg=0.0,
    mjd_tai=60_000.0,
    light_curve=LightCurve.from_columns(
        mjd_tai=[60_000.0],
        flux_njy=[1e5],
        flux_err_njy=[1e3],
        band=[0],
        origin=[Origin.DETECTION],
        apparent=[True],
        detector=[0],
        access=[Access.PUBLIC],
    ),
    metadata={"gal_lat_deg": -60.0},
)
"""An alert that every sound scorer can score."""

LENGTHS = (0, 1, 5, 60)
"""Epochs of the alerts of a rehearsal: none, and a few on each side of where a period is searched."""

SUM_TOLERANCE = 1e-6
"""Probabilities are float64 quotients of float32 logits; they sum to 1 far closer than this."""


def rehearse(scorer: Scorer) -> None:
    """Run every graph at every shape, and score plain alerts of every survey, with and without metadata.

    Raises
    ------
    BundleError
        If it fails, or a verdict says what no verdict can say.
    """
    try:
        scorer.warm_up()
        verdicts = scorer.score(AlertBatch.from_alerts(_plain_alerts()), tense=Tense.TEST)
    except BrokerPluginError:
        raise
    except Exception as error:  # whatever a graph raises: this bundle cannot score
        raise BundleError(
            f"bundle {scorer.bundle.manifest.name} cannot score a plain alert ({type(error).__name__}: "
            f"{error})",
            remedy="export it again",
        ) from error
    for verdict in verdicts:
        _require_sense(verdict)


def plain_alert(n_epochs: int, *, days: float, survey: str = "ztf") -> Alert:
    """Return the plain alert with so many epochs over so many days, of a star that swings in two bands."""
    times = np.linspace(-days, 0.0, n_epochs)
    curve = LightCurve.from_columns(
        mjd_tai=PLAIN_ALERT.mjd_tai + times,
        flux_njy=1e5 + 2e4 * np.sin(2.0 * times),
        flux_err_njy=np.full(n_epochs, 1e3),
        band=np.arange(n_epochs) % 2,
        origin=np.full(n_epochs, Origin.DETECTION),
        apparent=np.ones(n_epochs, np.bool_),
        detector=np.zeros(n_epochs),
        access=np.full(n_epochs, Access.PUBLIC),
    )
    return replace(PLAIN_ALERT, survey=survey, light_curve=curve)


def _plain_alerts() -> Iterator[Alert]:
    for survey in SURVEYS:
        for n_epochs in LENGTHS:
            alert = plain_alert(n_epochs, days=n_epochs, survey=survey)
            yield alert
            yield replace(alert, metadata={})


def _require_sense(verdict: Verdict) -> None:
    probabilities = verdict.class_probabilities.values()
    sound = (
        math.isclose(math.fsum(probabilities), 1.0, abs_tol=SUM_TOLERANCE)
        and all(0.0 <= each <= 1.0 for each in probabilities)
        and all(0.0 < each <= 1.0 for each in verdict.anomaly_p_values.values())
        and math.isfinite(verdict.anomaly_score)
    )
    if not sound:
        raise BundleError(
            f"bundle {verdict.bundle_name} gives impossible numbers for a plain alert of "
            f"{verdict.survey} with {verdict.n_epochs} epochs",
            remedy="export it again",
        )
