# SPDX-License-Identifier: BSD-3-Clause
"""A directory of alert packets to corpora: what each survey sends, and deep histories cut to one length."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, islice, zip_longest
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from broker_plugin.benchmark.corpus import Corpora, Corpus
from broker_plugin.benchmark.messages import (
    ContainerForm,
    FramedForm,
    history_rows,
    named_anew,
    read_data,
    thinned,
)
from broker_plugin.codec.schemas import LSST_ALERT
from broker_plugin.errors import ConfigurationError
from broker_plugin.surveys.lsst import LsstAdapter
from broker_plugin.surveys.ztf import ZtfAdapter

__all__ = ["LENGTHS", "packet_files", "read_corpora"]

T = TypeVar("T")

LENGTHS = (100, 600)
"""Rows of history that are measured by themselves: a year of Rubin's main survey, and its deep fields."""

DEEP_ROWS = max(LENGTHS)
"""Rubin packets with at least so many rows are cut to every length, so that all lengths are of one kind."""

ZTF_ALERT = "ztf.alert"
"""Name of the schema of ZTF's packets."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Made:
    """One message, its rows of history and the name of its schema."""

    value: bytes
    rows: int
    schema: str


@dataclass(slots=True)
class _Cuts:
    """Messages with histories of one length, by the packet that they are copies of."""

    copies: int
    made: list[list[_Made]] = field(default_factory=list)


def packet_files(folder: Path) -> list[Path]:
    """Return the files of a directory that `read_corpora` may read."""
    return [*_ztf_files(folder), *_lsst_files(folder)]


def read_corpora(
    folder: Path, *, messages_max: int, lengths: Mapping[int, int], packets_max: int | None = None
) -> Corpora:
    """Return what can be measured on the packets of a directory.

    Parameters
    ----------
    folder
        Has the sub-folders `ztf` and `lsst` with Avro container files; one may be missing.
    messages_max
        Most messages of a corpus; of more, evenly spaced ones are taken.
    lengths
        How often each deep packet is to be there, by the rows that its histories are cut to.
    packets_max
        Only so many packets of a file, and single-packet files, are read; by default all.

    Raises
    ------
    ConfigurationError
        If there is neither survey, or a file cannot be read as its folder says.
    """
    corpora = Corpora()
    _read_ztf(folder, corpora, messages_max, packets_max)
    _read_lsst(folder, corpora, messages_max, lengths, packets_max)
    if not corpora.by_name:
        raise ConfigurationError(
            f"no alert packets in {folder}/ztf or {folder}/lsst", remedy="give their directory as --alerts"
        )
    return corpora


def _ztf_files(folder: Path) -> list[Path]:
    return sorted((folder / "ztf").rglob("*.avro"))


def _lsst_files(folder: Path) -> list[Path]:
    return sorted((folder / "lsst").glob("*.avro"))


def _read_ztf(folder: Path, corpora: Corpora, messages_max: int, packets_max: int | None) -> None:
    survey = ZtfAdapter()
    as_sent: dict[int, _Made] = {}
    written: dict[int, _Made] = {}
    for path in _ztf_files(folder):
        if packets_max is not None and len(as_sent) >= packets_max and path.parent != folder / "ztf":
            continue
        schema, data = read_data(path)
        form, version = ContainerForm(schema), str(schema.get("version", "?"))
        made: dict[int, _Made] = {}
        for datum, packet in islice(data, packets_max):
            if not survey.recognises(packet) or "candid" not in packet:
                raise ConfigurationError(
                    f"{path} holds other packets than ZTF's", remedy="take it out of ztf/"
                )
            rows = history_rows(packet, survey.histories)
            made[packet["candid"]] = _Made(value=form.message(datum), rows=rows, schema=version)
        if len(made) == 1:
            as_sent |= {candid: replace(each, value=path.read_bytes()) for candid, each in made.items()}
        else:
            written |= made
    new = [made for candid, made in written.items() if candid not in as_sent]
    chosen = _spaced([*as_sent.values(), *new], messages_max)
    if not chosen:
        corpora.missing["ztf"] = f"no Avro container files in {folder}/ztf"
        return
    about = (
        f"{len(as_sent)} packets as they were sent, cutouts included, and {len(new)} of archives, each as a "
        f"container file of its own, without cutouts; of these {len(chosen)}"
    )
    corpora.by_name["ztf"] = _corpus("ztf", chosen, about)


def _read_lsst(
    folder: Path, corpora: Corpora, messages_max: int, lengths: Mapping[int, int], packets_max: int | None
) -> None:
    histories = LsstAdapter().histories
    whole: list[_Made] = []
    cuts = {rows: _Cuts(copies) for rows, copies in lengths.items()}
    for path in _lsst_files(folder):
        schema, data = read_data(path)
        found = LSST_ALERT.fullmatch(_name_of(schema))
        if found is None:
            if _name_of(schema) == ZTF_ALERT:
                raise ConfigurationError(f"{path} holds ZTF's packets", remedy="take it out of lsst/")
            continue  # Rubin sends more than alerts
        number = 100 * int(found["major"]) + int(found["minor"])
        corpora.schemas[number] = schema
        form = FramedForm(schema, number)
        for datum, packet in islice(data, packets_max):
            rows = history_rows(packet, histories)
            whole.append(_Made(value=form.message(datum), rows=rows, schema=_name_of(schema)))
            if rows >= DEEP_ROWS:
                for length, cut in cuts.items():
                    cut.made.append(_copies(packet, histories, length, form, cut.copies))
    if whole:
        made = _spaced(whole, messages_max)
        about = f"{len(made)} of {len(whole)} packets, framed with their schema's id; cutouts as in the files"
        corpora.by_name["lsst"] = _corpus("lsst", made, about)
    else:
        corpora.missing["lsst"] = f"no Avro container files of Rubin's alerts in {folder}/lsst"
    for length, cut in cuts.items():
        name = f"lsst_{length}"
        if not cut.made:
            corpora.missing[name] = (
                f"no Rubin packet with {DEEP_ROWS} rows of history or more in {folder}/lsst"
            )
            continue
        made = [each for each in chain(*zip_longest(*cut.made)) if each is not None][:messages_max]
        about = (
            f"{len(cut.made)} packets of deep fields, the rows of their histories thinned evenly in time to "
            f"{length}; copies under ids of their own make up {len(made)} messages"
        )
        corpora.by_name[name] = _corpus(name, made, about)


def _copies(
    packet: Mapping[str, Any], histories: Sequence[str], rows: int, form: FramedForm, copies: int
) -> list[_Made]:
    cut = thinned(packet, histories, rows)
    n_rows = history_rows(cut, histories)
    return [
        _Made(value=form.written(named_anew(cut, copy)), rows=n_rows, schema="") for copy in range(copies)
    ]


def _corpus(name: str, made: Sequence[_Made], about: str) -> Corpus:
    schemas = Counter(each.schema for each in made if each.schema)
    versions = ", ".join(f"{schema}: {n}" for schema, n in sorted(schemas.items()))
    return Corpus(
        name=name,
        values=tuple(each.value for each in made),
        rows=np.array([each.rows for each in made]),
        about=f"{about} ({versions})" if versions else about,
    )


def _name_of(schema: Mapping[str, Any]) -> str:
    name, namespace = str(schema.get("name", "")), str(schema.get("namespace", ""))
    return name if "." in name or not namespace else f"{namespace}.{name}"


def _spaced(items: Sequence[T], most: int) -> list[T]:
    """Return no more than so many items, evenly spaced."""
    places: Iterable[int] = np.linspace(0, len(items) - 1, most).astype(int).tolist()
    return list(items) if len(items) <= most else [items[place] for place in places]
