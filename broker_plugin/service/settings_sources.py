# SPDX-License-Identifier: BSD-3-Clause
"""Where settings come from: a TOML file, the environment and flags; and what is said of a wrong name."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_settings import BaseSettings, InitSettingsSource, PydanticBaseSettingsSource, SettingsError

from broker_plugin.errors import ConfigurationError
from broker_plugin.service.secret_files import read_table_files, read_variable_files
from broker_plugin.settings import PREFIX, Settings, flag
from broker_plugin.settings_tables import FROM_FILE, KafkaTables, LimitsTable, RouteTable

__all__ = ["PLAIN", "UNKNOWN", "hint", "load_settings"]

NEAR = 0.85
"""Similarity from which an unknown variable is taken for a misspelt one of ours; those of other programs
(`ASTROM3_DATA`) lie below it."""

TABLES: Mapping[str, type[BaseModel]] = {"kafka": KafkaTables, "limits": LimitsTable, "routes": RouteTable}
"""Settings that are tables of settings."""

ROUTES = "routes"
"""The setting that is a list of tables, which have no flags and no variables of their own."""

PLAIN = {
    "tuple_type": 'Input should be a list, such as ["RRAB"]',
    "dict_type": "Input should be a table",
    "model_type": "Input should be a table",
}
"""What pydantic says in words of Python's, as an operator knows it."""

UNKNOWN = "extra_forbidden"
"""What pydantic calls a name that it does not know."""


def load_settings(flags: Mapping[str, Any] | None = None, *, config: Path | None = None) -> Settings:
    """Build the settings from a file, the environment and flags, the later ones winning.

    Raises
    ------
    ConfigurationError
        If the file cannot be read, a name is unknown or a value does not fit. Values are never quoted.
    """
    table = read_table_files(_read_table(config)) if config is not None else {}
    from_files = read_variable_files(os.environ)
    _refuse_unknown(table, where=str(config))
    _refuse_misspelt_variables(os.environ)

    class Layered(Settings):
        @classmethod
        def settings_customise_sources(
            cls,
            settings_cls: type[BaseSettings],
            init_settings: PydanticBaseSettingsSource,
            env_settings: PydanticBaseSettingsSource,
            dotenv_settings: PydanticBaseSettingsSource,
            file_secret_settings: PydanticBaseSettingsSource,
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            return (
                init_settings,
                env_settings,
                InitSettingsSource(settings_cls, init_kwargs=from_files),
                InitSettingsSource(settings_cls, init_kwargs=table),
            )

    try:
        return Layered(**dict(flags or {}))
    except ValidationError as error:
        raise ConfigurationError(_explained(error)) from None
    except SettingsError as error:  # which names the field and quotes nothing
        raise ConfigurationError(
            f"a variable is no table in JSON: {error}",
            remedy=f"correct it, or give its values one by one, such as {PREFIX}KAFKA__SOURCE__NAME",
        ) from None


def hint(name: str, known: Iterable[str]) -> str:
    """Return what a message about an unknown name ends with: the nearest that is known, else all of them.

    Examples
    --------
    >>> hint("max_pvalue", ["max_p_value", "context"]), hint("x", ["max_p_value", "context"])
    ("; did you mean 'max_p_value'?", '; known are max_p_value, context')
    """
    near = get_close_matches(name, known, n=1)
    return f"; did you mean {near[0]!r}?" if near else f"; known are {', '.join(known)}"


def _read_table(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text("utf-8-sig"))
    except OSError as error:
        raise ConfigurationError(f"cannot read the settings {path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path} is not TOML: {error}") from error


def _refuse_unknown(table: Mapping[str, Any], *, where: str) -> None:
    for name in table:
        if name not in Settings.model_fields:
            raise ConfigurationError(
                f"unknown setting {name!r} in {where}{hint(name, Settings.model_fields)}"
            )
    kafka = table.get("kafka", {})
    for name in kafka if isinstance(kafka, Mapping) else ():
        if name not in KafkaTables.model_fields:
            raise ConfigurationError(
                f"unknown table [kafka.{name}] in {where}; there are [kafka.source] and [kafka.sink]"
            )


def _refuse_misspelt_variables(environment: Mapping[str, str]) -> None:
    # Others use the prefix too (the trainer, the tests), so only what looks like one of ours is refused.
    for variable in environment:
        name = variable.removeprefix(PREFIX).lower().split("__")[0].removesuffix(FROM_FILE)
        if variable.startswith(PREFIX) and name not in Settings.model_fields:
            near = get_close_matches(name, Settings.model_fields, n=1, cutoff=NEAR)
            if near:
                raise ConfigurationError(
                    f"unknown environment variable {variable}; did you mean {PREFIX}{near[0].upper()}?"
                )


def _explained(error: ValidationError) -> str:
    lines = []
    for defect in error.errors(include_input=False, include_url=False):
        where = tuple(map(str, defect["loc"]))
        name = _named(where)
        table = TABLES.get(where[0]) if defect["type"] == UNKNOWN else None
        if table is not None:
            lines.append(f"{name}: there is no such setting{hint(where[-1], table.model_fields)}")
            continue
        said = PLAIN.get(defect["type"], defect["msg"]) if where != (ROUTES,) else "give tables [[routes]]"
        lines.append(f"{name}: {said} ({_ways(where)})")
    return "these settings do not fit:\n  " + "\n  ".join(lines)


def _named(where: tuple[str, ...]) -> str:
    """Return how a person finds a setting: tables of one name are counted from 1.

    Examples
    --------
    >>> _named(("limits", "epochs")), _named(("routes", "0", "topic"))
    ('limits.epochs', 'topic of [[routes]] no. 1')
    """
    if where[0] != ROUTES or len(where) == 1:
        return ".".join(where)
    return " of ".join(filter(None, [".".join(where[2:]), f"[[{ROUTES}]] no. {int(where[1]) + 1}"]))


def _ways(where: tuple[str, ...]) -> str:
    """Return how a setting can be given, beside the file for what has a flag."""
    variable = PREFIX + "__".join(where).upper()
    if where[0] == ROUTES:
        return f"in [[{ROUTES}]] of the file, or {PREFIX}{ROUTES.upper()} as JSON"
    if where[0] in TABLES:
        return f"in [{'.'.join(where[:-1]) or where[0]}] of the file, or {variable}"
    return f"{flag(where[0])} or {variable}"
