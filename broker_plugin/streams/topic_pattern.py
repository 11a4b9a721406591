# SPDX-License-Identifier: BSD-3-Clause
r"""Patterns of topics that mean the same to Kafka's client, to its brokers and to us.

With the classic protocol the client matches them, by POSIX's extended expressions, which know no `\d`; with
KIP-848 the brokers do, by RE2, and only a whole name is a match. So what is written here, `^ztf_\d{8}`, is
translated to what both read alike.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from broker_plugin.errors import ConfigurationError

__all__ = ["NAME_RULE", "is_pattern", "matching", "portable", "require_name"]

NAME = re.compile(r"(?!\.{1,2}$)[A-Za-z0-9._-]{1,249}")

NAME_RULE = "a topic's name is up to 249 letters, digits, ., _ and -; only --input takes several topics"
"""What Kafka takes as a name."""

CLASSES = {"d": "0-9", "w": "A-Za-z0-9_"}

ALIEN = re.compile(r"\(\?|[*+?}][?+]|\\[A-Za-ce-vx-z0-9]|\[\[")
"""What one of the three does not read, or reads in another way."""

PART = re.compile(r"\\(.)|(\[\^?\]?)|(\])")


def is_pattern(topic: str) -> bool:
    """Tell whether a topic is named by a pattern."""
    return topic.startswith("^")


def require_name(topic: str) -> None:
    """Refuse what no topic can be called, a pattern among it.

    Raises
    ------
    ConfigurationError
        If Kafka would not take the name.
    """
    if not NAME.fullmatch(topic):
        raise ConfigurationError(f"{topic!r} is no topic", remedy=NAME_RULE)


def portable(pattern: str) -> str:
    r"""Return a pattern that all sides read alike; it matches whole names.

    Raises
    ------
    ConfigurationError
        If the pattern has what cannot be said in all of them.

    Examples
    --------
    >>> portable(r"^ztf_\d{8}_programid1$"), portable(r"^lsst[\d-]")
    ('^ztf_[0-9]{8}_programid1$', '^(lsst[0-9-]).*$')
    """
    alien = ALIEN.search(pattern)
    if alien:
        raise ConfigurationError(
            f"--input: {alien[0]!r} in a pattern of topics is not understood by every Kafka; use letters, ., "
            r"[...], (...), |, *, +, ?, {n}, \d, \w and $"
        )
    try:
        re.compile(pattern)
    except re.error as error:
        raise ConfigurationError(f"--input is not a regular expression: {error}") from error
    inside = False

    def translated(found: re.Match[str]) -> str:
        nonlocal inside
        if found[1] in CLASSES:
            return CLASSES[found[1]] if inside else f"[{CLASSES[found[1]]}]"
        inside = bool(found[2]) or (inside and not found[3])
        return found[0]

    plain = PART.sub(translated, pattern)
    return plain if plain.endswith("$") else f"^({plain[1:]}).*$"


def matching(topics: Iterable[str], names: Iterable[str]) -> list[str]:
    """Return, in order, those names that are among the topics or match a pattern of theirs.

    Examples
    --------
    >>> matching([r"^ztf_2026", "lsst"], ["ztf_20261124_programid1", "lsst", "lsst-2"])
    ['lsst', 'ztf_20261124_programid1']
    """
    patterns = [re.compile(portable(topic)) for topic in topics if is_pattern(topic)]
    plain = frozenset(topic for topic in topics if not is_pattern(topic))
    return sorted(
        name for name in names if name in plain or any(pattern.search(name) for pattern in patterns)
    )
