# SPDX-License-Identifier: BSD-3-Clause
"""A candidate as a target: made once, amended by every later verdict, off our lists when it is withdrawn."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.db import transaction
from tom_targets.models import Target, TargetExtra, TargetList, TargetName

from broker_plugin.client import Candidate, Verdict
from tom_astrom3.models import WithdrawnAlert
from tom_astrom3.photometry import amend_photometry, rows_of

__all__ = [
    "PREFIX",
    "amend_target",
    "extras_of",
    "find_target",
    "save_candidate",
    "take_back",
    "target_name",
]

PREFIX = "astrom3_"
"""Before the name of every target extra that is ours."""

AGE = f"{PREFIX}mjd_tai"
"""The extra that says which verdict the others are of; an older one changes nothing."""

LISTS = "AstroM3: "
"""Before the name of every list of targets that is ours."""


def save_candidate(candidate: Candidate, topic: str = "") -> Any:
    """Make or amend the target of a candidate: a handler for `TOPIC_HANDLERS`.

    Whatever comes twice, or in another order, ends in the same target. A retraction takes the target off our
    lists again, see `take_back`; the candidate that it takes back changes nothing after it. A solar-system
    source makes no target, since it moves: None is returned.
    """
    verdict = candidate.verdict
    if verdict.source_context == "solar_system":
        return None
    with transaction.atomic():
        if verdict.is_retraction:
            return take_back(candidate)
        if WithdrawnAlert.objects.filter(alert_key=verdict.alert_key).exists():
            return find_target(verdict.object_id)
        target = amend_target(verdict, links=candidate.links, route=candidate.route)
        amend_photometry(target, rows_of(candidate))
        group, _ = TargetList.objects.get_or_create(name=f"{LISTS}{candidate.route or topic}")
        group.targets.add(target)
    return target


def take_back(candidate: Candidate) -> Any | None:
    """Take the target of a withdrawn alert off our lists, where its newest verdict is the one on that alert.

    It is not deleted, and its extras say so; a later verdict lists it again. None is returned where there is
    no target: a retraction makes none.
    """
    verdict = candidate.verdict
    WithdrawnAlert.objects.get_or_create(alert_key=verdict.alert_key)
    target = find_target(verdict.object_id)
    if target is not None and verdict.mjd_tai == _age(target):
        target.save(extras=extras_of(verdict, links=candidate.links, route=candidate.route))
        for group in TargetList.objects.filter(targets=target, name__startswith=LISTS):
            group.targets.remove(target)
    return target


def amend_target(verdict: Verdict, *, links: Mapping[str, str] | None = None, route: str = "") -> Any:
    """Return the object's target, made if there is none, with the extras of its newest verdict.

    The position of a target that is there already is left alone: somebody may have refined it.
    """
    target = find_target(verdict.object_id)
    extras = extras_of(verdict, links=links, route=route)
    if target is None:
        target = Target(name=target_name(verdict.object_id), type="SIDEREAL")
        target.ra, target.dec = verdict.ra_deg, verdict.dec_deg
        target.save(extras=extras)
    elif verdict.mjd_tai >= _age(target):
        target.save(extras=extras)
    if target.name != verdict.object_id:
        TargetName.objects.get_or_create(name=verdict.object_id, defaults={"target": target})
    return target


def find_target(object_id: str) -> Any | None:
    """Return the target of an object, known by its name or an alias, whoever made it."""
    names = {object_id, target_name(object_id)}
    found = Target.objects.filter(name__in=names).first()
    if found is None:
        alias = TargetName.objects.filter(name__in=names).first()
        found = None if alias is None else Target.objects.get(pk=alias.target_id)
    return found


def target_name(object_id: str) -> str:
    """Return the name of an object's target: as the survey and other brokers write it."""
    bare = object_id.partition(":")[2]
    return object_id if not bare or ":" in bare else bare


def extras_of(verdict: Verdict, *, links: Mapping[str, str] | None = None, route: str = "") -> dict[str, Any]:
    """Return a target's extras: what the verdict says, in a few words each."""
    extras = {
        "class": verdict.top_class or "",
        "class_probability": verdict.top_class_probability,
        "class_set": ", ".join(verdict.class_set),
        "p_value": verdict.anomaly_p_value,
        "anomaly_score": verdict.anomaly_score,
        "source_context": verdict.source_context,
        "period_day": verdict.period_day,
        "explanation": verdict.explanation,
        "n_epochs": verdict.n_epochs,
        "observed_utc": verdict.observed_utc,
        "mjd_tai": verdict.mjd_tai,
        "tense": str(verdict.tense),
        "revision": str(verdict.revision),
        "verdict_id": verdict.verdict_id,
        "bundle": f"{verdict.bundle_name} {verdict.bundle_digest[:12]}",
        "route": route,
        "links": " ".join((links or {}).values()),
    }
    return {f"{PREFIX}{name}": "" if value is None else value for name, value in extras.items()}


def _age(target: Any) -> float:
    known = TargetExtra.objects.filter(target=target, key=AGE).first()
    return float("-inf") if known is None or known.float_value is None else known.float_value
