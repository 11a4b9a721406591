# SPDX-License-Identifier: BSD-3-Clause
"""Every source read as parts, whatever its layout."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from broker_plugin.errors import ConfigurationError
from trainer.crossmatch.catalogues import columns_read, part_of_row, read_blocks, rows_in
from trainer.crossmatch.lightcurves import keep_light_curve, light_curve_members, read_light_curve_files
from trainer.crossmatch.parts import Part
from trainer.crossmatch.settings import (
    CatalogueSource,
    FitsSpectrumSource,
    LightCurveFilesSource,
    NestedSource,
    Source,
    SpectrumFilesSource,
)
from trainer.crossmatch.spectra import keep_spectrum, read_lamost, read_text_spectrum

__all__ = ["files_of", "read_parts", "size_of"]

Advance = Callable[[int], None]


def files_of(source: Source, data: Path) -> list[Path]:
    """Return the files of a source, sorted.

    Raises
    ------
    ConfigurationError
        If there is none.
    """
    files = sorted(path for path in data.glob(source.path) if path.is_file())
    if not files:
        raise ConfigurationError(
            f"source {source.name}: nothing at {data / source.path}; give --data the folder that holds it"
        )
    return files


def size_of(source: Source, data: Path, files: Sequence[Path]) -> int:
    """Return how far `read_parts` will advance."""
    if isinstance(source, LightCurveFilesSource):
        return len(light_curve_members(data, files, source))
    return sum(rows_in(path) for path in files)


def read_parts(
    source: Source, data: Path, files: Sequence[Path], *, funnel: Counter[str], advance: Advance
) -> Iterator[Part]:
    """Yield the parts of a source that say anything, with the cuts applied and counted."""
    match source:
        case CatalogueSource() | NestedSource():
            parts = _rows(source, files, funnel, advance)
        case LightCurveFilesSource():
            parts = _light_curves(source, data, files, funnel, advance)
        case FitsSpectrumSource():
            parts = _fits_spectra(source, files, funnel, advance)
        case SpectrumFilesSource():
            parts = _text_spectra(source, data, files, funnel, advance)
    for part in parts:
        key = part.key.strip()
        if source.fold_ids:
            key = key.lower().replace(" ", "_")
        yield replace(part, key=source.aliases.get(key, key))


def _rows(
    source: CatalogueSource | NestedSource, files: Sequence[Path], funnel: Counter[str], advance: Advance
) -> Iterator[Part]:
    names = columns_read(source.columns)
    series = (source.mjd, source.mag, source.mag_err) if isinstance(source, NestedSource) else ()
    for path in files:
        for block in read_blocks(path, [*names, *series]):
            scalars = {name: block.column(name).to_pylist() for name in names}
            lists = [_lists(block.column(name)) for name in series]
            for row in range(block.num_rows):
                funnel["rows read"] += 1
                part = part_of_row(
                    {name: values[row] for name, values in scalars.items()},
                    source.columns,
                    epoch_jyear=source.epoch_jyear,
                )
                if source.columns.ra is not None and part.ra_deg is None:
                    funnel["rows whose position is missing or unreadable"] += 1
                if isinstance(source, NestedSource):
                    bands = [(source.band, *(values[row] for values in lists))]
                    curve = keep_light_curve(bands, source.time, source.cuts, funnel=funnel)
                    part = replace(part, light_curve=curve)
                yield part
                if path.suffix == ".parquet":
                    advance(1)
        if path.suffix != ".parquet":
            advance(1)


def _lists(column: Any) -> list[Any]:
    values = column.values.to_numpy(zero_copy_only=False).astype(np.float64)
    offsets = column.offsets.to_numpy()
    return [values[start:stop] for start, stop in itertools.pairwise(offsets)]


def _light_curves(
    source: LightCurveFilesSource, data: Path, files: Sequence[Path], funnel: Counter[str], advance: Advance
) -> Iterator[Part]:
    for key, bands in read_light_curve_files(data, files, source):
        curve = keep_light_curve(bands, source.time, source.cuts, funnel=funnel)
        yield Part(key=key, light_curve=curve, epoch_jyear=source.epoch_jyear)
        advance(1)


def _fits_spectra(
    source: FitsSpectrumSource, files: Sequence[Path], funnel: Counter[str], advance: Advance
) -> Iterator[Part]:
    for path in files:
        found = read_lamost(path)
        at_observation = source.positions_at == "observation"
        yield Part(
            key=found.key,
            ra_deg=found.ra_deg,
            dec_deg=found.dec_deg,
            epoch_jyear=found.epoch_jyear if at_observation else source.epoch_jyear,
            spectrum=keep_spectrum(found.spectrum, source.cuts, funnel),
        )
        advance(1)


def _text_spectra(
    source: SpectrumFilesSource, data: Path, files: Sequence[Path], funnel: Counter[str], advance: Advance
) -> Iterator[Part]:
    pattern = re.compile(source.id_pattern)
    for path in files:
        found = pattern.search(path.relative_to(data).as_posix())
        if found is None:
            funnel["files whose name holds no id"] += 1
        else:
            spectrum = keep_spectrum(read_text_spectrum(path, source), source.cuts, funnel)
            yield Part(key=found["id"], spectrum=spectrum, epoch_jyear=source.epoch_jyear)
        advance(1)
