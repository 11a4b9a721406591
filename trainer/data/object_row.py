# SPDX-License-Identifier: BSD-3-Clause
"""One object of a multimodal dataset, and what would make it unfit for one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from broker_plugin.records import METADATA_COLUMNS, LightCurve, Spectrum
from broker_plugin.taxonomy import PASSBANDS
from trainer.data.splits import Split

__all__ = ["SPLITS", "ObjectRow", "check_row"]

SPLITS: tuple[str, ...] = tuple(each.name.lower() for each in Split)
"""Spellings of the splits, by the code of `splits.Split`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectRow:
    """One object with what is known of it.

    Parameters
    ----------
    label
        Class by the names of `broker_plugin.taxonomy`, None where the published one has no such name.
    metadata
        Known values by name, of `records.METADATA_COLUMNS`.
    period_day
        The catalogue's period.
    """

    object_id: str
    ra_deg: float | None
    dec_deg: float | None
    split: str
    source: str
    label: str | None = None
    published_label: str | None = None
    simulated: bool = False
    light_curve: LightCurve | None = None
    spectrum: Spectrum | None = None
    metadata: Mapping[str, float] = field(default_factory=dict)
    period_day: float | None = None


def check_row(row: ObjectRow) -> None:
    """Raise ValueError, with all faults of the row, if it breaks the layout of a dataset."""
    faults = []
    if row.split not in SPLITS:
        faults.append(f"split {row.split!r} is none of {', '.join(SPLITS)}")
    if not _possible_position(row.ra_deg, row.dec_deg):
        faults.append("an impossible position; None is for one that is not known")
    if unknown := set(row.metadata) - set(METADATA_COLUMNS):
        faults.append(f"unknown columns {', '.join(sorted(unknown))}")
    if not np.isfinite([*row.metadata.values(), row.period_day or 0.0]).all():
        faults.append("a metadata value or period that is not finite; leave it out")
    if row.light_curve is not None:
        faults += _light_curve_faults(row.light_curve)
    if row.spectrum is not None:
        faults += _spectrum_faults(row.spectrum)
    if faults:
        raise ValueError(f"{row.object_id}: {'; '.join(faults)}")


def _possible_position(ra_deg: float | None, dec_deg: float | None) -> bool:
    if ra_deg is None or dec_deg is None:
        return ra_deg is dec_deg is None
    return 0 <= ra_deg <= 360 and abs(dec_deg) <= 90


def _light_curve_faults(curve: LightCurve) -> Iterator[str]:
    if not _finite(curve.mjd_tai, curve.flux_njy, curve.flux_err_njy):
        yield "an epoch that is not finite"
    if (np.diff(curve.mjd_tai) < 0).any():
        yield "epochs out of order"
    if len(curve) and not (curve.band.min() >= 0 and curve.band.max() < len(PASSBANDS)):
        yield "an unknown band"
    if not curve.apparent.all():
        yield "difference flux, where apparent flux is kept"


def _spectrum_faults(spectrum: Spectrum) -> Iterator[str]:
    if not _finite(spectrum.wave_aa, spectrum.flux, spectrum.inverse_variance):
        yield "a pixel that is not finite"
    if (np.diff(spectrum.wave_aa) <= 0).any():
        yield "wavelengths that do not increase"


def _finite(*columns: NDArray[Any]) -> bool:
    return all(bool(np.isfinite(column).all()) for column in columns)
