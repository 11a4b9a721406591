# SPDX-License-Identifier: BSD-3-Clause
"""Puts catalogues into a store: a load can be broken off at any time, and goes on where it was."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from hashlib import sha256
from pathlib import Path

from broker_plugin.errors import StoreError
from broker_plugin.store.base import CorruptValueError, Store, opened, sealed
from broker_plugin.store.catalogue_files import CatalogueColumns, read_rows
from broker_plugin.store.context import SUMMARY_KEY, ContextRow, by_place, merged_rows
from broker_plugin.store.merging import Update, merge

__all__ = ["load"]

KEYS_AT_ONCE = 1_000
"""Places that are read and written together."""

DIGEST_BLOCK = 1 << 20


def load(
    store: Store,
    path: Path,
    columns: CatalogueColumns,
    *,
    again: bool = False,
    unread: Counter[str] | None = None,
) -> Iterator[tuple[int, int]]:
    """Load a file, and yield after each portion how many of its rows are done, and how many were kept.

    What was loaded of the same file in the same way before is left out; rows of the same catalogue and source
    are replaced.

    Parameters
    ----------
    again
        Begin anew with a file that was loaded, whose rows another one may have replaced since.
    unread
        As for `read_rows`.

    Raises
    ------
    ConfigurationError
        If the file cannot be read.
    StoreError
        If the store does not answer: start again, and it goes on from here.
    """
    bookmark = f"c:load:{_digest(path, columns)}"
    if again:
        _replace(store, bookmark, [0, 0])
    done, kept = _bookmarked(store.fetch([bookmark])[0])
    yield done, kept
    spectra = False
    for read, rows in read_rows(path, columns, skip=done, unread=unread):
        _write(store, by_place(rows))
        done = read
        kept += len(rows)
        _replace(store, bookmark, [done, kept])
        spectra = spectra or any(row.spectrum is not None for row in rows)
        _add_to_summary(store, columns.catalogue, spectra=spectra)
        yield done, kept


def _write(store: Store, placed: dict[str, list[ContextRow]]) -> None:
    keys = list(placed)
    for begin in range(0, len(keys), KEYS_AT_ONCE):
        new = {key: placed[key] for key in keys[begin : begin + KEYS_AT_ONCE]}
        held = dict(zip(new, store.fetch(list(new)), strict=True))
        updates = {key: Update(partial(merged_rows, new=rows), None) for key, rows in new.items()}
        _merge(store, updates, held)


def _merge(store: Store, updates: dict[str, Update], held: dict[str, bytes | None]) -> None:
    if merge(store, updates, held=held):
        raise StoreError("others load into the same store", remedy="load one catalogue at a time")


def _add_to_summary(store: Store, catalogue: str, *, spectra: bool) -> None:
    def merged(value: bytes | None) -> bytes:
        try:
            found = {} if value is None else dict(json.loads(opened(value)))
        except CorruptValueError:
            found = {}
        found[catalogue] = spectra or bool(found.get(catalogue))
        return sealed(json.dumps(found, sort_keys=True).encode())

    _write_one(store, SUMMARY_KEY, merged)


def _replace(store: Store, key: str, note: list[int]) -> None:
    _write_one(store, key, lambda value: sealed(json.dumps(note).encode()))


def _write_one(store: Store, key: str, merged: Callable[[bytes | None], bytes]) -> None:
    _merge(store, {key: Update(merged, None)}, {key: store.fetch([key])[0]})


def _bookmarked(value: bytes | None) -> tuple[int, int]:
    try:
        done, kept = (0, 0) if value is None else json.loads(opened(value))
    except CorruptValueError:
        return 0, 0
    return int(done), int(kept)


def _digest(path: Path, columns: CatalogueColumns) -> str:
    digest = sha256(repr(columns).encode())
    with path.open("rb") as file:
        while block := file.read(DIGEST_BLOCK):
            digest.update(block)
    return digest.hexdigest()[:32]
