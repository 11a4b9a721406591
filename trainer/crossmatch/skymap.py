# SPDX-License-Identifier: BSD-3-Clause
"""Where on the sky the objects of a dataset are."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import astropy.units as u
import numpy as np
from astropy.coordinates import SkyCoord
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from trainer.crossmatch.assembly import Thing

__all__ = ["draw_sky_map"]

LAYERS = (
    ("light curve only", "#4c72b0", 2.0, (True, False)),
    ("spectrum only", "#dd8452", 12.0, (False, True)),
    ("light curve and spectrum", "#c44e52", 40.0, (True, True)),
)
"""What is drawn in which colour and size (square points); the rarest comes last, on top."""


def draw_sky_map(things: Sequence[Thing], path: Path) -> None:
    """Draw the objects and the galactic plane, in Mollweide's projection, right ascension to the left."""
    figure = Figure(figsize=(10, 5.6), dpi=130, layout="constrained")
    axes = figure.add_subplot(projection="mollweide")
    for name, colour, size, measured in LAYERS:
        chosen = [t for t in things if t.placed and (t.has_light_curve, t.has_spectrum) == measured]
        x, y = _xy(np.array([t.ra_deg for t in chosen]), np.array([t.dec_deg for t in chosen]))
        marker = "*" if measured == (True, True) else "o"
        axes.scatter(
            x,
            y,
            s=size,
            c=colour,
            marker=marker,
            linewidths=0,
            label=f"{name}: {len(chosen):,}",
            rasterized=True,
        )
    plane = SkyCoord(l=np.linspace(0, 360, 721) * u.deg, b=np.zeros(721) * u.deg, frame="galactic").icrs
    x, y = _xy(plane.ra.deg, plane.dec.deg)
    order = np.argsort(x)
    axes.plot(x[order], y[order], color="0.4", linewidth=0.8, label="galactic plane")
    axes.set_xticks(np.deg2rad(np.arange(-120, 121, 60)), _hours())
    axes.grid(color="0.85", linewidth=0.5)
    axes.set_axisbelow(True)
    unplaced = sum(not thing.placed for thing in things)
    axes.set_title(
        f"{len(things) - unplaced:,} objects" + (f"; {unplaced:,} more have no position" if unplaced else "")
    )
    axes.legend(loc="lower right", fontsize=8, markerscale=1.5, framealpha=0.9, bbox_to_anchor=(1.02, -0.04))
    FigureCanvasAgg(figure).print_figure(path, format="png", metadata={"Software": None})


def _xy(ra_deg: NDArray[np.float64], dec_deg: NDArray[np.float64]) -> tuple[NDArray[np.float64], ...]:
    # The middle of the map is 12h, the left edge 24h.
    return -np.deg2rad(ra_deg % 360.0 - 180.0), np.deg2rad(dec_deg)


def _hours() -> list[str]:
    return [f"{(12 - degrees // 15):d}h" for degrees in range(-120, 121, 60)]
