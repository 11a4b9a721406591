# SPDX-License-Identifier: BSD-3-Clause
"""What can be asked of a subscription, and what is said of what cannot."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Mapping
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, TypedDict, cast, get_type_hints

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainValidator,
    ValidationError,
    create_model,
)
from pydantic_core import PydanticCustomError

from broker_plugin.client.conditions import News, Retractions
from broker_plugin.client.watch import WatchList
from broker_plugin.errors import ConfigurationError
from broker_plugin.service.settings_sources import PLAIN, UNKNOWN, hint
from broker_plugin.settings_tables import Brightening, ContextName, Share, refuse_switch

__all__ = ["Options", "Tense", "checked_options"]

Tense = Literal["current", "archival", "injection", "test", "any"]
"""Tenses by name, and what stands for every one."""

Count = Annotated[int, BeforeValidator(refuse_switch), Field(ge=1)]
Factor = Annotated[float, BeforeValidator(refuse_switch), Field(gt=1)]
Level = Annotated[Share, BeforeValidator(refuse_switch)]
Magnitude = Annotated[Brightening, BeforeValidator(refuse_switch)]
Seconds = Annotated[float, BeforeValidator(refuse_switch), Field(gt=0)]


def _moment(value: Any) -> datetime | str | None:
    if isinstance(value, datetime) and value.tzinfo is None:
        raise PydanticCustomError("moment", "has no time zone, so it is no moment; take datetime.now(UTC)")
    if not isinstance(value, datetime | str | None):
        raise PydanticCustomError("moment", "give a datetime with its time zone, or a text such as 12h")
    return value


def _watched(value: Any) -> WatchList | Path | str | None:
    if not isinstance(value, WatchList | Path | str | None):
        raise PydanticCustomError("watch", "give a WatchList, or the path of a CSV file or a VOTable")
    return value


def _names(value: Any) -> tuple[str, ...] | None:
    if value is None:
        return None
    # A text is a collection of texts too: of its letters.
    if isinstance(value, str) or not (
        isinstance(value, Collection) and all(isinstance(each, str) for each in value)
    ):
        raise PydanticCustomError("names", "give names of classes as a list, such as ['RRAB']")
    return tuple(map(str, value))  # numpy has texts of its own


class Options(TypedDict, total=False):
    """What can be said of a subscription. Another name, or a value that cannot work, is refused.

    Parameters
    ----------
    bootstrap
        host:port of the Kafka cluster; by default the one that `run` writes to.
    config
        The settings of `run`, a TOML file; TLS and passwords are in its table `[kafka.sink]`. The environment
        counts too.
    registry
        URL of the schema registry, where messages are framed.
    group
        Consumer group: go on where it left off. Without one nothing is remembered of offsets.
    from_beginning
        Begin with the oldest message instead of with the next one, where the group has no offset.
    since
        Begin with the messages since a moment, where the group has no offset: a datetime with its time zone,
        or a text as for `--since` (`12h`, `2026-11-24T03:00:00Z`).
    classes, min_probability, max_p_value, min_brightening_mag, context
        Conditions of `Selection`. The classes are a list or another collection, also where there is one.
    watch
        Only these objects and places: a list, or the path of one.
    only
        `new`: objects that were not yielded before; `changed`: objects that were seen with another top class,
        or with a p-value that differs by `change_factor`; `all`.
    retractions
        Verdicts that say `is_retraction`. `told`, unless said: those of what was yielded, whatever they say
        by themselves; with `only` = `all` also those of which nothing is known, if they fit the conditions.
        `all`: every one, for a reader with a list of their own.
    memory
        A file that keeps what `new` and `changed` need, and what was yielded, for the next time.
    strangest
        Only what is among the N strangest objects: of those since noon at the telescope, or of all where
        `since` or `from_beginning` is given; stars, unless `context` says otherwise. It comes when it enters,
        which may be when another is withdrawn.
    tense
        `current`, the sky now, unless said; or `archival`, `injection`, `test`, `any`.
    limit
        End after so many, and what moves up in the ranking for the last one if that is a retraction.
    timeout_s
        End when nothing has come on the topic, or could be read, for so long.
    stop, warn, after_poll
        As of `Subscription`.
    """

    bootstrap: str | None
    config: Path | str | None
    registry: str | None
    group: str | None
    from_beginning: bool
    since: Annotated[datetime | str | None, PlainValidator(_moment)]
    classes: Annotated[Collection[str] | None, PlainValidator(_names)]
    min_probability: Level | None
    max_p_value: Level | None
    min_brightening_mag: Magnitude | None
    context: ContextName | None
    watch: Annotated[WatchList | Path | str | None, PlainValidator(_watched)]
    only: News
    change_factor: Factor
    retractions: Retractions
    memory: Path | str | None
    strangest: Count | None
    tense: Tense
    limit: Count | None
    timeout_s: Seconds | None
    stop: threading.Event
    warn: Callable[[str], None]
    after_poll: Callable[[], None]


def checked_options(given: Mapping[str, Any]) -> Options:
    """Return options as they are used.

    Raises
    ------
    ConfigurationError
        If a name is unknown or a value cannot work; the message says which, and what could.

    Examples
    --------
    >>> checked_options({"max_pvalue": 0.01})
    Traceback (most recent call last):
    broker_plugin.errors.ConfigurationError: max_pvalue: there is no such option; did you mean 'max_p_value'?
    """
    try:
        model = _model().model_validate(dict(given))
    except ValidationError as error:
        raise ConfigurationError(_explained(error)) from None
    return cast(Options, {name: getattr(model, name) for name in model.model_fields_set})


@cache
def _model() -> type[BaseModel]:
    fields: dict[str, Any] = {
        name: (kind, None) for name, kind in get_type_hints(Options, include_extras=True).items()
    }
    return create_model(
        "Options", __config__=ConfigDict(extra="forbid", arbitrary_types_allowed=True), **fields
    )


def _explained(error: ValidationError) -> str:
    said: dict[str, str] = {}
    for defect in error.errors(include_input=False, include_url=False):
        name = str(defect["loc"][0])
        if defect["type"] == UNKNOWN:
            text = f"there is no such option{hint(name, Options.__annotations__)}"
        else:
            text = PLAIN.get(defect["type"], defect["msg"])
        said.setdefault(name, text)
    return "\n".join(f"{name}: {text}" for name, text in said.items())
