# SPDX-License-Identifier: BSD-3-Clause
"""What a configuration may say of the preprocessing of each modality, before anything is fitted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from broker_plugin.features.base import known_modalities
from broker_plugin.features.modalities.metadata import TRANSFORMS
from broker_plugin.records import METADATA_COLUMNS

__all__ = ["check_spec", "explained"]


class _Spec(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class _PhotometrySpec(_Spec):
    max_epochs: int = Field(gt=0)


class _Column(_Spec):
    name: str
    minus: str | None = None
    transform: str = "identity"
    mean: float = 0.0
    std: float = Field(default=1.0, gt=0)

    @field_validator("name", "minus")
    @classmethod
    def _known_column(cls, name: str | None) -> str | None:
        if name is not None and name not in METADATA_COLUMNS:
            raise ValueError(f"no column {name!r}; there are {', '.join(METADATA_COLUMNS)}")
        return name

    @field_validator("transform")
    @classmethod
    def _known_transform(cls, name: str) -> str:
        if name not in TRANSFORMS:
            raise ValueError(f"no transform {name!r}; there are {', '.join(TRANSFORMS)}")
        return name


class _MetadataSpec(_Spec):
    columns: tuple[_Column, ...] = Field(min_length=1)


_SPECS: Mapping[str, type[_Spec]] = MappingProxyType(
    {"photometry": _PhotometrySpec, "metadata": _MetadataSpec}
)
"""Those of modalities that must be told something; of others nothing is known here."""


NOTHING: Mapping[str, Any] = MappingProxyType({})


def check_spec(name: str, spec: Mapping[str, Any]) -> None:
    """Make sure that there is such a modality and that its preprocessing can be made so.

    Raises
    ------
    ValueError
        If not; the message names the setting.
    """
    if name not in known_modalities():
        raise ValueError(f"no modality {name!r}; there are {', '.join(known_modalities())}")
    if name in _SPECS:
        try:
            _SPECS[name].model_validate(spec)
        except ValidationError as error:
            raise ValueError("; ".join(explained(error, within=(name, "spec")))) from None


def explained(
    error: ValidationError, *, within: tuple[str, ...] = (), table: Mapping[str, Any] = NOTHING
) -> list[str]:
    """Return a line for each defect: the dotted name of its setting, and what is wrong.

    Parameters
    ----------
    within
        Names of the tables that the settings stand in.
    table
        The settings, for tables in lists to be called by their names.
    """
    lines = []
    for defect in error.errors(include_url=False):
        place = _named_place((*within, *defect["loc"]), table)
        said = defect["msg"].removeprefix("Value error, ")
        lines.append(f"{place}: {said}" if place else said)
    return lines


def _named_place(place: Sequence[str | int], table: Mapping[str, Any]) -> str:
    """Return how a person finds a setting: tables of one name are counted from 1, and called by their own.

    Examples
    --------
    >>> table = {"sources": [{"name": "gaia", "layout": "catalogue"}]}
    >>> _named_place(("sources", 0, "catalogue", "columns", "id"), table)
    'columns.id of [[sources]] no. 1 (gaia)'
    >>> _named_place(("sizes", 0), {"sizes": [1.5]})
    'sizes.0'
    """
    at = next((n for n, part in enumerate(place) if isinstance(part, int)), len(place))
    head, number, rest = place[:at], place[at : at + 1], place[at + 1 :]
    entry = _found([*head, *number], table)
    if not number or not isinstance(entry, Mapping):
        return ".".join(map(str, place))
    called = f" ({entry['name']})" if isinstance(entry.get("name"), str) else ""
    # A table that can be of several kinds has its kind in the place, which is no setting within it.
    within = _named_place(rest[1:] if rest[:1] == (entry.get("layout"),) else rest, entry)
    return " of ".join(
        filter(None, [within, f"[[{'.'.join(map(str, head))}]] no. {int(number[0]) + 1}{called}"])
    )


def _found(place: Sequence[str | int], table: Any) -> Any:
    """Return what a table has at a place, None where it has nothing."""
    for part in place:
        try:
            table = table[part]
        except (KeyError, IndexError, TypeError):
            return None
    return table
