# SPDX-License-Identifier: BSD-3-Clause
"""The cards of the strangest objects: light curves, analogues, classes, odds, and where to look further."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray

from broker_plugin.bundle import Bundle
from broker_plugin.codec.verdict import Verdict
from broker_plugin.demo.figures import (
    BAND_MARKS,
    DASHES,
    Template,
    bands_of,
    folded_figure,
    light_curve_figure,
)
from broker_plugin.demo.findings import Playback, ScoredObject
from broker_plugin.demo.svg import marks
from broker_plugin.engine.explanation import one_in
from broker_plugin.records import LightCurve
from broker_plugin.taxonomy import CLASSES

__all__ = ["Profiles", "card", "context_name", "object_links", "reference_profiles"]

Profiles = Mapping[str, NDArray[np.float64]]
"""Mean light curves over phase of the bundle's labelled objects, by their id."""

CLASSES_SHOWN = 6
ANALOGUES_SHOWN = 3

DESCRIPTIONS = {entry.name: entry.description for entry in CLASSES}
ECLIPSING = frozenset(entry.name for entry in CLASSES if entry.parent == "eclipsing")
"""Classes whose strongest peak is half the orbit: they are folded at twice the period that was found."""

CONTEXTS = {
    "stellar": "star",
    "galaxy_host": "in a galaxy",
    "solar_system": "solar system",
    "artefact": "artefact",
    "unknown": "unknown source",
}


def reference_profiles(bundle: Bundle) -> Profiles:
    """Return the profiles of a bundle's labelled objects."""
    arrays = bundle.arrays(bundle.manifest.reference_file)
    return {
        str(name): np.asarray(profile, np.float64)
        for name, profile in zip(arrays["object_id"], arrays["profile"], strict=True)
    }


def context_name(context: str) -> str:
    """Return a source context in plain words.

    Examples
    --------
    >>> context_name("galaxy_host")
    'in a galaxy'
    """
    return CONTEXTS.get(context, context.replace("_", " "))


def card(scored: ScoredObject, playback: Playback, profiles: Profiles) -> str:
    """Return the card of one object."""
    verdict = scored.verdict
    curve = playback.light_curves[verdict.alert_key]
    templates = _templates(verdict, profiles)
    raw = light_curve_figure(curve, alert_mjd=verdict.mjd_tai, name=verdict.object_id)
    folded = _folded(verdict, curve, templates)
    facts = f'<div class="facts">{_classes(verdict)}{_evidence(verdict)}{_further(verdict, playback)}</div>'
    # Where there is nothing to fold, the facts take its place.
    right, below = (facts, "") if folded is None else (folded + _analogue_key(templates), facts)
    return (
        f'<article class="card" id="rank-{scored.rank}">'
        f"{_head(scored)}{_truth(verdict, playback)}"
        f'<p class="why">{escape(verdict.explanation)}</p>'
        f'<div class="plots"><div>{raw}{_band_key(curve)}</div>'
        f"<div>{right}</div></div>{below}</article>"
    )


def object_links(verdict: Verdict) -> list[tuple[str, str]]:
    """Return names and addresses of pages about a real object, by its id and its position."""
    place = f"{verdict.ra_deg:.6f} {verdict.dec_deg:+.6f}"
    links = []
    name = quote(verdict.object_id.rpartition(":")[2])
    if verdict.survey == "ztf":
        links += [
            ("ALeRCE", f"https://alerce.online/object/{name}"),
            ("Fink", f"https://ztf.fink-portal.org/{name}"),
            ("Lasair", f"https://lasair-ztf.lsst.ac.uk/objects/{name}/"),
        ]
    elif verdict.object_id.count(":") == 1:
        links += [
            ("ALeRCE", f"https://lsst.alerce.online/object/{name}?survey=lsst"),
            ("Fink", f"https://lsst.fink-portal.org/{name}"),
            ("Lasair", f"https://lasair.lsst.ac.uk/objects/{name}/"),
        ]
    simbad = f"https://simbad.cds.unistra.fr/simbad/sim-coo?Coord={quote(place)}&Radius=5&Radius.unit=arcsec"
    return [*links, ("SIMBAD", simbad)]


def _head(scored: ScoredObject) -> str:
    verdict = scored.verdict
    if verdict.top_class is not None and verdict.top_class_probability is not None:
        name = DESCRIPTIONS.get(verdict.top_class, verdict.top_class)
        likely = f"{escape(verdict.top_class)} ({verdict.top_class_probability:.0%}), {escape(name)}"
    else:
        likely = "no stellar class applies"
    alerts = f'<span class="chip">{scored.n_alerts} alerts</span>' if scored.n_alerts > 1 else ""
    odds = escape(one_in(verdict.anomaly_p_value, verdict.calibration_n))
    return (
        f'<header><span class="rank">{scored.rank}</span><h3 class="id">{escape(verdict.object_id)}</h3>'
        f'<span class="chip">{escape(verdict.survey.upper())}</span>'
        f'<span class="chip">{escape(context_name(verdict.source_context))}</span>{alerts}'
        f"<span>{likely}</span>"
        f'<span class="odds">{odds} <small>(n = {verdict.calibration_n:,})</small></span></header>'
    )


