# SPDX-License-Identifier: BSD-3-Clause
"""What a packet says that its source is. The first rule that holds decides.

================  ==========================================================  ================================
context           ZTF                                                         LSST
================  ==========================================================  ================================
`solar_system`    a known asteroid within 5 arcsec, unless a reference        `ssObjectId` set and no
                  source is nearer and brighter than the change; or within    `diaObject`
                  30 arcsec of a place where nothing was ever seen
`artefact`        `drb` < 0.1, or `rb` < 0.2 where there is no `drb`          `reliability` < 0.1 (Rubin sends
                                                                              none at present, but its cut
                                                                              changes with releases);
                                                                              `glint_trail`; or `isDipole` and
                                                                              `reliability` < 0.5
`stellar`         PS1 source within 1.5 arcsec with `sgscore1` >= 0.5         the template holds a source, it
                                                                              was seen 20 minutes before, and
                                                                              the median `extendedness` of its
                                                                              detections is <= 0.5
`galaxy_host`     PS1 source within 3 arcsec with `sgscore1` <= 0.3           never
`unknown`         everything else                                             everything else
================  ==========================================================  ================================

Of ZTF, between "surely a star" and "surely a galaxy" lies a gap on purpose: a wrong `galaxy_host` takes the
reference flux from a variable star, a wrong `stellar` lets class probabilities be believed of a supernova.

Rubin's `extendedness` is measured on the difference image: it is the shape of the change, not of what lies
beneath. Low, it says that a point changed, which stars, active nuclei and supernovae have in common: the
medians of the 7 stars and 29 active nuclei that are known in our sample are all below 0.5. High, it says that
a subtraction failed or that the source is a trail. So of LSST `stellar` is "a point that changes above a
source", and no packet says that there is a host.
"""

from __future__ import annotations

from broker_plugin.records import SourceContext

__all__ = [
    "REFERENCE_IS_SOURCE_ARCSEC",
    "SAME_SOURCE_ARCSEC",
    "SEEN_BEFORE_DAY",
    "TEMPLATE_SNR_MIN",
    "lsst_context",
    "ztf_context",
]

SAME_SOURCE_ARCSEC = 1.5
"""A catalogue source nearer than this is the object: ZTF's positions scatter by 0.1-0.5 arcsec when faint,
and its pixels are 1 arcsec. Larger, and neighbours lend their star score; smaller, and faint variables lose
it."""

REFERENCE_IS_SOURCE_ARCSEC = 1.4
"""A source on the reference image nearer than this is the object. Known variables in ZTF lie within 1.1;
beyond about 1.5 chance neighbours begin, whose flux would dilute every amplitude."""

ASTEROID_ARCSEC = 5.0
"""A predicted asteroid nearer than this is the source, whatever else is near. Most are good to 1 arcsec."""

ASTEROID_SEARCH_ARCSEC = 30.0
"""ZTF's own search radius for asteroids. The predictions drift: those good to 12 arcsec fell from 98 to 82 %
in some months of 2026 (BOOM's tests). So a far match counts too where the place is empty: no reference
source, no catalogue source, no earlier detection. A new source that has an asteroid within 30 arcsec by
chance is taken for it until it is seen a second time."""

HOST_ARCSEC = 3.0
"""Search radius for a host. At 5 arcsec about every second position has a faint galaxy by chance."""

STAR_SCORE_MIN = 0.5
"""Least `sgscore1` of a star; PS1 sources without usable shapes have exactly 0.5. 99 % of the known variables
in our sample of ZTF alerts reach it."""

GALAXY_SCORE_MAX = 0.3
"""Largest `sgscore1` of a galaxy; the known variables in our sample begin at 0.32, galaxies lie below 0.1."""

DRB_ARTEFACT_MAX = 0.1
"""Below, ZTF's deep classifier is sure of an artefact. No known variable in our sample is below 0.2."""

