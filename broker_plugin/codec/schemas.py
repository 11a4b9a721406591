# SPDX-License-Identifier: BSD-3-Clause
"""Writer schemas of framed messages, wherever they can be had.

The places are asked in this order: memory, the schema registry, where it does not answer a cache of its
schemas on disk, directories of schema files, and an installed `lsst-alert-packet`. A directory, or the
package, knows an id by the survey's own convention: Rubin's registry numbers its schemas 100 times the major
version plus the minor, so `lsst.v9_0` is 900. In this way a stream goes on while its registry is down, for
every schema that was seen before or lies on disk. Where it answers, it has the word once in each process: one
that was set up anew may have given an id to another schema. Where it was silent, it is asked again a minute
later.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import structlog

from broker_plugin.codec.misses import RecentMisses
from broker_plugin.codec.writer_schema import SchemaError, WriterSchema, full_name, parse_json, vet
from broker_plugin.errors import ConfigurationError, RejectedAlert, RejectReason, TransientError
from broker_plugin.folders import cache_folder
from broker_plugin.whole_file import write_whole

__all__ = ["Registry", "SchemaDirectory", "SchemaStore", "installed_lsst_schemas"]

log = structlog.get_logger(__name__)

LSST_ALERT = re.compile(r"lsst\.v(?P<major>\d+)_(?P<minor>\d+)\.alert")
"""Full names of Rubin's alert schemas."""

LSST_PACKAGE = "lsst.alert.packet"
"""Module of Rubin's own schemas (GPL-3.0): never a dependency, used where it is installed."""

SUFFIXES = (".avsc", ".json")

FILE_MAX_BYTES = 1_000_000
"""Longer JSON files in a directory of schemas are sample data, not schemas."""


class Registry(Protocol):
    """Where schemas are asked for by id."""

    url: str
    """Its address, without credentials."""

    def schema_text(self, schema_id: int) -> str | None:
        """Return the schema's text, or None if the registry knows no such id.

        Raises
        ------
        TransientError
            If the registry does not answer.
        """
        ...


class SchemaDirectory:
    """Schemas in files, found by what is in them, however they are laid out.

    A file `<id>.avsc` or `<id>.json` serves that id. Every record `lsst.v<M>_<m>.alert` serves 100 M + m,
    be it complete or spread over files that name each other's types.

    Parameters
    ----------
    path
        Searched recursively, once, at the first question.

    Raises
    ------
    ConfigurationError
        If there is no such directory.
    """

    def __init__(self, path: Path) -> None:
        if not path.is_dir():
            raise ConfigurationError(f"no directory of schemas at {path}", remedy="correct --schemas")
        self._path = path
        self._by_id: dict[int, Any] | None = None
        self._library: dict[str, Any] = {}

    def writer_schema(self, schema_id: int) -> WriterSchema | None:
        """Return the schema of an id, or None if the directory does not have it, or not in usable form."""
        if self._by_id is None:
            self._by_id = self._index()
        if schema_id not in self._by_id:
            return None
        try:
            return vet(self._by_id[schema_id], self._library)
        except SchemaError as error:
            log.warning("schema_unusable", directory=str(self._path), schema_id=schema_id, why=str(error))
            return None

    def _index(self) -> dict[int, Any]:
        by_id: dict[int, Any] = {}
        by_file: dict[int, Any] = {}
        for path, schema in self._files():
            if path.stem.isdecimal():
                by_file.setdefault(int(path.stem), schema)
            for name, definition in _definitions(schema):
                self._library.setdefault(name, definition)
                found = LSST_ALERT.fullmatch(name)
                if found:
                    by_id.setdefault(100 * int(found["major"]) + int(found["minor"]), definition)
        return by_id | by_file

    def _files(self) -> Iterator[tuple[Path, Any]]:
        for path in sorted(self._path.rglob("*")):
            if path.suffix not in SUFFIXES or not path.is_file() or path.stat().st_size > FILE_MAX_BYTES:
                continue
            try:
                yield path, parse_json(path.read_bytes())
            except (OSError, SchemaError) as error:
                log.debug("schema_file_skipped", path=str(path), why=str(error))


