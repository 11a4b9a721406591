# SPDX-License-Identifier: BSD-3-Clause
"""Pages of other brokers about an object, for the person who looks at a candidate."""

from __future__ import annotations

from urllib.parse import quote

__all__ = ["object_pages"]

PAGES: dict[str, dict[str, str]] = {
    "ztf": {
        "fink": "https://ztf.fink-portal.org/{}",
        "alerce": "https://alerce.online/object/{}",
        "lasair": "https://lasair-ztf.lsst.ac.uk/objects/{}/",
    },
    "lsst": {
        "fink": "https://lsst.fink-portal.org/{}",
        "alerce": "https://lsst.alerce.online/object/{}?survey=lsst",
        "lasair": "https://lasair.lsst.ac.uk/objects/{}/",
    },
}
"""Addresses by survey and broker, as the brokers' own pages have them. Rubin itself has no public page of an
object."""


def object_pages(object_id: str) -> dict[str, str]:
    """Return the pages about an object, by broker; none for a source that is no object of its survey.

    Examples
    --------
    >>> object_pages("ztf:ZTF18abcdefg")["fink"]
    'https://ztf.fink-portal.org/ZTF18abcdefg'
    >>> object_pages("lsst:sso:21163620034294098")
    {}
    """
    survey, _, identifier = object_id.partition(":")
    if ":" in identifier or not identifier:
        return {}
    return {broker: page.format(quote(identifier, safe="")) for broker, page in PAGES.get(survey, {}).items()}
