# SPDX-License-Identifier: BSD-3-Clause
"""Which version of a bundle is in force: what was promoted, by whom, and from when on.

The promotions of a name are one small file that is replaced as a whole, so that a reader sees those before a
change or those after it. What is in force follows from the file and the clock alone: all processes of a group
agree on it, and one that is started in the morning goes on with the bundle of the night that is not over.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError

from broker_plugin.errors import BundleError
from broker_plugin.nights import SITES, next_noon

__all__ = ["POINTER", "Promotion", "in_force", "promotions_text", "read_promotions", "standing_promotions"]

POINTER = "current.json"
"""The file, beside the versions of a name."""

POINTER_FORMAT = 1

POINTER_MAX_BYTES = 1_000_000
"""Thousands of promotions. No more is read, and a larger file is none of ours."""


class Promotion(BaseModel):
    """One change of what is in force.

    Parameters
    ----------
    number
        Counts the promotions of a name; never given twice.
    version, digest
        What was promoted.
    action
        A rollback takes the promotion before it back.
    at, by
        When and by whom.
    at_noon
        Whether it waits for the next local noon of the survey: no night is scored by two bundles.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    number: int
    version: str
    digest: str
    action: Literal["promote", "rollback"]
    at: AwareDatetime
    by: str
    at_noon: bool
    note: str = ""

    def takes_effect(self, survey: str | None) -> datetime:
        """Return from when on it holds for a survey; None for all of them."""
        if not self.at_noon:
            return self.at
        return max(next_noon(each, self.at) for each in ([survey] if survey else SITES))


class _Pointer(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1]
    promotions: list[Promotion]


def read_promotions(path: Path) -> tuple[Promotion, ...]:
    """Return the promotions in a file, the oldest first; none if there is no such file.

    Raises
    ------
    BundleError
        If it cannot be read.
    """
    try:
        with path.open("rb") as handle:
            content = handle.read(POINTER_MAX_BYTES)
    except FileNotFoundError:
        return ()
    except OSError as error:
        raise BundleError(f"cannot read {path}: {error.strerror}", remedy="make it readable") from error
    try:
        return tuple(_Pointer.model_validate_json(content).promotions)
    except ValidationError as error:
        raise BundleError(
            f"{path} is not a list of promotions ({error.errors()[0]['msg']})",
            remedy="restore it, or move it away and promote again",
        ) from error


def promotions_text(promotions: Sequence[Promotion]) -> bytes:
    """Return the content of the file."""
    listed = [promotion.model_dump(mode="json") for promotion in promotions]
    return (json.dumps({"format": POINTER_FORMAT, "promotions": listed}, indent=1) + "\n").encode()


def in_force(promotions: Sequence[Promotion], survey: str | None, when: datetime) -> Promotion | None:
    """Return the promotion that holds for a survey, None for all of them; or None before the first holds.

    The latest of those that have taken effect holds: one that is made at once also takes the place of an
    earlier one that still waits for noon.
    """
    return next((each for each in reversed(promotions) if each.takes_effect(survey) <= when), None)


def standing_promotions(promotions: Sequence[Promotion], *, installed: bool) -> tuple[Promotion, ...]:
    """Return the promotions that rollbacks take back one after the other, the present one last.

    One that was replaced before it took effect was never in force, and is not among them.

    Parameters
    ----------
    installed
        Whether a bundle of this name is installed. Where none is, the first promotion holds from the start.
    """
    stood: list[tuple[Promotion, tuple[Promotion, ...]]] = []  # each change, and what stands after it
    for each in promotions:
        latest = stood[-1][1] if stood else ()
        while len(stood) > (0 if installed else 1) and _is_forestalled(stood[-1][0], by=each):
            stood.pop()
        before = stood[-1][1] if stood else ()
        stood.append((each, latest[:-1] if each.action == "rollback" else (*before, each)))
    return stood[-1][1] if stood else ()


def _is_forestalled(promotion: Promotion, *, by: Promotion) -> bool:
    return all(by.takes_effect(survey) <= promotion.takes_effect(survey) for survey in SITES)
