# SPDX-License-Identifier: BSD-3-Clause
"""The whole build: read every source, join, write the dataset with its card and its sky map."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import astropy.units as u
import numpy as np
from astropy.coordinates import SkyCoord

from broker_plugin.records import LightCurve, Spectrum
from broker_plugin.streams.output_files import prepare_folder
from trainer.crossmatch.assembly import Assembly, Thing, assemble
from trainer.crossmatch.card import data_card, markdown_of
from trainer.crossmatch.parts import PartReader, index_path, read_index, write_parts
from trainer.crossmatch.reading import files_of, read_parts, size_of
from trainer.crossmatch.settings import BuildSettings, Source
from trainer.crossmatch.skymap import draw_sky_map
from trainer.crossmatch.spectra import signal_to_noise
from trainer.crossmatch.stages import Stages, files_digest
from trainer.data.catalina import file_digest
from trainer.data.objects import SPLITS, ObjectRow, write_objects

__all__ = ["CARD", "CARD_MARKDOWN", "OBJECTS", "SKY_MAP", "build"]

OBJECTS, CARD, CARD_MARKDOWN, SKY_MAP = "objects.parquet", "data_card.json", "DATA_CARD.md", "sky_map.png"

Bar = Callable[[str, int], AbstractContextManager[Callable[[int], None]]]


def build(settings: BuildSettings, data: Path, out: Path, *, say: Callable[[str], None], bar: Bar) -> Path:
    """Build the dataset in a folder and return the path of its Parquet file.

    What a former run in this folder finished of the same inputs and settings is kept; a run that was killed
    goes on and ends in the same bytes.

    Parameters
    ----------
    bar
        Shows progress: called with a title and a total, it gives the function that advances it.

    Raises
    ------
    ConfigurationError
        If a source is not there or not laid out as the settings say, or nothing can be written.
    """
    prepare_folder(out)
    stages = Stages(folder=out / "stages", say=say)
    read = [_read(source, data, out, stages=stages, bar=bar) for source in settings.sources]
    files = [out / name for name in (CARD, CARD_MARKDOWN, SKY_MAP, OBJECTS)]
    inputs = {"settings": settings.model_dump(mode="json"), "parts": [digest for _, digest in read]}

    def write() -> dict[str, Any]:
        say("joining the sources")
        assembly = assemble(settings, [read_index(_parts_path(out, source)) for source in settings.sources])
        card = data_card(settings, [result for result, _ in read], assembly)
        text = json.dumps(card, indent=1, ensure_ascii=False) + "\n"
        digest = hashlib.sha256(text.encode()).hexdigest()
        (out / CARD).write_text(text, "utf-8")
        (out / CARD_MARKDOWN).write_text(markdown_of(card, card_sha256=digest), "utf-8")
        draw_sky_map(assembly.things, out / SKY_MAP)
        with bar("objects", len(assembly.things)) as advance:
            rows = _rows(settings, assembly, out, advance=advance)
            write_objects(out / OBJECTS, rows, card_sha256=digest)
        return {"objects": len(assembly.things)}

    result, _ = stages.run("objects", inputs, files, make=write)
    say(f"{result['objects']:,} objects in {out / OBJECTS}; {out / CARD_MARKDOWN} says what they are")
    return out / OBJECTS


def _read(source: Source, data: Path, out: Path, *, stages: Stages, bar: Bar) -> tuple[dict[str, Any], str]:
    files, path = files_of(source, data), _parts_path(out, source)
    digest = files_digest(data, files)
    shown = file_digest(files[0]) if len(files) == 1 else digest

    def make() -> dict[str, Any]:
        funnel: Counter[str] = Counter()
        with bar(source.name, size_of(source, data, files)) as advance:
            parts = read_parts(source, data, files, funnel=funnel, advance=advance)
            write_parts(path, parts, source=source.name)
        return {"files": len(files), "sha256": shown, "funnel": dict(funnel)}

    inputs = {"source": source.model_dump(mode="json"), "sha256": digest}
    return stages.run(f"read-{source.name}", inputs, [path, index_path(path)], make=make)


def _parts_path(out: Path, source: Source) -> Path:
    return out / "parts" / f"{source.name}.parquet"


def _rows(
    settings: BuildSettings, assembly: Assembly, out: Path, *, advance: Callable[[int], None]
) -> Iterator[ObjectRow]:
    galactic = _galactic(assembly.things)
    readers = [PartReader(_parts_path(out, source)) for source in settings.sources]
    for thing, split, place in zip(assembly.things, assembly.split, galactic, strict=True):
        parts = [readers[number][row] for number, row in thing.parts]
        curve, source = _light_curve(thing, parts, combine=settings.combine_light_curves)
        yield ObjectRow(
            object_id=thing.object_id,
            ra_deg=thing.ra_deg if thing.placed else None,
            dec_deg=thing.dec_deg if thing.placed else None,
            label=thing.label,
            published_label=thing.published_label,
            split=SPLITS[split],
            source=source or settings.sources[thing.parts[0][0]].name,
            light_curve=curve,
            spectrum=_spectrum(parts),
            metadata=_metadata(parts, place),
            period_day=None if np.isnan(thing.period_day) else thing.period_day,
        )
        advance(1)


def _light_curve(
    thing: Thing, parts: Sequence[ObjectRow], *, combine: bool
) -> tuple[LightCurve | None, str | None]:
    """Return the epochs in order of time, each once, and the source that gave the first of them."""
    curves = [
        (number, part.light_curve, part.source)
        for (number, _), part in zip(thing.parts, parts, strict=True)
        if part.light_curve is not None
    ]
    if not curves:
        return None, None
    first, _, name = curves[0]
    joined = LightCurve.concatenate([curve for number, curve, _ in curves if combine or number == first])
    joined = joined.take(np.lexsort((joined.band, joined.mjd_tai)))
    again = (np.diff(joined.mjd_tai, prepend=np.nan) == 0) & (np.diff(joined.band, prepend=-1) == 0)
    return joined.take(~again), name


def _spectrum(parts: Sequence[ObjectRow]) -> Spectrum | None:
    spectra = [part.spectrum for part in parts if part.spectrum is not None]
    return max(spectra, key=signal_to_noise, default=None)


def _galactic(things: Sequence[Thing]) -> list[dict[str, float]]:
    """Return the galactic coordinates of each object, none where it has no position."""
    placed = np.array([thing.placed for thing in things], np.bool_)
    ra, dec = (
        np.array([getattr(thing, name) for thing in things], np.float64) for name in ("ra_deg", "dec_deg")
    )
    place = SkyCoord(ra=np.where(placed, ra, 0.0) * u.deg, dec=np.where(placed, dec, 0.0) * u.deg).galactic
    return [
        {"gal_lon_deg": float(lon), "gal_lat_deg": float(lat)} if known else {}
        for known, lon, lat in zip(placed, place.l.deg, place.b.deg, strict=True)
    ]


def _metadata(parts: Sequence[ObjectRow], place: Mapping[str, float]) -> dict[str, float]:
    """Return the catalogue values, of each the first known one; galactic coordinates follow the position."""
    metadata = dict(place)
    for part in reversed(parts):
        metadata |= part.metadata
    return metadata
