# SPDX-License-Identifier: BSD-3-Clause
"""A pattern of topics means to POSIX what it means here."""

from __future__ import annotations

import ctypes
import re

import pytest

from broker_plugin.errors import ConfigurationError
from broker_plugin.streams.topic_pattern import matching, portable, require_name

NAMES = [
    "ztf_20261124_programid1",
    "ztf_20261124_programid2",
    "ztf_2026112_programid1",
    "xztf_20261124_programid1",
    "lsst-alerts-v11",
    "lsst-alerts-v9.0",
    "lsst_alerts",
    "ab",
    "abc",
    "aab",
    "b",
    "a-b",
]

PATTERNS = [
    r"^ztf_\d{8}_programid1$",
    r"^ztf_\d{8}",
    r"^lsst-alerts-v\d+",
    r"^lsst[-_]\w+$",
    r"^[\da]+b",
    r"^(a|b)$",
    r"^a+b?$",
    r"^a.b$",
    r"^lsst-alerts-v9\.0$",
    r"^[^\d]+$",
    r"^b",
]

EXTENDED = 1


def posix_search(pattern: str, name: str) -> bool:
    """Match by the C library, as librdkafka does."""
    library = ctypes.CDLL(None)
    compiled = ctypes.create_string_buffer(256)
    assert library.regcomp(compiled, pattern.encode(), EXTENDED) == 0
    found = library.regexec(compiled, name.encode(), 0, None, 0) == 0
    library.regfree(compiled)
    return found


@pytest.mark.parametrize("pattern", PATTERNS)
def test_all_sides_agree_on_what_matches(pattern: str) -> None:
    ours = matching([pattern], NAMES)
    assert ours == sorted(name for name in NAMES if re.match(pattern, name))
    assert ours == sorted(name for name in NAMES if posix_search(portable(pattern), name))
    assert ours == sorted(name for name in NAMES if re.fullmatch(portable(pattern), name))


@pytest.mark.parametrize("pattern", ["^a(?:b)", r"^a\b", "^a+?b", r"^\S", "^a(", "^[[:digit:]]"])
def test_what_not_all_understand_is_refused(pattern: str) -> None:
    with pytest.raises(ConfigurationError, match="--input"):
        portable(pattern)


@pytest.mark.parametrize(
    "name", ["ver dicts", "verdicts,candidates", "a/b", "", "é", "a" * 250, "^verdicts", ".", ".."]
)
def test_what_no_topic_can_be_called_is_refused_with_the_rule(name: str) -> None:
    with pytest.raises(ConfigurationError, match="is no topic; a topic's name is up to 249 letters, digits"):
        require_name(name)
    require_name("lsst-alerts_v9.0")
