# SPDX-License-Identifier: BSD-3-Clause
"""Puts catalogues into a store: a load can be broken off at any time, and goes on where it was."""

from __future__ import annotations

import json
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

from broker_plugin.errors import StoreError
from broker_plugin.store.base import CorruptValueError, Store, opened, sealed
from broker_plugin.store.catalogue_files import CatalogueColumns, read_rows
from broker_plugin.store.context import SUMMARY_KEY, ContextRow, by_place, merged_rows
from broker_plugin.store.merging import merge

__all__ = ["load"]

KEYS_AT_ONCE = 1_000
"""Places that are read and written together."""

DIGEST_BLOCK = 1 << 20


def load(store: Store, path: Path, columns: CatalogueColumns) -> Iterator[tuple[int, int]]:
    """Load a file, and yield after each portion how many of its rows are done, and how many were kept.

    What was loaded of the same file in the same way before is left out; rows of the same catalogue and source
    are replaced.

    Raises
    ------
    ConfigurationError
        If the file cannot be read.
    StoreError
        If the store does not answer: start again, and it goes on from here.
    """
    bookmark = f"c:load:{_digest(path, columns)}"
    done, kept = _bookmarked(store.fetch([bookmark])[0])
    yield done, kept
    spectra = False
    for read, rows in read_rows(path, columns, skip=done):
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
        if merge(store, new, held=held, merged=merged_rows, ttl_s=None):
            raise StoreError("others load into the same store", remedy="load one catalogue at a time")


def _add_to_summary(store: Store, catalogue: str, *, spectra: bool) -> None:
    def merged(value: bytes | None, new: bool) -> bytes:
        try:
            found = {} if value is None else dict(json.loads(opened(value)))
        except CorruptValueError:
            found = {}
        found[catalogue] = new or bool(found.get(catalogue))
        return sealed(json.dumps(found, sort_keys=True).encode())

    held = {SUMMARY_KEY: store.fetch([SUMMARY_KEY])[0]}
    merge(store, {SUMMARY_KEY: spectra}, held=held, merged=merged, ttl_s=None)


def _replace(store: Store, key: str, note: list[int]) -> None:
    def replaced(value: bytes | None, new: list[int]) -> bytes:
        return sealed(json.dumps(new).encode())

    merge(store, {key: note}, held={key: store.fetch([key])[0]}, merged=replaced, ttl_s=None)


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
