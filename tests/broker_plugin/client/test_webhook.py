# SPDX-License-Identifier: BSD-3-Clause
"""A webhook gets every verdict, is tried again where time may help, and learns no more than it should."""

from __future__ import annotations

import json
import logging
import socket
import time

import pytest

from broker_plugin.client.webhook import Webhook, webhook_body
from broker_plugin.codec.verdict import Tense, to_json
from broker_plugin.errors import ConfigurationError, TransientError
from broker_plugin.pipeline.backoff import Backoff
from tests.broker_plugin.client.verdicts import a_verdict
from tests.support.receiver import Answer, Receiver

VERDICT = a_verdict(7)

QUICK = Backoff(first_s=0.01, cap_s=0.02)

LOGIN = "Authorization: Bearer only-we-know"


def test_the_body_is_the_verdict_beside_a_text_for_people() -> None:
    with Receiver() as receiver, Webhook(receiver.url, header=LOGIN) as hook:
        assert hook.deliver(VERDICT)
    (posted,) = receiver.posted
    assert posted.body["verdict"] == json.loads(to_json(VERDICT))
    assert posted.body["text"].startswith("[test, initial]\nztf:ZTF7: EW 0.75")
    assert posted.headers["Authorization"] == "Bearer only-we-know"
    assert posted.headers["Idempotency-Key"] == VERDICT.verdict_id
    assert posted.headers["Content-Type"] == "application/json"


def test_what_a_watch_list_calls_it_is_beside_the_verdict() -> None:
    body = json.loads(webhook_body(a_verdict(1, tense=Tense.CURRENT), watched=["ZTF1", "my nova"]))
    assert body["watched"] == ["ZTF1", "my nova"]
    assert body["text"].startswith("my nova, ztf:ZTF1: EW 0.75")
    assert "watched" not in json.loads(webhook_body(VERDICT))


def test_no_log_of_whatever_level_has_the_address_or_the_secret(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with (
        Receiver(Answer(500)) as receiver,
        Webhook(f"{receiver.url}/T0/x", header=LOGIN, backoff=QUICK) as hook,
    ):
        assert hook.deliver(VERDICT)
    assert "T0/x" not in caplog.text
    assert "only-we-know" not in caplog.text


def test_a_verdict_that_is_not_about_now_says_so_first() -> None:
    assert json.loads(webhook_body(a_verdict(1, tense=Tense.ARCHIVAL)))["text"].startswith("[archival,")


@pytest.mark.parametrize(
    "trouble", [Answer(500), Answer(503), Answer(429), Answer(408), Answer(hang_up=True)]
)
def test_what_time_may_cure_is_tried_again(trouble: Answer) -> None:
    said: list[str] = []
    with (
        Receiver(trouble, trouble, trouble) as receiver,
        Webhook(receiver.url, header=LOGIN, backoff=QUICK, warn=said.append) as hook,
    ):
        assert hook.deliver(VERDICT)
    assert len(receiver.posted) == 4
    assert len(receiver.taken) == 1
    assert all("trying again" in each for each in said)


def test_nobody_there_is_waited_for_and_a_stop_ends_the_wait() -> None:
    with Receiver() as receiver:
        url = receiver.url
    waits: list[float] = []

    def wait(pause_s: float) -> bool:
        waits.append(pause_s)
        return len(waits) < 3

    with Webhook(url, backoff=Backoff(first_s=20.0, cap_s=30.0), wait=wait) as hook:
        assert not hook.deliver(VERDICT)
    assert len(waits) == 3
    assert all(10.0 <= pause_s <= 30.0 for pause_s in waits)


def test_one_verdict_is_not_tried_for_longer_than_asked() -> None:
    waits: list[float] = []

    def wait(pause_s: float) -> bool:
        waits.append(pause_s)
        time.sleep(pause_s)
        return True

    patient = Backoff(first_s=20.0, cap_s=30.0)
    with (
        Receiver(always=Answer(503, {"Retry-After": "30"})) as receiver,
        Webhook(receiver.url, give_up_s=0.2, backoff=patient, wait=wait) as hook,
        pytest.raises(TransientError, match=r"took no verdict for 0\.2 s"),
    ):
        hook.deliver(VERDICT)
    assert len(receiver.posted) == 2
    assert max(waits) <= 0.2


def test_the_receiver_may_ask_for_a_pause() -> None:
    with (
        Receiver(Answer(429, {"Retry-After": "1"})) as receiver,
        Webhook(receiver.url, backoff=QUICK) as hook,
    ):
        before_s = time.monotonic()
        assert hook.deliver(VERDICT)
        assert time.monotonic() - before_s >= 1.0


def test_one_that_never_answers_is_given_up_and_tried_again() -> None:
    said: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        with Webhook(url, timeout_s=0.2, wait=lambda pause_s: False, warn=said.append) as hook:
            assert not hook.deliver(VERDICT)
    assert "Timeout" in said[0]


@pytest.mark.parametrize(
    ("status", "advice"),
    [
        (400, "receiver's log"),
        (401, "secret header"),
        (403, "secret header"),
        (404, "address"),
        (410, "address"),
    ],
)
def test_a_refusal_is_an_error_that_says_what_to_do(status: int, advice: str) -> None:
    with (
        Receiver(Answer(status)) as receiver,
        Webhook(f"{receiver.url}/T000/secret", header=LOGIN) as hook,
        pytest.raises(ConfigurationError, match=advice) as refused,
    ):
        hook.deliver(VERDICT)
    assert len(receiver.posted) == 1
    assert str(status) in str(refused.value)
    assert "T000" not in str(refused.value)
    assert "only-we-know" not in str(refused.value)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_nothing_follows_a_redirect(status: int) -> None:
    with (
        Receiver() as elsewhere,
        Receiver(Answer(status, {"Location": f"{elsewhere.url}?token=abc"})) as receiver,
        Webhook(receiver.url, header=LOGIN) as hook,
        pytest.raises(ConfigurationError, match=r"redirect to 127\.0") as refused,
    ):
        hook.deliver(VERDICT)
    assert elsewhere.posted == []
    assert "token" not in str(refused.value)


@pytest.mark.parametrize("url", ["", "slack", "ftp://host/x", "file:///etc/passwd", "http://", "http://[::1"])
def test_what_is_no_address_is_refused_without_being_quoted(url: str) -> None:
    with pytest.raises(ConfigurationError, match="address of the webhook"):
        Webhook(url)


@pytest.mark.parametrize("header", ["Bearer x", "A B: c", ": x", "X:", "X: caf\u00e9"])
def test_what_is_no_header_is_refused(header: str) -> None:
    with pytest.raises(ConfigurationError, match="secret header") as refused:
        Webhook("http://127.0.0.1/", header=header)
    assert header not in str(refused.value)
