# SPDX-License-Identifier: BSD-3-Clause
"""Moments as an operator types them."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from broker_plugin.errors import ConfigurationError

__all__ = ["CLOCKS_DIFFER", "iso_utc", "milliseconds", "moment_of", "parse_moment", "stamp_of"]

AGO = re.compile(r"(?P<number>\d+)(?P<unit>[smhd])")

UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

CLOCKS_DIFFER = timedelta(days=1)
"""A clock may be ahead of ours, in a wrong time zone for instance, but by no more."""

EARLIEST_MS, LATEST_MS = 631_152_000_000, 4_102_444_800_000
"""1990 and 2100, as for observations."""


def parse_moment(text: str, *, now: datetime | None = None) -> datetime:
    """Return a moment: ISO 8601 (UTC where no zone is given), or how long ago, such as 90m, 12h or 3d.

    Raises
    ------
    ConfigurationError
        If it is neither.

    Examples
    --------
    >>> parse_moment("2026-11-24T03:00:00Z").isoformat(), parse_moment("2026-11-24").isoformat()
    ('2026-11-24T03:00:00+00:00', '2026-11-24T00:00:00+00:00')
    >>> parse_moment("12h", now=datetime(2026, 11, 24, tzinfo=UTC)).isoformat()
    '2026-11-23T12:00:00+00:00'
    """
    ago = AGO.fullmatch(text)
    try:
        if ago:
            return (now or datetime.now(UTC)) - timedelta(**{UNITS[ago["unit"]]: int(ago["number"])})
        moment = datetime.fromisoformat(text)
    except (ValueError, OverflowError) as error:
        raise ConfigurationError(
            f"{text!r} is no moment; write 2026-11-24T03:00:00Z, 2026-11-24, or how long ago: 90m, 12h, 3d"
        ) from error
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)


def milliseconds(moment: datetime) -> int:
    """Return milliseconds since 1970, as Kafka counts them.

    Examples
    --------
    >>> milliseconds(datetime(1970, 1, 1, 0, 0, 1, 500_000, tzinfo=UTC))
    1500
    """
    return (moment - EPOCH) // timedelta(milliseconds=1)


def moment_of(timestamp_ms: int | None) -> datetime | None:
    """Return the moment of Kafka's milliseconds; None where there are none or they lie outside 1990 to 2100.

    A producer may stamp a message with any number, and some count in other units.

    Examples
    --------
    >>> moment_of(1_000_000_000_000).isoformat(), moment_of(1_000_000_000_000_000), moment_of(None)
    ('2001-09-09T01:46:40+00:00', None, None)
    """
    if timestamp_ms is None or not EARLIEST_MS <= timestamp_ms <= LATEST_MS:
        return None
    return EPOCH + timedelta(milliseconds=timestamp_ms)


def stamp_of(message_ms: int | None, *, now: datetime | None = None) -> datetime | None:
    """Return the moment of the time that a message bears; None where that cannot be true.

    It may be none of `moment_of`, or later than now by more than a day: then somebody's clock is wrong.

    Examples
    --------
    >>> now = datetime(2026, 11, 24, tzinfo=UTC)
    >>> stamp_of(milliseconds(now), now=now) == now, stamp_of(2_900_000_000_000, now=now)
    (True, None)
    """
    moment = moment_of(message_ms)
    latest = (now or datetime.now(UTC)) + CLOCKS_DIFFER
    return None if moment is None or moment > latest else moment


def iso_utc(timestamp_ms: int | None) -> str | None:
    """Return Kafka's milliseconds as ISO 8601 in UTC; None where `moment_of` knows none.

    Examples
    --------
    >>> iso_utc(1_000_000_000_500), iso_utc(None)
    ('2001-09-09T01:46:40.500Z', None)
    """
    moment = moment_of(timestamp_ms)
    return None if moment is None else moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