class SchemaStore:
    """Finds the writer schema of a schema id.

    Parameters
    ----------
    registry
        The input's schema registry, if it has one.
    directories
        Directories of schema files.
    cache_dir
        Where schemas from the registry are kept for when it is down; the user's cache folder by default.
    installed
        Whether an installed `lsst-alert-packet` may be asked.
    """

    def __init__(
        self,
        registry: Registry | None = None,
        directories: Sequence[Path] = (),
        cache_dir: Path | None = None,
        *,
        installed: bool = True,
    ) -> None:
        self._registry = registry
        self._directories = [SchemaDirectory(path) for path in directories]
        package = installed_lsst_schemas() if installed else None
        if package is not None:
            self._directories.append(SchemaDirectory(package))
        self._memory: dict[int, WriterSchema] = {}
        self._misses = RecentMisses()
        self._silences = RecentMisses()
        self._unconfirmed: set[int] = set()
        self._cache = (
            None if registry is None else _folder_of(registry.url, cache_dir or cache_folder("schemas"))
        )

    def writer_schema(self, schema_id: int) -> WriterSchema:
        """Return the writer schema of a schema id.

        Raises
        ------
        RejectedAlert
            If nobody knows the id (`UNKNOWN_SCHEMA`). Nobody is asked again for a minute.
        TransientError
            If nobody at hand knows it and the registry does not answer.
        """
        if schema_id not in self._memory or self._is_to_be_confirmed(schema_id):
            if schema_id in self._misses:
                raise RejectedAlert(RejectReason.UNKNOWN_SCHEMA, self._advice(schema_id))
            self._memory[schema_id] = self._find(schema_id)
        return self._memory[schema_id]

    def _is_to_be_confirmed(self, schema_id: int) -> bool:
        return schema_id in self._unconfirmed and schema_id not in self._silences

    def _find(self, schema_id: int) -> WriterSchema:
        silence: TransientError | None = None
        try:
            found = self._fetched(schema_id)
        except TransientError as error:
            found, silence = self._memory.get(schema_id) or self._cached(schema_id), error
        found = found or self._offline(schema_id)
        if found is not None:
            self._unconfirmed.discard(schema_id)
            if silence is not None:
                self._unconfirmed.add(schema_id)
                self._silences.add(schema_id)
                log.warning("schema_registry_bypassed", schema_id=schema_id, why=str(silence))
            return found
        if silence is not None:
            raise silence
        self._misses.add(schema_id)
        raise RejectedAlert(RejectReason.UNKNOWN_SCHEMA, self._advice(schema_id))

    def _cached(self, schema_id: int) -> WriterSchema | None:
        if self._cache is None:
            return None
        path = self._cache / f"{schema_id}.json"
        try:
            return vet(parse_json(path.read_bytes()))
        except FileNotFoundError:
            return None
        except (OSError, SchemaError) as error:
            log.warning("schema_cache_ignored", path=str(path), why=str(error))
            return None

    def _fetched(self, schema_id: int) -> WriterSchema | None:
        text = None if self._registry is None else self._registry.schema_text(schema_id)
        if text is None:
            return None
        try:
            schema = vet(parse_json(text))
        except SchemaError as error:
            log.warning("schema_unusable", registry=True, schema_id=schema_id, why=str(error))
            return None
        if self._cache is not None:
            _keep(self._cache / f"{schema_id}.json", text)
        return schema

    def _offline(self, schema_id: int) -> WriterSchema | None:
        for directory in self._directories:
            found = directory.writer_schema(schema_id)
            if found is not None:
                return found
        return None

    def _advice(self, schema_id: int) -> str:
        if self._registry is not None:
            return (
                f"schema id {schema_id} is neither in the registry nor in a directory; "
                "--input-registry must be the one that the input is written with"
            )
        return (
            f"nobody knows schema id {schema_id}; give --input-registry URL or --schemas DIR, "
            "or install lsst-alert-packet for Rubin's"
        )


def installed_lsst_schemas() -> Path | None:
    """Return the directory of an installed `lsst-alert-packet`, found without importing it."""
    try:
        found = importlib.util.find_spec(LSST_PACKAGE)
    except ModuleNotFoundError:
        return None
    if found is None or not found.submodule_search_locations:
        return None
    path = Path(found.submodule_search_locations[0]) / "schema"
    return path if path.is_dir() else None


def _definitions(schema: Any) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the named types that a file defines at its top, with their full names."""
    for part in schema if isinstance(schema, list) else [schema]:
        if isinstance(part, Mapping) and isinstance(part.get("name"), str) and "type" in part:
            namespace = part.get("namespace")
            yield full_name(part["name"], namespace if isinstance(namespace, str) else ""), part


def _folder_of(url: str, cache: Path) -> Path:
    """Return a registry's own folder, since two registries number their schemas independently."""
    return cache / hashlib.sha256(url.encode()).hexdigest()[:16]


def _keep(path: Path, text: str) -> None:
    """Write a schema into the cache; a cache that cannot be written is no error."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, json.dumps(json.loads(text)).encode())
    except OSError as error:
        log.warning("schema_cache_unwritable", path=str(path), why=str(error))
