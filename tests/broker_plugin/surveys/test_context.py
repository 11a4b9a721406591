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
    ("solar_system", "reliability", "extendedness", "template_snr", "context"),
    [
        (True, 0.0, 1.0, 100.0, SourceContext.SOLAR_SYSTEM),
        (False, 0.09, 0.0, 100.0, SourceContext.ARTEFACT),
        (False, 0.1, 0.0, 100.0, SourceContext.STELLAR),
        (False, None, 0.5, 5.0, SourceContext.STELLAR),
        (False, None, 0.51, 5.0, SourceContext.UNKNOWN),
        (False, None, 0.9, 5.0, SourceContext.GALAXY_HOST),
        (False, None, 0.0, 4.9, SourceContext.UNKNOWN),
        (False, None, 0.0, None, SourceContext.UNKNOWN),
        (False, None, None, 50.0, SourceContext.UNKNOWN),
    ],
)
def test_lsst_rules_hold_at_their_edges(
    solar_system: bool,
    reliability: float | None,
    extendedness: float | None,
    template_snr: float | None,
    context: SourceContext,
) -> None:
    found = lsst_context(
        is_solar_system=solar_system,
        reliability=reliability,
        extendedness=extendedness,
        template_snr=template_snr,
    )
    assert found is context
