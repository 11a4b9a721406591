# SPDX-License-Identifier: BSD-3-Clause
"""Settings whose values are in files: `..._file` in the settings file, `ASTROM3_..._FILE` in the environment.

So a password never stands in a process list, an environment or a file that is shown around. A relative name
is looked for among systemd's credentials first (`LoadCredential=`), where there are any.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from broker_plugin.errors import ConfigurationError
from broker_plugin.settings import PREFIX, Settings
from broker_plugin.settings_tables import FROM_FILE
from broker_plugin.streams.kafka_admission import read_secret

__all__ = ["read_table_files", "read_variable_files", "secret_path"]

CREDENTIALS = "CREDENTIALS_DIRECTORY"
"""Where systemd says that a unit's credentials are."""


def secret_path(name: str) -> Path:
    """Return the path of a file that holds a secret."""
    path, folder = Path(name).expanduser(), os.environ.get(CREDENTIALS)
    if folder and not path.is_absolute() and (Path(folder) / path).is_file():
        return Path(folder) / path
    return path


def read_table_files(table: Mapping[str, Any]) -> dict[str, Any]:
    """Return a table of settings with every `NAME_file` read into NAME.

    Raises
    ------
    ConfigurationError
        If a file cannot be read, or a setting is given both ways.
    """
    from_files = _named(table)
    read = {name: read_secret(secret_path(str(table[given])), name) for name, given in from_files.items()}
    for name, given in from_files.items():
        if name in table:
            raise ConfigurationError(f"{name} and {given} are both set", remedy="leave one out")
    return {name: value for name, value in table.items() if name not in from_files.values()} | read


def read_variable_files(environment: Mapping[str, str]) -> dict[str, Any]:
    """Return the settings that the environment gives as `ASTROM3_NAME_FILE`."""
    given = {
        variable.removeprefix(PREFIX).lower(): value
        for variable, value in environment.items()
        if variable.startswith(PREFIX)
    }
    return read_table_files({name: value for name, value in given.items() if name in _named(given).values()})


def _named(names: Iterable[str]) -> dict[str, str]:
    """Return the settings that are given by file, and how."""
    return {
        name.removesuffix(FROM_FILE): name
        for name in names
        if name.endswith(FROM_FILE) and name.removesuffix(FROM_FILE) in Settings.model_fields
    }
