# SPDX-License-Identifier: BSD-3-Clause
"""The surveys that can be read, by name."""

from __future__ import annotations

from collections.abc import Iterable

from broker_plugin.errors import ConfigurationError
from broker_plugin.surveys.base import SurveyAdapter
from broker_plugin.surveys.lsst import LsstAdapter
from broker_plugin.surveys.ztf import ZtfAdapter

__all__ = ["SURVEYS", "adapters"]

SURVEYS: tuple[str, ...] = ("ztf", "lsst")
"""Names of the surveys, in the order in which adapters are asked whether they know a packet."""


def adapters(names: Iterable[str] = SURVEYS) -> tuple[SurveyAdapter, ...]:
    """Return the adapters of surveys.

    Raises
    ------
    ConfigurationError
        If a survey is not known.

    Examples
    --------
    >>> [adapter.name for adapter in adapters(["lsst"])]
    ['lsst']
    """
    known: dict[str, SurveyAdapter] = {"ztf": ZtfAdapter(), "lsst": LsstAdapter()}
    wanted = list(dict.fromkeys(names))
    for name in wanted:
        if name not in known:
            raise ConfigurationError(f"no survey {name!r}; choose from {', '.join(SURVEYS)}")
    return tuple(known[name] for name in wanted)
