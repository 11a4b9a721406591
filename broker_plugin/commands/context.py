# SPDX-License-Identifier: BSD-3-Clause
"""`broker-plugin context`: catalogue rows and spectra for the alerts to come."""

from __future__ import annotations

from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn

from broker_plugin.engine.explanation import counted
from broker_plugin.errors import ConfigurationError
from broker_plugin.pipeline.assembly import parse_access
from broker_plugin.progress import LoggedProgress
from broker_plugin.records import METADATA_COLUMNS, Access
from broker_plugin.service.exit_status import EXIT_FAILURE
from broker_plugin.service.settings_sources import load_settings
from broker_plugin.store.address import NO_STORE, StoreAddress
from broker_plugin.store.base import Store
from broker_plugin.store.catalogue_files import CatalogueColumns, count_rows
from broker_plugin.store.catalogue_values import RANGES
from broker_plugin.store.loading import load as load_file

__all__ = ["context"]

LOAD_TIMEOUT_S = 60.0
"""Nobody waits for a load as for a stream."""

context = App(
    name="context",
    help="""Keep what catalogues and spectra say of objects, for the alerts to come.

    broker-plugin context load gaia.parquet --catalogue gaia-dr3 --source source_id --ra ra --dec dec \\
        --column reference_mag=phot_g_mean_mag --access public --store sqlite:/var/lib/astrom3/store.sqlite
""",
)


@context.command
def load(
    *files: Path,
    catalogue: str,
    source: str,
    object_id: str = "",
    ra: str = "ra_deg",
    dec: str = "dec_deg",
    column: Annotated[list[str] | None, Parameter(negative="")] = None,
    access: str = "private",
    store: str | None = None,
    again: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Load catalogue rows and spectra from Parquet, CSV or FITS tables into the store.

    `run` and `replay` with the same --store join them to alerts: by the object's name, else the nearest row
    of a catalogue within 1.5 arcsec (--context-radius-arcsec of run). The packet has the last word; what
    moves gets none. Columns that are named as ours are taken as they are. A spectrum is in the columns
    wave_aa, spectrum_flux and spectrum_inverse_variance, as `trainer build` writes them, also from FITS.

    A load can be broken off and started again: it goes on where it was, and a file that was loaded is left
    out. A later load of the same catalogue replaces rows of the same source. The status is 1 if nothing of a
    file could be kept.

    Parameters
    ----------
    files
        The catalogue, in .parquet, .csv (VizieR's text too) or .fits (which takes the extra `train`).
    catalogue
        Its name, for the verdicts to say where a value came from.
    source
        Column of a row's own identifier.
    object_id
        Column of the object as alerts name it (ztf:ZTF18abcdefg, lsst:123), or without the survey; without
        this column, positions decide.
    ra, dec
        Columns of the position, ICRS, degrees, at the epoch of the survey.
    column
        OURS=THEIRS, may be repeated: which column of the file is which of ours. Numbers that a column
        cannot hold (a magnitude of 99.99 or -999, a period of 0) count as empty.
    access
        Who may see the rows: public, partnership, caltech or private. A verdict uses only what its readers
        may see.
    store
        As for run; by default ASTROM3_STORE.
    again
        Load anew what was loaded before, to go back to it after another file has replaced its rows.
    """
    if not files:
        raise ConfigurationError("nothing to load", remedy="give files of a catalogue")
    (granted,) = _one(access)
    columns = CatalogueColumns(
        catalogue=catalogue,
        source=source,
        object_id=object_id,
        ra=ra,
        dec=dec,
        values=dict(_mapping(text) for text in column or ()),
        access=granted,
    )
    address = StoreAddress(text=_store(store), timeout_s=LOAD_TIMEOUT_S)
    console = Console(stderr=True)
    with closing(address.open()) as opened, _progress(console) as progress:
        kept = [_load_one(opened, path, columns, progress, again=again) for path in files]
    return EXIT_FAILURE if 0 in kept else 0


def _load_one(
    store: Store, path: Path, columns: CatalogueColumns, progress: LoggedProgress, *, again: bool
) -> int | None:
    """Load a file and return how many of its rows were kept; None if it has none."""
    if not path.is_file():
        raise ConfigurationError(f"{path} is no file", remedy="correct its name")
    task = progress.add_task(path.name, total=count_rows(path), kept=0)
    portions = done = kept = 0
    unread: Counter[str] = Counter()
    steps = load_file(store, path, columns, again=again, unread=unread)
    for portions, (done, kept) in enumerate(steps):  # noqa: B007
        progress.update(task, completed=done, kept=kept)
    progress.update(task, total=done)
    for name, cells in sorted(unread.items()):
        lacking = _lacking(name, columns)
        _say(progress, f"{path.name}: {lacking} in {counted(cells, 'cell')} of {name}, taken as empty")
    if portions == 0 and kept:
        _say(progress, f"{path.name} was loaded before; --again replaces its rows anew")
    elif kept < done:
        _say(
            progress,
            f"left out of {path.name}: {counted(done - kept, 'row')}; each needs an object or a position, "
            f"and a spectrum or a number as one of {', '.join(METADATA_COLUMNS)}; --column OURS=THEIRS names "
            "columns for these",
        )
    return kept if done else None


def _lacking(theirs: str, columns: CatalogueColumns) -> str:
    """Say what cells of a column do not hold."""
    if theirs == columns.object_id:
        return "no object of a survey, such as ztf:ZTF18abcdefg,"
    ours = {source: name for name, source in columns.values.items()}.get(theirs, theirs)
    return f"no number from {RANGES[ours]} for {ours}" if ours in RANGES else "no number"


def _say(progress: LoggedProgress, line: str) -> None:
    progress.console.print(line, markup=False, highlight=False, soft_wrap=True)


def _store(given: str | None) -> str:
    store = given or load_settings({}).store
    if store in (NO_STORE, "memory"):
        raise ConfigurationError(
            f"a store of {store} forgets what is loaded", remedy="give --store sqlite:PATH or redis://..."
        )
    return store


def _one(access: str) -> tuple[Access]:
    classes = parse_access(access)
    if len(classes) != 1:
        raise ConfigurationError("rows have one access class", remedy="load each class by itself")
    return (next(iter(classes)),)


def _mapping(text: str) -> tuple[str, str]:
    ours, equals, theirs = text.partition("=")
    if not (ours and equals and theirs):
        raise ConfigurationError(f"--column {text} is not OURS=THEIRS", remedy="such as reference_mag=gmag")
    return ours, theirs


def _progress(console: Console) -> LoggedProgress:
    return LoggedProgress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[kept]:,} kept"),
        TimeRemainingColumn(),
        console=console,
    )
