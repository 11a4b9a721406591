# SPDX-License-Identifier: BSD-3-Clause
"""A data service: queries the topic of candidates, and brings a target's light curve up to date."""

from __future__ import annotations

import threading
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Any

from django import forms
from tom_dataservices.dataservices import DataService, NotConfiguredError, QueryServiceError
from tom_dataservices.forms import BaseQueryForm
from tom_targets.models import Target

from broker_plugin.client import (
    Candidate,
    Cone,
    Epoch,
    UpperLimit,
    WatchList,
    is_object_name,
    subscribe_to_candidates,
)
from broker_plugin.errors import BrokerPluginError
from tom_astrom3 import __version__
from tom_astrom3.photometry import SOURCE, amend_photometry, rows_of
from tom_astrom3.targets import extras_of, find_target, target_name

__all__ = ["AstroM3DataService", "AstroM3Form"]

DAYS = 7.0
"""How far back a query looks unless told."""

QUIET_S = 3.0
"""The topic is at its end when nothing has come for so long."""

QUERY_S = 60.0
"""Longest query; what was read until then is the answer."""

CURRENT = "current"

TENSES = (CURRENT, "archival", "injection", "test", "any")
"""Unless another one is asked for, nothing that is not about the sky now becomes a target."""

CONTEXTS = ("any", "stellar", "galaxy_host", "artefact", "unknown")


class AstroM3Form(BaseQueryForm):
    """What may be asked of the candidates."""

    object_id = forms.CharField(required=False, label="Object", help_text="as the survey names it")
    ra = forms.FloatField(required=False, min_value=0, max_value=360, label="RA (deg)")
    dec = forms.FloatField(required=False, min_value=-90, max_value=90, label="Dec (deg)")
    radius = forms.FloatField(required=False, min_value=0.01, initial=5.0, label="Radius (arcsec)")
    class_name = forms.CharField(required=False, label="Class", help_text="or a kind, such as pulsating")
    min_probability = forms.FloatField(required=False, min_value=0, max_value=1, label="Least probability")
    max_p_value = forms.FloatField(required=False, min_value=0, max_value=1, label="Largest p-value")
    context = forms.ChoiceField(required=False, choices=[(name, name) for name in CONTEXTS])
    days = forms.FloatField(required=False, min_value=0.01, initial=DAYS, label="Of the last days")
    tense = forms.ChoiceField(
        required=False,
        choices=[(name, name) for name in TENSES],
        initial=CURRENT,
        help_text="replays, injections and tests only where they are asked for",
    )

    def clean(self) -> dict[str, Any]:
        """Refuse half a position."""
        cleaned: dict[str, Any] = super().clean() or {}
        if (cleaned.get("ra") is None) != (cleaned.get("dec") is None):
            raise forms.ValidationError("Give both RA and Dec, or neither.")
        return cleaned


