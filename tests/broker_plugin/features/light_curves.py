# SPDX-License-Identifier: BSD-3-Clause
"""Alerts made up for the tests of the features."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import ArrayLike

from broker_plugin.records import Alert, LightCurve
from broker_plugin.taxonomy import PASSBANDS

__all__ = ["alert", "any_alerts", "random_alerts", "sinusoid"]

FLOAT32 = st.floats(width=32, allow_nan=False, allow_infinity=False)
FLOAT64 = st.floats(allow_nan=False, allow_infinity=False)


def alert(
    mjd: ArrayLike,
    flux: ArrayLike,
    error: ArrayLike,
    *,
    band: ArrayLike = 1,
    apparent: ArrayLike = True,
    origin: ArrayLike = 0,
    mjd_alert: float | None = None,
    metadata: dict[str, float] | None = None,
) -> Alert:
    """Return an alert of these epochs; scalars hold for all of them."""
    times = np.atleast_1d(np.asarray(mjd, np.float64))
    shape = times.shape
    curve = LightCurve(
        mjd_tai=times,
        flux_njy=np.broadcast_to(np.asarray(flux, np.float32), shape),
        flux_err_njy=np.broadcast_to(np.asarray(error, np.float32), shape),
        band=np.broadcast_to(np.asarray(band, np.int8), shape),
        origin=np.broadcast_to(np.asarray(origin, np.int8), shape),
        apparent=np.broadcast_to(np.asarray(apparent, np.bool_), shape),
        detector=np.zeros(shape, np.int32),
        access=np.ones(shape, np.int8),
    )
    when = mjd_alert if mjd_alert is not None else float(times[-1]) if times.size else 60_000.0
    return Alert(
        survey="ztf",
        alert_id=1,
        object_id="ztf:x",
        ra_deg=1.0,
        dec_deg=2.0,
        mjd_tai=when,
        light_curve=curve,
        metadata=metadata or {},
    )


def sinusoid(rng: np.random.Generator, *, period: float, n: int, span: float, noise: float = 0.02) -> Alert:
    """Return an alert of a star that varies by 30 % in two bands."""
    mjd = 60_000 - np.sort(rng.uniform(0, span, n))[::-1]
    band = rng.integers(0, 2, n)
    level = np.where(band == 0, 2.0e5, 3.5e5)
    flux = level * (1 + 0.3 * np.sin(2 * np.pi * mjd / period) + rng.normal(0, noise, n))
    return alert(mjd, flux, noise * level, band=band)


def random_alerts(rng: np.random.Generator, n: int) -> list[Alert]:
    """Return alerts of 0 to 60 epochs in all bands, kinds and origins."""
    alerts = []
    for _ in range(n):
        size = int(rng.choice([0, 1, 2, 3, 7, 14, 25, 60]))
        alerts.append(
            alert(
                60_000 - np.sort(rng.uniform(0, 40, size))[::-1],
                rng.normal(0, 10 ** rng.uniform(1, 6), size),
                10 ** rng.uniform(0, 4, size),
                band=rng.integers(0, len(PASSBANDS), size),
                apparent=rng.random(size) < 0.6,
                origin=rng.integers(0, 2, size),
                metadata={"gal_lat_deg": float(rng.uniform(-90, 90))} if rng.random() < 0.7 else {},
            )
        )
    return alerts


@st.composite
def any_alerts(draw: st.DrawFn) -> Alert:
    """Draw an alert with any finite numbers at all, the ends of float32 and of float64 included."""
    n = draw(st.integers(0, 30))
    return alert(
        draw(hnp.arrays(np.float64, n, elements=FLOAT64)),
        draw(hnp.arrays(np.float32, n, elements=FLOAT32)),
        draw(hnp.arrays(np.float32, n, elements=FLOAT32)),
        band=draw(hnp.arrays(np.int8, n, elements=st.integers(0, len(PASSBANDS) - 1))),
        apparent=draw(hnp.arrays(np.bool_, n)),
        origin=draw(hnp.arrays(np.int8, n, elements=st.integers(0, 1))),
        mjd_alert=draw(FLOAT64),
        metadata=draw(
            st.dictionaries(st.sampled_from(["gal_lat_deg", "reference_mag"]), FLOAT32, max_size=2)
        ),
    )
