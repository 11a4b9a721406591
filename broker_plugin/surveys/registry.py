# SPDX-License-Identifier: BSD-3-Clause
"""The surveys that can be read, by name."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import TypedDict

from broker_plugin.errors import ConfigurationError
from broker_plugin.surveys import alerce, babamul
from broker_plugin.surveys.base import SurveyAdapter
from broker_plugin.surveys.lsst import LsstAdapter
from broker_plugin.surveys.rebroadcast import Rebroadcast
from broker_plugin.surveys.ztf import ZtfAdapter

__all__ = ["SURVEYS", "adapters"]

SURVEYS: tuple[str, ...] = ("ztf", "lsst")
"""Names of the surveys, in the order in which adapters are asked whether they know a packet."""


class _Form(TypedDict):
    names: re.Pattern[str]
    histories: tuple[str, ...]
    marks: tuple[str, ...]


def adapters(names: Iterable[str] = SURVEYS) -> tuple[SurveyAdapter, ...]:
    """Return the adapters of surveys: of other brokers' forms of their packets first, then of their own.

    Raises
    ------
    ConfigurationError
        If a survey is not known.

    Examples
    --------
    >>> {adapter.name for adapter in adapters(["lsst"])}
    {'lsst'}
    """
    own: dict[str, SurveyAdapter] = {"ztf": ZtfAdapter(), "lsst": LsstAdapter()}
    wanted = list(dict.fromkeys(names))
    for name in wanted:
        if name not in own:
            raise ConfigurationError(f"no survey {name!r}; choose from {', '.join(SURVEYS)}")
    # A survey knows its packets by a field or two, which other brokers' forms of any survey may have.
    return (*(form for form in _sent_on(own) if form.name in wanted), *(own[name] for name in wanted))


def _sent_on(own: Mapping[str, SurveyAdapter]) -> tuple[SurveyAdapter, ...]:
    boom: _Form = {"names": babamul.NAMES, "histories": babamul.HISTORIES, "marks": babamul.MARKS}
    multi: _Form = {"names": alerce.NAMES, "histories": alerce.HISTORIES, "marks": alerce.HISTORIES}
    return (
        Rebroadcast(own["ztf"], recognises=babamul.is_ztf, restored=babamul.ztf_of, **boom),
        Rebroadcast(own["lsst"], recognises=babamul.is_lsst, restored=babamul.lsst_of, **boom),
        Rebroadcast(
            own["lsst"], recognises=alerce.is_lsst, restored=alerce.lsst_of, split=alerce.split, **multi
        ),
    )
