# SPDX-License-Identifier: BSD-3-Clause
"""Alerts that hold a star's own epochs, a run of them, as they were observed.

Nothing is added and nothing comes from the epochs outside the window: the reference magnitude is the median
of those inside, and the catalogue's period is given only where that is asked for. A window that is to be odd
is changed as `trainer.outliers` says.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.typing import NDArray

from broker_plugin.records import Access, Alert, LightCurve, Origin, SourceContext
from broker_plugin.surveys.photometry import AB_ZERO_NJY
from broker_plugin.taxonomy import passband_code
from trainer.data.stars import StarTable
from trainer.outliers import Host, Oddity, odd_flux

__all__ = [
    "FIRST_EPOCHS",
    "SURVEY",
    "Windows",
    "first_windows",
    "growing_windows",
    "joined",
    "night_runs",
    "random_windows",
    "window_alerts",
]

IntArray = NDArray[np.int64]

SURVEY = "catalina"
"""Survey of the alerts: none that the stream has, so that nothing is calibrated for the wrong one."""

FIRST_EPOCHS: tuple[int | None, ...] = (None, 100, 30, 10, 3, 1)
"""First epochs of a star that a training window holds; None for all. A stream has seen the first ones."""

MJD_UNKNOWN = 50_000.0
"""Time of an alert without epochs; nothing is computed from it."""

RUN_LENGTHS = (0.7, 1.4)
"""Shortest and longest run relative to the number of epochs that it stands for: a factor of two in all, in
which what can be known of a star hardly changes."""

LONGEST_RUNS = (0.6, 1.0)
"""The same where it stands for all epochs of a star."""

BAND = passband_code("johnson_v")


@dataclass(frozen=True, slots=True, kw_only=True)
class Windows:
    """First epoch, number of epochs, whether a catalogue's period is given, and `Oddity`; shape (B,)."""

    first: IntArray
    n_epochs: IntArray
    given: NDArray[np.bool_]
    oddity: NDArray[np.int8]

    def part(self, rows: slice) -> Windows:
        """Return some of the windows."""
        return Windows(**{column.name: getattr(self, column.name)[rows] for column in fields(self)})

    def tobytes(self) -> bytes:
        """Return the content, to be hashed."""
        return b"".join(getattr(self, column.name).tobytes() for column in fields(self))


def first_windows(stars: StarTable, star: IntArray, n_epochs: int | None, *, given: bool) -> Windows:
    """Return the first epochs of each star, all of them where it has fewer or `n_epochs` is None."""
    length = np.diff(stars.offsets)[star]
    return Windows(
        first=np.zeros(len(star), np.int64),
        n_epochs=length if n_epochs is None else np.minimum(length, n_epochs),
        given=np.full(len(star), given),
        oddity=np.zeros(len(star), np.int8),
    )


def growing_windows(
    stars: StarTable,
    star: IntArray,
    rng: np.random.Generator,
    *,
    low: int,
    high: int | None,
) -> Windows:
    """Return the first epochs of each star, their number uniform in the logarithm from low to high.

    Where there is no `high`, half of the stars have all of their epochs, as those have of which nothing
    more will come.

    Parameters
    ----------
    low
        Each star has as many epochs at least.
    """
    length = np.diff(stars.offsets)[star]
    longest = length if high is None else np.minimum(length, high)
    n_epochs = _log_uniform(rng, low, longest)
    if high is None:
        n_epochs = np.where(rng.random(len(star)) < 0.5, length, n_epochs)
    return replace(first_windows(stars, star, None, given=False), n_epochs=n_epochs)


def random_windows(
    stars: StarTable, star: IntArray, rng: np.random.Generator, *, low: int = 1, high: int | None = None
) -> Windows:
    """Return a random run of epochs of each star, its length uniform in the logarithm from low to high."""
    length = np.diff(stars.offsets)[star]
    longest = length if high is None else np.minimum(length, high)
    n_epochs = _log_uniform(rng, low, longest)
    return Windows(
        first=rng.integers(0, length - n_epochs + 1),
        n_epochs=n_epochs,
        given=np.zeros(len(star), np.bool_),
        oddity=np.zeros(len(star), np.int8),
    )


