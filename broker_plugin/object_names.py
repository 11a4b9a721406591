# SPDX-License-Identifier: BSD-3-Clause
"""What objects of alerts can be called, and how people write it."""

from __future__ import annotations

import re

from broker_plugin.errors import ConfigurationError

__all__ = ["is_object_name", "object_name", "surveyed_name"]

ZTF = re.compile(r"(?P<survey>ztf:)?ztf(?P<rest>[0-9]{2}[a-z]{7})")

RUBIN = re.compile(r"(?P<survey>lsst:)?(?P<rest>((sso|src):)?[0-9]{1,19})")

ROUNDED = re.compile(r"(lsst:)?[0-9]+(\.[0-9]*)?(e[+-]?[0-9]+)?")
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
    found = _parts(text)
    if found is not None:
        return "".join(found)
    if ROUNDED.fullmatch(text.strip().casefold()):
        raise ConfigurationError(
            f"{text!r} is no object's name: it went through a floating-point number, which loses digits",
            remedy="save names as text or whole numbers (pandas: dtype=str or Int64)",
        )
    raise ConfigurationError(
        f"{text!r} is no object's name", remedy="write one, such as ZTF18abcdefg or a number of Rubin's"
    )


def surveyed_name(text: str) -> str | None:
    """Return an object's name as verdicts have it, with its survey; None if no verdict can have it.

    Examples
    --------
    >>> surveyed_name(" ztf18abcdefg"), surveyed_name("313875416704090123"), surveyed_name("RR Lyr")
    ('ztf:ZTF18abcdefg', 'lsst:313875416704090123', None)
    """
    found = _parts(text)
    if found is None:
        return None
    survey, own = found
    return f"{survey or ('ztf:' if own.startswith('ZTF') else 'lsst:')}{own}"


def is_object_name(text: str) -> bool:
    """Tell whether a verdict can have a name.

    Examples
    --------
    >>> is_object_name("ZTF18abcdefg"), is_object_name("M31")
    (True, False)
    """
    return _parts(text) is not None


def _parts(text: str) -> tuple[str, str] | None:
    """Return the survey's prefix, empty where there is none, and the name within the survey."""
    folded = text.strip().casefold()
    if of_ztf := ZTF.fullmatch(folded):
        return of_ztf["survey"] or "", f"ZTF{of_ztf['rest']}"
    if of_rubin := RUBIN.fullmatch(folded):
        return of_rubin["survey"] or "", of_rubin["rest"]
    return None