def _truth(verdict: Verdict, playback: Playback) -> str:
    if playback.night is None:
        return ""
    source = playback.night.objects[verdict.object_id].source
    simulated = f"Simulated as: {escape(source.kind)}"
    if source.period_day is not None:
        simulated += f", period {source.period_day:.5g} d"
    if source.planted is None:
        return f'<p class="truth">{simulated}</p>'
    hard = " (hard)" if source.hard else ""
    return (
        f'<p class="truth"><span class="chip planted">planted{hard}</span> '
        f"{escape(source.planted)}. {simulated}</p>"
    )


def _folded(verdict: Verdict, curve: LightCurve, templates: Sequence[Template]) -> str | None:
    if verdict.period_day is None:
        return None
    return folded_figure(
        curve,
        alert_mjd=verdict.mjd_tai,
        period_day=verdict.period_day * (2.0 if verdict.top_class in ECLIPSING else 1.0),
        templates=templates,
        name=verdict.object_id,
    )


def _templates(verdict: Verdict, profiles: Profiles) -> list[Template]:
    if not verdict.class_applies:
        return []
    return [
        Template(name=near.object_id, label=near.label, cosine=near.cosine, profile=profiles[near.object_id])
        for near in verdict.analogues[:ANALOGUES_SHOWN]
        if near.object_id in profiles
    ]


def _band_key(curve: LightCurve) -> str:
    parts = []
    for _, letter, _ in bands_of(curve):
        mark = marks([(6.0, 6.0)], shape=BAND_MARKS.get(letter, "circle"), css=f"seen band-{letter}")
        parts.append(
            f'<span><svg viewBox="0 0 12 12" aria-hidden="true">{mark}</svg> {escape(letter)}</span>'
        )
    parts.append("<span>filled: detection, hollow: forced photometry</span>")
    return f'<p class="key">{"".join(parts)}</p>'


def _analogue_key(templates: Sequence[Template]) -> str:
    parts = [
        f'<span><span class="dash {dash}"></span>{escape(template.label)} '
        f"{escape(template.name)}, cosine {template.cosine:.2f}</span>"
        for template, dash in zip(templates, DASHES, strict=False)
    ]
    return f'<p class="key">{"".join(parts)}</p>'


def _classes(verdict: Verdict) -> str:
    ranked = sorted(verdict.class_probabilities.items(), key=lambda entry: -entry[1])[:CLASSES_SHOWN]
    rows = "".join(
        f'<li><span>{escape(name)}</span><span class="track"><i style="width:{100 * value:.1f}%"></i></span>'
        f'<span class="n">{value:.1%}</span></li>'
        for name, value in ranked
    )
    applies = "" if verdict.class_applies else ", which do not describe this source"
    members = ", ".join(verdict.class_set) or "empty"
    state = "classes" if verdict.class_applies else "classes off"
    return (
        f'<div><h4>Class probabilities{applies}</h4><ul class="{state}">{rows}</ul>'
        f"<div>90 % set: {escape(members)}</div></div>"
    )


def _evidence(verdict: Verdict) -> str:
    rows = [
        f"p-value of {source}: {value:.4f} (score {verdict.anomaly_scores[source]:.3f})"
        for source, value in verdict.anomaly_p_values.items()
    ]
    rows.append(f"calibrated on {verdict.calibration_stratum} epochs")
    counts = (f"{count} {band}" for band, count in verdict.n_epochs_by_band.items())
    rows.append(f"epochs: {', '.join(counts) or 'none'}")
    rows.append(f"period: {_period(verdict)}")
    return f"<div><h4>Evidence</h4><ul>{''.join(f'<li>{escape(row)}</li>' for row in rows)}</ul></div>"


def _period(verdict: Verdict) -> str:
    if verdict.period_day is None or verdict.period_false_alarm_probability is None:
        return "too few epochs to search"
    return f"{verdict.period_day:.6g} d, false-alarm probability {verdict.period_false_alarm_probability:.2g}"


def _further(verdict: Verdict, playback: Playback) -> str:
    place = (
        f"<div>RA {verdict.ra_deg:.5f}°, Dec {verdict.dec_deg:+.5f}°</div><div>{verdict.observed_utc}</div>"
    )
    if playback.night is not None:
        return f"<div><h4>Position</h4>{place}<div>not on the sky: no catalogue knows it</div></div>"
    links = " · ".join(
        f'<a href="{escape(address)}" rel="noreferrer">{escape(name)}</a>'
        for name, address in object_links(verdict)
    )
    return f"<div><h4>Look further</h4>{place}<div>{links}</div></div>"
