# SPDX-License-Identifier: BSD-3-Clause
"""The data card: what a dataset holds, where it is from, what was left out and what was assumed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from trainer.crossmatch.assembly import Assembly
from trainer.crossmatch.settings import (
    BLIND_COLUMNS,
    BuildSettings,
    LightCurveFilesSource,
    NestedSource,
    Source,
    SpectrumFilesSource,
)
from trainer.data.objects import FORMAT_VERSION, SPLITS

__all__ = ["data_card", "markdown_of"]

UNLABELLED = "(none)"

MODALITIES = {
    (True, True): "light curve and spectrum",
    (True, False): "light curve only",
    (False, True): "spectrum only",
    (False, False): "neither",
}


def data_card(
    settings: BuildSettings, sources: Sequence[Mapping[str, Any]], assembly: Assembly
) -> dict[str, Any]:
    """Return the card as JSON-able values; nothing in it depends on when or where it was made.

    Parameters
    ----------
    sources
        Of each source the result of its reading stage: `files`, how many; `sha256` of the file, or of the
        list of files where there are several; and `funnel`.
    """
    things, split = assembly.things, [SPLITS[code] for code in assembly.split]
    return {
        "name": settings.name,
        "format_version": FORMAT_VERSION,
        "objects": len(things),
        "splits": _by_split(split, split),
        "classes": _by_split([thing.label or UNLABELLED for thing in things], split),
        "published_classes": dict(
            sorted(Counter(thing.published_label or UNLABELLED for thing in things).items())
        ),
        "modalities": _by_split(
            [MODALITIES[thing.has_light_curve, thing.has_spectrum] for thing in things], split
        ),
        "sources": [
            {
                "name": source.name,
                "path": source.path,
                "files": read["files"],
                "sha256": read["sha256"],
                "citation": source.citation,
                "note": source.note,
                "matched_by": _matched_by(source),
                "assumptions": list(_assumptions(source)),
                "funnel": read["funnel"],
                "matching": assembly.matching[source.name],
            }
            for source, read in zip(settings.sources, sources, strict=True)
        ],
        "funnel": assembly.funnel,
        "never_inputs": sorted(BLIND_COLUMNS),
        "settings": settings.model_dump(mode="json"),
    }


def markdown_of(card: Mapping[str, Any], *, card_sha256: str) -> str:
    """Return the card for people."""
    settings = card["settings"]
    lines = [
        f"# Data card: {card['name']}",
        "",
        f"{card['objects']:,} objects in `objects.parquet` (layout {card['format_version']}); "
        f"`data_card.json` (SHA-256 `{card_sha256}`) holds the same in full, the settings included.",
        "",
        "![sky map](sky_map.png)",
        "",
        "## Classes",
        "",
        *_split_table("class", card["classes"]),
        "",
        "Names are those of the taxonomy; the published spelling of every object is kept beside it. Objects",
        "whose sources name two classes have none.",
        "",
        "## Modalities",
        "",
        *_split_table("measured", card["modalities"]),
        "",
        "A modality that was not measured, or did not pass the cuts, is null. Nothing is filled in.",
        "",
        "## From sources to objects",
        "",
        *_table(("step", "count"), card["funnel"].items()),
        "",
        f"Objects within {settings['merge_radius_arcsec']:g} arcsec are merged if their catalogue periods "
        f"agree to {settings['merge_period_tolerance']:g}. All objects linked by steps of at most "
        f"{settings['group_radius_arcsec']:g} arcsec are in one split.",
        "",
        "## Sources",
        "",
        *(line for source in card["sources"] for line in _source_lines(source)),
        "## What holds for all",
        "",
        "- Times are MJD in TAI. Heliocentric or barycentric corrections are neither applied nor undone.",
        "- Magnitudes are turned into nJy with the AB zero point, those of other systems too: constant",
        "  offsets (Johnson V 0.02 mag) remain.",
        "- `period_day` is a catalogue's period. It carries the cataloguer's opinion of the class; it is no",
        "  input unless one asks for it.",
        f"- Never read as inputs: {', '.join(f'`{name}`' for name in card['never_inputs'])}.",
        "- Galactic coordinates are those of the position where a source has none; nothing else is derived.",
        "- A published class is what a survey's pipeline or people said, not the truth.",
        "- A spectrum is the one of the highest signal-to-noise among an object's spectra.",
        "",
    ]
    return "\n".join(lines)


def _by_split(values: Iterable[str], split: Iterable[str]) -> dict[str, dict[str, int]]:
    counts = Counter(zip(values, split, strict=True))
    return {
        value: {name: counts[value, name] for name in SPLITS}
        for value in sorted({value for value, _ in counts})
    }


def _matched_by(source: Source) -> str:
    if source.match == "position":
        return f"position, within {source.radius_arcsec:g} arcsec"
    return {"id": f"id in {source.space}", "none": "nothing: every id is an object"}[source.match]


def _assumptions(source: Source) -> Iterable[str]:
    if isinstance(source, NestedSource | LightCurveFilesSource):
        time = source.time
        scale = f"times are {'assumed to be ' if time.assumed else ''}{time.scale.upper()}"
        yield f"{scale}, converted to TAI" if time.scale != "tai" else scale
        if time.heliocentric:
            yield "times are heliocentric and stay so"
        bands = [source.band] if isinstance(source, NestedSource) else [m.band for m in source.measurements]
        yield f"bands are taken as {', '.join(dict.fromkeys(bands))}"
    if isinstance(source, SpectrumFilesSource):
        yield f"wavelengths are taken to be in {source.wavelengths}" + (
            ", converted to vacuum" if source.wavelengths == "air" else ""
        )
        if source.flux_err is None:
            yield "there are no errors: the noise is estimated from the scatter of the pixels"
    yield f"positions without an epoch are taken at {source.epoch_jyear:g}"


def _source_lines(source: Mapping[str, Any]) -> list[str]:
    of = "SHA-256" if source["files"] == 1 else "SHA-256 of the list of files"
    remarks = [*source["assumptions"], *([source["note"]] if source["note"] else [])]
    return [
        f"### {source['name']}",
        "",
        f"{source['citation']}. {source['files']} file(s) `{source['path']}`, {of} `{source['sha256']}`. "
        f"Matched by {source['matched_by']}.",
        "",
        *(f"- {remark}" for remark in remarks),
        "",
        *_table(("step", "count"), [*source["funnel"].items(), *source["matching"].items()]),
        "",
    ]


def _split_table(what: str, counts: Mapping[str, Mapping[str, int]]) -> list[str]:
    rows = [(name, *by.values(), sum(by.values())) for name, by in counts.items()]
    totals = [sum(by[name] for by in counts.values()) for name in SPLITS]
    return _table((what, *SPLITS, "all"), [*rows, ("all", *totals, sum(totals))])


def _table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> list[str]:
    return [
        f"| {' | '.join(head)} |",
        f"|---|{'---:|' * (len(head) - 1)}",
        *(f"| {row[0]} | {' | '.join(f'{value:,}' for value in row[1:])} |" for row in rows),
    ]
