# SPDX-License-Identifier: BSD-3-Clause
"""Verdicts to a webhook: each one posted as JSON until the receiver has it."""

from __future__ import annotations

import json
import math
import threading
import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

import httpx2

from broker_plugin import __version__
from broker_plugin.client.watch import labels
from broker_plugin.codec.verdict import Verdict, to_json
from broker_plugin.errors import ConfigurationError, TransientError
from broker_plugin.pipeline.backoff import Backoff
from broker_plugin.pipeline.links import object_pages
from broker_plugin.service.logging import keep_addresses_out_of_logs

__all__ = ["Webhook", "webhook_body"]

TIMEOUT_S = 10.0
"""Longest wait for a connection and for an answer."""

CAP_S = 60.0
"""Longest pause between two attempts, also where the receiver asks for more."""

BUSY = frozenset({408, 425, 429})
"""Refusals that time cures, like those of 500 and above."""

ADVICE = {
    401: "check the secret header (ASTROM3_WEBHOOK_HEADER or ASTROM3_WEBHOOK_HEADER_FILE)",
    403: "check the secret header (ASTROM3_WEBHOOK_HEADER or ASTROM3_WEBHOOK_HEADER_FILE) and its rights",
    404: "check the address; it may have been withdrawn",
    405: "the receiver takes no POST at this address",
    410: "the receiver has withdrawn this address; get a new one",
    413: "the receiver takes no verdict of this size; raise its limit",
}
"""What to do about a refusal."""


class Webhook:
    """Posts verdicts, one at a time; a context manager, since it keeps its connection.

    The body is `{"text": ..., "verdict": {...}}`: Slack and its like show the text, a program reads the
    verdict; with a watch list `watched` is beside them, the names of what matches. The header
    `Idempotency-Key` is the `verdict_id`, by which a receiver knows one that comes twice. The address may
    hold a secret (Slack's does) and is never written to a log or an error; its host is.

    Parameters
    ----------
    url
        Where to post, http or https. Redirects are not followed: the secret would go with them.
    header
        A secret header, `NAME: VALUE`.
    give_up_s
        How long one verdict is tried; None for ever.
    wait
        Waits for so many seconds and returns whether to go on: `Subscription.wait`, which stays in the group.
    warn
        Is told of what is tried again.

    Raises
    ------
    ConfigurationError
        If the address or the header is none.
    """

    def __init__(
        self,
        url: str,
        *,
        header: str | None = None,
        timeout_s: float = TIMEOUT_S,
        give_up_s: float | None = None,
        backoff: Backoff | None = None,
        wait: Callable[[float], bool] = lambda pause_s: not threading.Event().wait(pause_s),
        warn: Callable[[str], None] = lambda text: None,
    ) -> None:
        keep_addresses_out_of_logs()
        self._host = _host_of(url)
        self._url = url
        self._give_up_s = math.inf if give_up_s is None else give_up_s
        self._backoff = Backoff(first_s=0.5, cap_s=CAP_S) if backoff is None else backoff
        self._wait = wait
        self._warn = warn
        headers = {"User-Agent": f"astrom3-broker/{__version__}", **_parsed(header)}
        self._client = httpx2.Client(follow_redirects=False, timeout=timeout_s, headers=headers)

    def deliver(self, verdict: Verdict, *, watched: Sequence[str] = ()) -> bool:
        """Post a verdict until the receiver has taken it; return False if stopped before.

        Parameters
        ----------
        watched
            What it matches of a watch list.

        Raises
        ------
        ConfigurationError
            If the receiver refuses it, which no retry would cure; the message says what to do.
        TransientError
            If it was tried for too long.
        """
        body, end_s = webhook_body(verdict, watched=watched), time.monotonic() + self._give_up_s
        for pause_s in self._backoff.pauses():
            asked_s = self._attempt(body, verdict.verdict_id)
            if asked_s is None:
                return True
            left_s = end_s - time.monotonic()
            if left_s <= 0:
                raise TransientError(f"the webhook at {self._host} took no verdict for {self._give_up_s:g} s")
            if not self._wait(min(max(pause_s, asked_s), CAP_S, left_s)):
                return False
        raise AssertionError("pauses have no end")

    def close(self) -> None:
        """Give up the connection."""
        self._client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _attempt(self, body: str, verdict_id: str) -> float | None:
        """Return None when it was taken, else the pause that the receiver asks for, s."""
        headers = {"Content-Type": "application/json", "Idempotency-Key": verdict_id}
        try:
            # The answer is not read: it is the receiver's, and may be anything of any size.
            with self._client.stream("POST", self._url, content=body.encode(), headers=headers) as answer:
                status, wanted = answer.status_code, answer.headers.get("retry-after", "")
                target = answer.headers.get("location", "")
        except httpx2.TransportError as error:
            self._warn(f"the webhook at {self._host} does not answer ({type(error).__name__}); trying again")
            return 0.0
        if 200 <= status < 300:
            return None
        if status in BUSY or status >= 500:
            self._warn(f"the webhook at {self._host} answers {status}; trying again")
            return float(wanted) if wanted.isdecimal() else 0.0
        if 300 <= status < 400:
            elsewhere = _shown_host(target) or "another address"
            raise ConfigurationError(
                f"the webhook at {self._host} answers {status}, a redirect to {elsewhere}",
                remedy="give the address that it points to, if you trust it",
            )
        raise ConfigurationError(
            f"the webhook at {self._host} refuses the verdict with {status}",
            remedy=ADVICE.get(
                status, "the receiver's log says why; the form is in deploy/docs/subscribing.md"
            ),
        )


def webhook_body(verdict: Verdict, *, watched: Sequence[str] = ()) -> str:
    """Return what is posted: a text for people, and the verdict with the schema's field names."""
    body = {"text": _text(verdict, watched), "verdict": json.loads(to_json(verdict))}
    return json.dumps(body | ({"watched": list(watched)} if watched else {}), ensure_ascii=False)


def _text(verdict: Verdict, watched: Sequence[str]) -> str:
    kind = verdict.source_context
    if verdict.top_class is not None:
        kind = f"{verdict.top_class} {verdict.top_class_probability or 0.0:.2f}"
    named = ", ".join([*labels(verdict.object_id, watched), verdict.object_id])
    said = [
        f"{named}: {kind}, p = {verdict.anomaly_p_value:.2g}",
        f"at {verdict.ra_deg:.5f} {verdict.dec_deg:+.5f}, {verdict.observed_utc}",
        verdict.explanation,
        " ".join(object_pages(verdict.object_id).values()),
    ]
    if verdict.tense != "current" or verdict.revision == "retraction":
        said.insert(0, f"[{verdict.tense}, {verdict.revision}]")
    return "\n".join(line for line in said if line)


def _host_of(url: str) -> str:
    host = _shown_host(url)
    if not host:
        raise ConfigurationError("the address of the webhook is none", remedy="give http(s)://HOST/...")
    return host


def _shown_host(url: str) -> str:
    """Return the part of an address that is no secret; empty if it is none."""
    try:
        parts = urlsplit(url)
        host = f"{parts.hostname}:{parts.port}" if parts.port else parts.hostname or ""
    except ValueError:
        return ""
    return host if parts.scheme in ("http", "https") else ""


def _parsed(header: str | None) -> dict[str, str]:
    if not header:
        return {}
    name, separator, value = (part.strip() for part in header.partition(":"))
    if not (separator and name and value and value.isascii() and name.replace("-", "").isalnum()):
        raise ConfigurationError("the secret header of the webhook is none", remedy="write it as NAME: VALUE")
    return {name: value}
