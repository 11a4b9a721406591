# SPDX-License-Identifier: BSD-3-Clause
"""Dead letters in a file of JSON lines, with the same contents and the same discretion as on a topic."""

from __future__ import annotations

import base64
import json

from broker_plugin.pipeline.dead_letters import PREFIX
from broker_plugin.streams.base import OutgoingMessage

__all__ = ["to_json"]

WHOLE = frozenset({"partition", "offset", "size"})
TRUTH = frozenset({"truncated", "redacted"})


def to_json(letter: OutgoingMessage) -> str:
    """Return a dead letter as one line of JSON; `value_base64` holds the message, or its first 4 KiB.

    Examples
    --------
    >>> to_json(OutgoingMessage(topic="", value=b"?", headers=(("dead_letter_reason", b"empty"),)))
    '{"reason": "empty", "value_base64": "Pw=="}'
    """
    record: dict[str, object] = {}
    for name, value in letter.headers:
        if name.startswith(PREFIX):
            record[name.removeprefix(PREFIX)] = _typed(name.removeprefix(PREFIX), value.decode())
    record["value_base64"] = base64.b64encode(letter.value).decode()
    return json.dumps(record)


def _typed(name: str, text: str) -> object:
    if name in WHOLE:
        return int(text)
    return text == "true" if name in TRUTH else text