RB_ARTEFACT_MAX = 0.2
"""The same for the older classifier `rb`, whose scores spread less; known variables begin at 0.33."""

RELIABILITY_ARTEFACT_MAX = 0.1
"""Below, Rubin's classifier is sure of an artefact; Rubin's own detections in long histories begin at 0.1."""

DIPOLE_RELIABILITY_MAX = 0.5
"""Below, a dipole is the two halves of a misplaced subtraction. Blended variables are dipoles too, mostly at
0.5 to 0.8."""

POINT_EXTENDEDNESS_MAX = 0.5
"""Largest median extendedness of points that change; single detections of one and the same reach 1. Above lie
blends, half of whose detections are dipoles."""

SEEN_BEFORE_DAY = 20 / 1440
"""A source that was there so long before does not move. In 20 minutes asteroids of the main belt move 1
arcsec near their stationary points and 10 elsewhere; Rubin returns to a field after half an hour, to a deep
one within a minute. A single detection tells nothing: on the sky 66 of 109 are longer than 1 arcsec, and 42
of those lie above some source of the template by chance."""

TEMPLATE_SNR_MIN = 5.0
"""Least signal to noise of the template flux for the template to hold a source at all."""


def ztf_context(
    *,
    asteroid_arcsec: float | None,
    reference_arcsec: float | None,
    reference_brighter: bool,
    drb: float | None,
    rb: float | None,
    star_score: float | None,
    ps1_arcsec: float | None,
    seen_before: bool,
) -> SourceContext:
    """Return the source context of a ZTF candidate; distances in arcsec, None where unknown."""
    empty = not (seen_before or _within(reference_arcsec) or _within(ps1_arcsec))
    if asteroid_arcsec is not None and asteroid_arcsec <= ASTEROID_ARCSEC:
        known_source = (
            reference_brighter
            and reference_arcsec is not None
            and reference_arcsec <= min(REFERENCE_IS_SOURCE_ARCSEC, asteroid_arcsec)
        )
        if not known_source:
            return SourceContext.SOLAR_SYSTEM
    elif asteroid_arcsec is not None and asteroid_arcsec <= ASTEROID_SEARCH_ARCSEC and empty:
        return SourceContext.SOLAR_SYSTEM
    score, limit = (drb, DRB_ARTEFACT_MAX) if drb is not None else (rb, RB_ARTEFACT_MAX)
    if score is not None and score < limit:
        return SourceContext.ARTEFACT
    if star_score is None or ps1_arcsec is None:
        return SourceContext.UNKNOWN
    if ps1_arcsec <= SAME_SOURCE_ARCSEC and star_score >= STAR_SCORE_MIN:
        return SourceContext.STELLAR
    if ps1_arcsec <= HOST_ARCSEC and star_score <= GALAXY_SCORE_MAX:
        return SourceContext.GALAXY_HOST
    return SourceContext.UNKNOWN


def _within(distance_arcsec: float | None) -> bool:
    """Tell whether a source is so near that it may be the object."""
    return distance_arcsec is not None and distance_arcsec <= SAME_SOURCE_ARCSEC


def lsst_context(
    *,
    is_solar_system: bool,
    is_glint: bool,
    is_dipole: bool,
    reliability: float | None,
    seen_before: bool,
    extendedness: float | None,
    template_snr: float | None,
) -> SourceContext:
    """Return the source context of an LSST source, `extendedness` being a median; None where unknown."""
    if is_solar_system:
        return SourceContext.SOLAR_SYSTEM
    limit = DIPOLE_RELIABILITY_MAX if is_dipole else RELIABILITY_ARTEFACT_MAX
    if is_glint or (reliability is not None and reliability < limit):
        return SourceContext.ARTEFACT
    has_source = template_snr is not None and template_snr >= TEMPLATE_SNR_MIN
    is_point = extendedness is not None and extendedness <= POINT_EXTENDEDNESS_MAX
    return SourceContext.STELLAR if has_source and is_point and seen_before else SourceContext.UNKNOWN
