# SPDX-License-Identifier: BSD-3-Clause
"""Survey nights: from noon to noon at the telescope, so that no night is cut in two.

Noon is that of local mean solar time, which a longitude gives and no government changes: a civil clock would
make one night of the year 23 hours long and another 25. The sun stands up to 17 minutes off it, in full
daylight. A night has the date of its evening. Rubin's `dayObs` has the same date, since it changes at 12:00
UTC, after sunrise too; a topic `ztf_YYYYMMDD` has that of its morning in UTC, one day later.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

__all__ = ["SITES", "Site", "last_noon", "next_noon", "night_of", "noon_of"]

DEGREES_PER_HOUR = 15.0
"""The earth turns so far."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """Where a survey's telescope stands.

    Parameters
    ----------
    longitude_deg
        Of the telescope, east of Greenwich; 0.1 degrees move noon by 24 s.
    """

    name: str
    longitude_deg: float

    @property
    def utc_offset(self) -> timedelta:
        """Local mean solar time minus UTC, to the second."""
        return timedelta(seconds=round(self.longitude_deg / DEGREES_PER_HOUR * 3600))


SITES: dict[str, Site] = {
    "ztf": Site(name="Palomar", longitude_deg=-116.863),
    "lsst": Site(name="Cerro Pachon", longitude_deg=-70.749),
}
"""By survey. Noon is at 19:47 UTC at Palomar and at 16:43 UTC on Cerro Pachon."""


def night_of(survey: str, when: datetime) -> date:
    """Return the night that a moment belongs to, by the date of its evening at the telescope.

    Parameters
    ----------
    survey
        `ztf` or `lsst`.
    when
        With its time zone, whichever.

    Examples
    --------
    >>> night_of("ztf", datetime(2026, 11, 28, 8, tzinfo=UTC))
    datetime.date(2026, 11, 27)
    """
    local = when.astimezone(UTC).replace(tzinfo=None) + SITES[survey].utc_offset
    return (local - timedelta(hours=12)).date()


def noon_of(survey: str, night: date) -> datetime:
    """Return the noon at which a night begins, in UTC.

    Examples
    --------
    >>> noon_of("lsst", date(2026, 11, 27)).isoformat()
    '2026-11-27T16:43:00+00:00'
    """
    return datetime.combine(night, time(12), tzinfo=UTC) - SITES[survey].utc_offset


def last_noon(survey: str, when: datetime) -> datetime:
    """Return the noon at which the night of a moment began, in UTC: the last that is not later.

    Examples
    --------
    >>> last_noon("lsst", datetime(2026, 11, 28, 3, tzinfo=UTC)).isoformat()
    '2026-11-27T16:43:00+00:00'
    """
    return noon_of(survey, night_of(survey, when))


def next_noon(survey: str, when: datetime) -> datetime:
    """Return the noon at which the night of a moment ends, in UTC: the first that is later.

    Examples
    --------
    >>> next_noon("lsst", datetime(2026, 11, 28, 3, tzinfo=UTC)).isoformat()
    '2026-11-28T16:43:00+00:00'
    """
    return noon_of(survey, night_of(survey, when) + timedelta(days=1))
