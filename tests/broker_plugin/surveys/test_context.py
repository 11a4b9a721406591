# SPDX-License-Identifier: BSD-3-Clause
"""The rules of source context, at their edges."""

from __future__ import annotations

from typing import Any

import pytest

from broker_plugin.records import SourceContext
from broker_plugin.surveys.context import lsst_context, ztf_context

NOTHING: dict[str, Any] = {
    "asteroid_arcsec": None,
    "reference_arcsec": None,
    "reference_brighter": False,
    "drb": None,
    "rb": None,
    "star_score": None,
    "ps1_arcsec": None,
    "seen_before": False,
}
LSST_STAR: dict[str, Any] = {
    "is_solar_system": False,
    "is_glint": False,
    "is_dipole": False,
    "reliability": 0.9,
    "seen_before": True,
    "extendedness": 0.0,
    "template_snr": 100.0,
}
STAR = {"star_score": 0.9, "ps1_arcsec": 0.3}


@pytest.mark.parametrize(
    ("known", "context"),
    [
        ({}, SourceContext.UNKNOWN),
        (STAR, SourceContext.STELLAR),
        ({"star_score": 0.5, "ps1_arcsec": 1.5}, SourceContext.STELLAR),
        ({"star_score": 0.9, "ps1_arcsec": 1.6}, SourceContext.UNKNOWN),
        ({"star_score": 0.4, "ps1_arcsec": 0.3}, SourceContext.UNKNOWN),
        ({"star_score": 0.3, "ps1_arcsec": 3.0}, SourceContext.GALAXY_HOST),
        ({"star_score": 0.0, "ps1_arcsec": 3.1}, SourceContext.UNKNOWN),
        ({"star_score": 0.9}, SourceContext.UNKNOWN),
        (STAR | {"drb": 0.05, "rb": 0.9}, SourceContext.ARTEFACT),
        (STAR | {"drb": 0.9, "rb": 0.05}, SourceContext.STELLAR),
        (STAR | {"rb": 0.19}, SourceContext.ARTEFACT),
        (STAR | {"rb": 0.2}, SourceContext.STELLAR),
        (STAR | {"drb": 0.0, "asteroid_arcsec": 0.0}, SourceContext.SOLAR_SYSTEM),
        ({"asteroid_arcsec": 5.0}, SourceContext.SOLAR_SYSTEM),
        ({"asteroid_arcsec": 30.0}, SourceContext.SOLAR_SYSTEM),
        ({"asteroid_arcsec": 30.1}, SourceContext.UNKNOWN),
        ({"asteroid_arcsec": 5.1, "seen_before": True}, SourceContext.UNKNOWN),
        ({"asteroid_arcsec": 5.1, "reference_arcsec": 1.5}, SourceContext.UNKNOWN),
        ({"asteroid_arcsec": 5.1, "reference_arcsec": 1.6}, SourceContext.SOLAR_SYSTEM),
        (STAR | {"asteroid_arcsec": 5.1}, SourceContext.STELLAR),
        (
            {"asteroid_arcsec": 3.0, "reference_arcsec": 0.5, "reference_brighter": True},
            SourceContext.UNKNOWN,
        ),
        (
            {"asteroid_arcsec": 3.0, "reference_arcsec": 0.5, "reference_brighter": False},
            SourceContext.SOLAR_SYSTEM,
        ),
        (
            {"asteroid_arcsec": 0.2, "reference_arcsec": 0.5, "reference_brighter": True},
            SourceContext.SOLAR_SYSTEM,
        ),
        (
            {"asteroid_arcsec": 3.0, "reference_arcsec": 1.6, "reference_brighter": True},
            SourceContext.SOLAR_SYSTEM,
        ),
    ],
)
def test_ztf_rules_hold_at_their_edges(known: dict[str, Any], context: SourceContext) -> None:
    assert ztf_context(**(NOTHING | known)) is context


@pytest.mark.parametrize(
    ("known", "context"),
    [
        ({}, SourceContext.STELLAR),
        ({"is_solar_system": True, "reliability": 0.0, "is_glint": True}, SourceContext.SOLAR_SYSTEM),
        ({"reliability": 0.09}, SourceContext.ARTEFACT),
        ({"reliability": 0.1}, SourceContext.STELLAR),
        ({"reliability": None}, SourceContext.STELLAR),
        ({"is_glint": True}, SourceContext.ARTEFACT),
        ({"is_glint": True, "reliability": None}, SourceContext.ARTEFACT),
        ({"is_dipole": True, "reliability": 0.49}, SourceContext.ARTEFACT),
        ({"is_dipole": True, "reliability": 0.5}, SourceContext.STELLAR),
        ({"is_dipole": True, "reliability": None}, SourceContext.STELLAR),
        ({"extendedness": 0.5, "template_snr": 5.0}, SourceContext.STELLAR),
        ({"extendedness": 0.51}, SourceContext.UNKNOWN),
        ({"extendedness": 1.0}, SourceContext.UNKNOWN),
        ({"extendedness": None}, SourceContext.UNKNOWN),
        ({"template_snr": 4.9}, SourceContext.UNKNOWN),
        ({"template_snr": None}, SourceContext.UNKNOWN),
        ({"seen_before": False}, SourceContext.UNKNOWN),
    ],
)
def test_lsst_rules_hold_at_their_edges(known: dict[str, Any], context: SourceContext) -> None:
    assert lsst_context(**(LSST_STAR | known)) is context