class AstroM3DataService(DataService):
    """The candidates on a topic; where it is stands in `DATA_SERVICES["AstroM3"]` of the TOM's settings.

    Its keys are `bootstrap` and `topic`, and where needed `registry` and `config` (a settings file of
    astrom3-broker with TLS and passwords in `[kafka.sink]`).
    """

    name = SOURCE
    verbose_name = "AstroM3 candidates"
    app_version = __version__
    query_results_table = "tom_astrom3/results.html"
    service_notes = (
        "Reads the topic of candidates; the newest verdict of each object is shown, and only those about the "
        "sky now unless another tense is asked for."
    )

    @classmethod
    def get_form_class(cls) -> type[AstroM3Form]:
        """Return the form of a query."""
        return AstroM3Form

    def build_query_parameters(self, parameters: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        """Return what of a form is a condition."""
        given = {name: parameters.get(name) for name in AstroM3Form.base_fields}
        return {name: value for name, value in given.items() if value not in (None, "")}

    def build_query_parameters_from_target(self, target: Any, **kwargs: Any) -> dict[str, Any]:
        """Return the query for one target: by those of its name and aliases that a survey may have given."""
        names = [target.name, *target.aliases.values_list("name", flat=True)]
        return {"object_ids": [*filter(is_object_name, names)], "days": 365.0}

    def query_service(self, query_parameters: dict[str, Any], **kwargs: Any) -> list[Candidate]:
        """Return the newest candidate of each object that fits, the strangest first; none is withdrawn."""
        self.query_parameters = query_parameters
        newest = _Newest()
        options = _options(self.configuration(), query_parameters)
        stop = threading.Event()
        at_the_latest = threading.Timer(QUERY_S, stop.set)  # also where nothing on a busy topic fits
        at_the_latest.daemon = True
        at_the_latest.start()
        try:
            with subscribe_to_candidates(**options, stop=stop) as candidates:
                for candidate in candidates:
                    if candidate.verdict.source_context != "solar_system":  # it moves, and makes no target
                        newest.add(candidate)
        except BrokerPluginError as error:
            raise QueryServiceError(str(error)) from error
        finally:
            at_the_latest.cancel()
        self.query_results = sorted(newest.candidates, key=lambda each: each.verdict.anomaly_p_value)
        return self.query_results

    def query_targets(self, query_parameters: dict[str, Any], **kwargs: Any) -> list[dict[str, Any]]:
        """Return candidates as the TOM shows them; they go through its cache, so are plain values."""
        return [
            {
                "name": target_name(each.verdict.object_id),
                "ra": each.verdict.ra_deg,
                "dec": each.verdict.dec_deg,
                "class_name": each.verdict.top_class,
                "p_value": each.verdict.anomaly_p_value,
                "observed": each.verdict.observed_utc,
                "explanation": each.verdict.explanation,
                "extras": extras_of(each.verdict, links=each.links, route=each.route),
                "aliases": [each.verdict.object_id],
                "reduced_datums": {"photometry": [asdict(row) for row in rows_of(each)]},
            }
            for each in self.query_service(query_parameters)
        ]

    def query_photometry(self, query_parameters: dict[str, Any], **kwargs: Any) -> list[dict[str, Any]]:
        """Return the light curve of the newest candidate that fits."""
        found = sorted(self.query_service(query_parameters), key=lambda each: each.verdict.mjd_tai)
        return [asdict(row) for row in rows_of(found[-1])] if found else []

    def create_target_from_query(self, target_result: dict[str, Any], **kwargs: Any) -> Any:
        """Return the target of a result: the one that is there, else one that is not saved yet."""
        known = find_target(target_result["aliases"][0])
        place = {"ra": target_result["ra"], "dec": target_result["dec"]}
        return known or Target(name=target_result["name"], type="SIDEREAL", **place)

    def create_target_extras_from_query(self, query_results: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        """Return the extras of a result."""
        extras: dict[str, Any] = query_results["extras"]
        return extras

    def create_reduced_datums_from_query(
        self, target: Any, data: Any = None, data_type: str | None = None, **kwargs: Any
    ) -> list[Any]:
        """Bring a target's photometry up to date."""
        return amend_photometry(target, map(_row_of, data or ()))


class _Newest:
    """The newest candidate of each object, without those that are withdrawn."""

    def __init__(self) -> None:
        self._by_object: dict[str, Candidate] = {}
        self._withdrawn: set[str] = set()

    def add(self, candidate: Candidate) -> None:
        verdict = candidate.verdict
        known = self._by_object.get(verdict.object_id)
        if verdict.is_retraction:
            self._withdrawn.add(verdict.alert_key)
            if known is not None and known.verdict.alert_key == verdict.alert_key:
                del self._by_object[verdict.object_id]
        elif verdict.alert_key in self._withdrawn:
            return
        elif known is None or known.verdict.mjd_tai <= verdict.mjd_tai:
            self._by_object[verdict.object_id] = candidate

    @property
    def candidates(self) -> list[Candidate]:
        return list(self._by_object.values())


def _row_of(columns: dict[str, Any]) -> Epoch | UpperLimit:
    """Return what was plain values on its way through the TOM."""
    return UpperLimit(**columns) if "limit_njy" in columns else Epoch(**columns)


def _options(configuration: dict[str, Any], asked: dict[str, Any]) -> dict[str, Any]:
    missing = [name for name in ("bootstrap", "topic") if not configuration.get(name)]
    if missing:
        raise NotConfiguredError(f"DATA_SERVICES['{SOURCE}'] of the settings lacks {', '.join(missing)}")
    is_everything = "object_ids" not in asked and not asked.get("object_id")
    watched = [*asked.get("object_ids", ()), *filter(None, [asked.get("object_id")])]
    cones = []
    if asked.get("ra") is not None and asked.get("dec") is not None:
        cones = [Cone(ra_deg=asked["ra"], dec_deg=asked["dec"], radius_arcsec=asked.get("radius") or 5.0)]
    return {
        **{name: configuration.get(name) for name in ("bootstrap", "topic", "registry", "config")},
        "since": datetime.now(UTC) - timedelta(days=asked.get("days") or DAYS),
        "timeout_s": QUIET_S,
        "tense": asked.get("tense") or CURRENT,
        "classes": [asked["class_name"]] if asked.get("class_name") else [],
        "min_probability": asked.get("min_probability"),
        "max_p_value": asked.get("max_p_value"),
        "context": asked.get("context") or "any",
        "watch": WatchList(cones, watched) if cones or not is_everything else None,
    }
