# SPDX-License-Identifier: BSD-3-Clause
"""Looks into the small TOM, and uses it as a person would; prints what it saw as JSON."""

from __future__ import annotations

import json
import os
import random
import sys
import time
from typing import Any

import django

os.environ["DJANGO_SETTINGS_MODULE"] = "tests.tom.inside.settings"
django.setup()

from django.conf import settings  # noqa: E402
from django.contrib.auth.models import User  # noqa: E402
from django.core.exceptions import ImproperlyConfigured  # noqa: E402
from django.db import connection, transaction  # noqa: E402
from django.test import Client  # noqa: E402
from django.test.utils import setup_test_environment  # noqa: E402
from django.urls import reverse  # noqa: E402
from tom_astrom3 import dataservice  # noqa: E402
from tom_astrom3.alertstream import CandidateStream  # noqa: E402
from tom_astrom3.targets import find_target, save_candidate  # noqa: E402
from tom_dataproducts.models import PhotometryReducedDatum  # noqa: E402
from tom_targets.models import Target, TargetName  # noqa: E402

from broker_plugin.client import subscribe_to_candidates  # noqa: E402
from tests.tom.inside.handlers import HANDLED  # noqa: E402
from tests.tom.state import state  # noqa: E402


def execute(sql: str) -> Any:
    with connection.cursor() as cursor:
        return cursor.execute(sql).fetchall()


def rows(target: Any) -> Any:
    return PhotometryReducedDatum.objects.filter(target=target)


def orders() -> list[Any]:
    """Return the state that candidates lead to in several orders, some of them twice, from an empty TOM."""
    options = settings.ALERT_STREAMS[0]["OPTIONS"]
    topic = next(iter(options["TOPIC_HANDLERS"]))
    with subscribe_to_candidates(
        topic, bootstrap=options["BOOTSTRAP"], from_beginning=True, timeout_s=2.0, tense="any"
    ) as stream:
        candidates = list(stream)
    states: list[Any] = []
    for seed in range(4):
        shuffled = [*candidates]
        if seed:
            random.Random(seed).shuffle(shuffled)
            shuffled += shuffled[:3]
        with transaction.atomic():
            Target.objects.all().delete()
            for each in shuffled:
                save_candidate(each, topic)
            states.append(state(execute))
            transaction.set_rollback(True)
    return states


def known_target() -> Any:
    """Give a target that somebody made by hand, known to the stream by an alias, a candidate."""
    options = settings.ALERT_STREAMS[0]["OPTIONS"]
    topic = next(iter(options["TOPIC_HANDLERS"]))
    with subscribe_to_candidates(
        topic, bootstrap=options["BOOTSTRAP"], from_beginning=True, timeout_s=2.0, tense="any", limit=1
    ) as stream:
        (candidate,) = stream
    with transaction.atomic():
        Target.objects.all().delete()
        mine = Target.objects.create(name="2026abc", type="SIDEREAL", ra=1.0, dec=2.0)
        TargetName.objects.create(target=mine, name=candidate.verdict.object_id.partition(":")[2])
        saved = save_candidate(candidate, topic)
        found = {
            "same": saved.pk == mine.pk,
            "targets": Target.objects.count(),
            "place": [saved.ra, saved.dec],
        }
        transaction.set_rollback(True)
    return {**found, **failing()}


def failing() -> dict[str, Any]:
    """Let a handler fail, and start its stream again."""
    options = settings.ALERT_STREAMS[0]["OPTIONS"]
    topic = next(iter(options["TOPIC_HANDLERS"]))
    handlers = {topic: "tests.tom.inside.handlers.fail_on_third"}
    stream = {**options, "GROUP_ID": f"{topic}-failing", "TOPIC_HANDLERS": handlers}
    try:
        CandidateStream(**stream).listen()
    except ValueError as error:
        found = {"ended": str(error)}
    CandidateStream(**stream).listen()
    try:
        CandidateStream(**stream, GROUP="misspelt")
    except ImproperlyConfigured as error:
        found["refused"] = str(error)
    return {**found, "handled": HANDLED}


def service() -> dict[str, Any]:
    """Query the data service in the pages of the TOM, and make a target of the first result."""
    setup_test_environment()  # keeps what pages were made of
    client = Client()
    client.force_login(User.objects.create_superuser("me", "me@example.org", "secret"))
    form = {"data_service": "AstroM3", "context": "any", "days": "3650", "max_p_value": "0.5"}
    shown = client.get(reverse("tom_dataservices:create"), {"data_service": "AstroM3"})
    refused = client.post(reverse("tom_dataservices:create"), {**form, "ra": "10"})
    sent = client.post(reverse("tom_dataservices:create"), form)
    page = client.get(sent.url)
    results = page.context["results"]
    made = client.post(
        reverse("tom_dataservices:create-target"),
        {"query_id": "", "data_service": "AstroM3", "selected_results": [str(results[0]["id"])]},
    )
    target = Target.objects.get()
    before = rows(target).count()
    rows(target).first().delete()
    updated = client.post(
        reverse("tom_dataservices:update-data"), {"target": target.pk, "data_service": "AstroM3"}
    )
    detail = client.get(reverse("tom_targets:detail", kwargs={"pk": target.pk}))
    query = {"object_id": "ZTF00replays", "days": 3650.0}
    replayed = {
        tense: len(dataservice.AstroM3DataService().query_service({**query, "tense": tense}))
        for tense in ("", "any", "archival")
    }
    return {
        "replayed": replayed,
        "statuses": [each.status_code for each in (shown, refused, sent, page, made, updated, detail)],
        "refusal": "Give both RA and Dec" in refused.content.decode(),
        "feedback": page.context["query_feedback"],
        "results": [[each["aliases"][0], each["p_value"]] for each in results],
        "in_page": results[0]["name"] in page.content.decode(),
        "rows": [before, rows(target).count()],
        "state": state(execute),
        "found": find_target(results[0]["aliases"][0]).pk == target.pk,
    }


def listed() -> list[str]:
    """Return the objects that the data service finds."""
    found = dataservice.AstroM3DataService().query_service({"days": 3650.0})
    return sorted(each.verdict.object_id for each in found)


def nobody() -> dict[str, float]:
    """Ask for an object that nothing is sent about, with a few seconds for it."""
    dataservice.QUERY_S = 5.0
    begun = time.monotonic()
    found = dataservice.AstroM3DataService().query_service({"object_id": "ZTF00nobodyy"})
    return {"found": len(found), "took_s": time.monotonic() - begun}


if __name__ == "__main__":
    json.dump(
        {each.__name__: each for each in (orders, known_target, service, listed, nobody)}[sys.argv[1]](),
        sys.stdout,
    )
