# SPDX-License-Identifier: BSD-3-Clause
"""Settings from TOML files: what cannot be is said by the names of the settings."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from broker_plugin.errors import ConfigurationError
from trainer.specs import explained

__all__ = ["read_toml"]

Read = TypeVar("Read", bound=BaseModel)


def read_toml(path: Path, model: type[Read], *, example: str) -> Read:
    """Read the settings in a file.

    Parameters
    ----------
    example
        A file that shows them all.

    Raises
    ------
    ConfigurationError
        If the file cannot be read or a setting is missing, unknown or impossible.
    """
    try:
        table = tomllib.loads(path.read_text("utf-8"))
        return model.model_validate(table)
    except OSError as error:
        raise ConfigurationError(
            f"cannot read {path}: {error.strerror}; give --config a TOML file"
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path} is not TOML: {error}") from error
    except ValidationError as error:
        found = f"these settings do not fit; {example} shows all:"
        raise ConfigurationError("\n  ".join([f"{path}: {found}", *explained(error, table=table)])) from None
