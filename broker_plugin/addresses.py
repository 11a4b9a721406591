# SPDX-License-Identifier: BSD-3-Clause
"""Addresses of servers as they may be shown."""

from __future__ import annotations

from urllib.parse import urlsplit, urlunsplit

__all__ = ["shown_address"]


def shown_address(url: str) -> str:
    """Return an address without user, password and query, for logs, messages and tables.

    Where it is not plain in an address where its password ends, only the scheme is shown: `/`, `#`, `?`, `[`
    and `]` have to be percent-encoded in one.

    Examples
    --------
    >>> shown_address("redis://me:secret@cache:6379/1")
    'redis://cache:6379/1'
    >>> shown_address("redis://me:s3c/ret@cache:6379/1")
    'redis://***'
    """
    scheme = url.partition("://")[0]
    hidden = f"{scheme}://***" if scheme.isalnum() else "***"
    try:
        parts = urlsplit(url)
        plain = parts.port is None or parts.port >= 0
    except ValueError:
        return hidden
    if not plain or "@" in f"{parts.path}{parts.query}{parts.fragment}":
        return hidden
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))