def _log_uniform(rng: np.random.Generator, low: int, longest: IntArray) -> IntArray:
    """Return numbers of epochs from `low` to those of `longest` (B,), which may be smaller."""
    drawn = np.floor(np.exp(rng.uniform(np.log(low), np.log(np.maximum(longest, low) + 1))))
    number: IntArray = np.minimum(drawn.astype(np.int64), longest)
    return number


def night_runs(stars: StarTable, star: IntArray, n_epochs: int | None, rng: np.random.Generator) -> Windows:
    """Return runs of about `n_epochs` epochs, or of most where it is None, that begin with any night.

    They are to the first epochs what another night of discovery would have made them.
    """
    first, length = np.zeros((2, len(star)), np.int64)
    for row, each in enumerate(star):
        night = np.floor(stars.mjd[stars.epochs(int(each))])
        low, high = LONGEST_RUNS if n_epochs is None else RUN_LENGTHS
        wish = round((n_epochs or len(night)) * rng.uniform(low, high))
        length[row] = min(max(wish, 1), len(night))
        begun = np.flatnonzero(np.diff(night, prepend=-1.0))
        first[row] = rng.choice(begun[begun <= len(night) - length[row]])
    return Windows(
        first=first,
        n_epochs=length,
        given=np.zeros(len(star), np.bool_),
        oddity=np.zeros(len(star), np.int8),
    )


def window_alerts(
    stars: StarTable, star: IntArray, windows: Windows, *, peers: IntArray | None = None
) -> list[Alert]:
    """Return the alerts of windows, `star` (B,) naming the star of each.

    Parameters
    ----------
    peers
        The stars whose light and periods may serve for odd windows.
    """
    peers = np.zeros(0, np.int64) if peers is None else peers
    rows = zip(star, windows.first, windows.n_epochs, windows.given, windows.oddity, strict=True)
    return [
        _alert(
            Host(stars, int(each), peers),
            slice(int(first), int(first + n)),
            given=bool(given),
            oddity=Oddity(int(oddity)),
            alert_id=number,
        )
        for number, (each, first, n, given, oddity) in enumerate(rows)
    ]


def joined(parts: Sequence[Windows]) -> Windows:
    """Return windows behind one another."""
    return Windows(
        **{
            column.name: np.concatenate([getattr(part, column.name) for part in parts])
            for column in fields(Windows)
        }
    )


def _alert(host: Host, window: slice, *, given: bool, oddity: Oddity, alert_id: int) -> Alert:
    stars, star = host.stars, host.star
    start = int(stars.offsets[star])
    rows = slice(start + window.start, start + window.stop)
    mjd = stars.mjd[rows]
    flux, flux_err = (column[rows].astype(np.float64) for column in (stars.flux_njy, stars.flux_err_njy))
    n = len(mjd)
    if oddity is not Oddity.ORDINARY and n:
        rng = np.random.default_rng((star, window.start, n, int(oddity)))
        flux, flux_err = odd_flux(oddity, mjd, flux, flux_err, host, rng)
    curve = LightCurve.from_columns(
        mjd_tai=mjd,
        flux_njy=flux,
        flux_err_njy=flux_err,
        band=np.full(n, BAND),
        origin=np.full(n, Origin.DETECTION),
        apparent=np.ones(n),
        detector=np.zeros(n),
        access=np.full(n, Access.PUBLIC),
    )
    metadata = stars.galactic(star)
    if n:
        metadata["reference_mag"] = float(-2.5 * np.log10(np.median(flux) / AB_ZERO_NJY))
    if given and stars.period_day[star] > 0:
        metadata["catalogue_period_day"] = float(stars.period_day[star])
    return Alert(
        survey=SURVEY,
        alert_id=alert_id,
        object_id=str(stars.star_id[star]),
        ra_deg=float(stars.ra_deg[star]),
        dec_deg=float(stars.dec_deg[star]),
        mjd_tai=float(mjd[-1]) if n else MJD_UNKNOWN,
        light_curve=curve,
        metadata=metadata,
        source_context=SourceContext.STELLAR,
    )
