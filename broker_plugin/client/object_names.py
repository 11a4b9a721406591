# SPDX-License-Identifier: BSD-3-Clause
"""Names of objects as people write them."""

from __future__ import annotations

import re
from collections.abc import Iterable

from broker_plugin.errors import ConfigurationError

__all__ = ["is_object_name", "labels", "object_name"]

ZTF = re.compile(r"(?P<survey>ztf:)?ztf(?P<rest>\d\d[a-z]{7})")

RUBIN = re.compile(r"(lsst:)?((sso|src):)?\d{1,19}")

ROUNDED = re.compile(r"(lsst:)?\d+(\.\d*)?(e[+-]?\d+)?")
"""What becomes of a long number that went through a floating-point one."""


def object_name(text: str) -> str:
    """Return an object's name as verdicts spell it, with the survey's prefix where it is given.

    Raises
    ------
    ConfigurationError
        If no verdict can have it.

    Examples
    --------
    >>> object_name("ztf18abcdefg"), object_name("ZTF:ZTF18abcdefg"), object_name("313887541670409012")
    ('ZTF18abcdefg', 'ztf:ZTF18abcdefg', '313887541670409012')
    """
    folded = text.strip().casefold()
    of_ztf = ZTF.fullmatch(folded)
    if of_ztf:
        return f"{of_ztf['survey'] or ''}ZTF{of_ztf['rest']}"
    if RUBIN.fullmatch(folded):
        return folded
    if ROUNDED.fullmatch(folded):
        raise ConfigurationError(
            f"{text!r} is no object's name: it went through a floating-point number, which loses digits",
            remedy="save names as text or whole numbers (pandas: dtype=str or Int64)",
        )
    raise ConfigurationError(
        f"{text!r} is no object's name", remedy="write one, such as ZTF18abcdefg or a number of Rubin's"
    )


def is_object_name(text: str) -> bool:
    """Tell whether a verdict can have a name.

    Examples
    --------
    >>> is_object_name("ZTF18abcdefg"), is_object_name("M31")
    (True, False)
    """
    folded = text.strip().casefold()
    return bool(ZTF.fullmatch(folded) or RUBIN.fullmatch(folded))


def labels(object_id: str, watched: Iterable[str]) -> list[str]:
    """Return those names of what an object matches that are not its own.

    Examples
    --------
    >>> labels("ztf:ZTF18abcdefg", ["ZTF18abcdefg", "my nova"])
    ['my nova']
    """
    return [name for name in watched if name not in (object_id, object_id.partition(":")[2])]
