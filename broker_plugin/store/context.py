# SPDX-License-Identifier: BSD-3-Clause
"""Rows of catalogues and spectra, as a store keeps them: by object, or by position in cells of the sky.

A place is an object's key or a cell. At each place there is one value with the catalogue rows and one with
the spectra, apart because spectra are large and few bundles read them, and apart by access class. A row is
known by catalogue and source; a later load replaces it, so a load may be broken off and repeated.
"""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from broker_plugin.records import Access, Spectrum
from broker_plugin.store.base import CorruptValueError, opened, sealed
from broker_plugin.store.sky import cell_of

__all__ = ["SUMMARY_KEY", "ContextRow", "by_place", "context_key", "merged_rows", "rows_in"]

SUMMARY_KEY = "c:summary"
"""Key of what was loaded: the number of rows by catalogue. Without it nobody looks for any."""

VALUE_MAX = 50_000_000
"""Most bytes of a place, unpacked: a thousand spectra. More is no value of ours."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ContextRow:
    """What a catalogue says of one source.

    Parameters
    ----------
    catalogue, source_id
        What the row is known by.
    object_id
        The object that it is about, as alerts name it; empty where the position is to decide.
    ra_deg, dec_deg
        ICRS.
    values
        Known values by name, of `records.METADATA_COLUMNS`.
    access
        Who may see it. Unmarked is private.
    """

    catalogue: str
    source_id: str
    object_id: str = ""
    ra_deg: float | None = None
    dec_deg: float | None = None
    values: Mapping[str, float] = field(default_factory=dict)
    spectrum: Spectrum | None = None
    access: Access = Access.PRIVATE

    @property
    def place(self) -> str:
        """The object or the cell that the row is kept at."""
        if self.object_id:
            return self.object_id
        if self.ra_deg is None or self.dec_deg is None:
            raise ValueError(f"{self.catalogue}:{self.source_id} has neither an object nor a position")
        return cell_of(self.ra_deg, self.dec_deg)


def context_key(place: str, access: Access, *, spectra: bool) -> str:
    """Return the key of the rows or of the spectra at a place.

    Examples
    --------
    >>> context_key("ztf:ZTF18abcdefg", Access.PUBLIC, spectra=False)
    'c:1:ztf:ZTF18abcdefg'
    """
    return f"{'s' if spectra else 'c'}:{int(access)}:{place}"


def by_place(rows: Iterable[ContextRow]) -> dict[str, list[ContextRow]]:
    """Return rows by the keys that they are to be kept under; one with values and a spectrum under two."""
    placed: dict[str, list[ContextRow]] = {}
    for row in rows:
        for spectra, there in ((False, bool(row.values)), (True, row.spectrum is not None)):
            if there:
                key = context_key(row.place, row.access, spectra=spectra)
                part = replace(row, values={}) if spectra else replace(row, spectrum=None)
                placed.setdefault(key, []).append(part)
    return placed


def merged_rows(value: bytes | None, new: Iterable[ContextRow]) -> bytes:
    """Return a stored value with new rows in it; those of the same catalogue and source are replaced."""
    try:
        rows = {(row.catalogue, row.source_id): row for row in rows_in(value)}
    except CorruptValueError:
        rows = {}
    rows |= {(row.catalogue, row.source_id): row for row in new}
    records = [_record(rows[each]) for each in sorted(rows)]
    return sealed(zlib.compress(json.dumps(records, separators=(",", ":"), allow_nan=False).encode(), 1))


def rows_in(value: bytes | None) -> list[ContextRow]:
    """Return the rows of a stored value.

    Raises
    ------
    CorruptValueError
        If it is not what was written.
    """
    if value is None:
        return []
    unzip = zlib.decompressobj()
    try:
        text = unzip.decompress(opened(value), VALUE_MAX)
        if not unzip.eof:
            raise CorruptValueError("stored context was cut")
        return [_row(record) for record in json.loads(text)]
    except (zlib.error, ValueError, KeyError, TypeError) as error:
        raise CorruptValueError("stored context cannot be read") from error


def _record(row: ContextRow) -> dict[str, Any]:
    record: dict[str, Any] = {
        "catalogue": row.catalogue,
        "source": row.source_id,
        "object": row.object_id,
        "position": None if row.ra_deg is None else [row.ra_deg, row.dec_deg],
        "access": int(row.access),
        "values": dict(sorted(row.values.items())),
    }
    if row.spectrum is not None:
        columns = (row.spectrum.wave_aa, row.spectrum.flux, row.spectrum.inverse_variance)
        record["spectrum"] = [base64.b64encode(column.tobytes()).decode() for column in columns]
    return record


def _row(record: Mapping[str, Any]) -> ContextRow:
    position, access = record["position"] or (None, None), Access(record["access"])
    spectrum = None
    if "spectrum" in record:
        wave, flux, weight = (base64.b64decode(each) for each in record["spectrum"])
        spectrum = Spectrum(
            wave_aa=np.frombuffer(wave, np.float64),
            flux=np.frombuffer(flux, np.float32),
            inverse_variance=np.frombuffer(weight, np.float32),
            access=access,
        )
    return ContextRow(
        catalogue=record["catalogue"],
        source_id=record["source"],
        object_id=record["object"],
        ra_deg=position[0],
        dec_deg=position[1],
        values=record["values"],
        spectrum=spectrum,
        access=access,
    )
