# SPDX-License-Identifier: BSD-3-Clause
"""A directory of alert packets to corpora: what each survey sends, and deep histories cut to one length."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

from broker_plugin.benchmark.corpus import Corpora
from broker_plugin.benchmark.messages import ContainerForm, FramedForm, read_data, thinned
from broker_plugin.benchmark.packets import (
    ArchivedPacket,
    Images,
    corpus_of,
    images_of,
    lend_images,
    packet_of,
    spaced,
)
from broker_plugin.codec.schemas import LSST_ALERT
from broker_plugin.errors import ConfigurationError
from broker_plugin.surveys.lsst import LsstAdapter
from broker_plugin.surveys.ztf import ZtfAdapter

__all__ = ["LENGTHS", "packet_files", "read_corpora"]

LENGTHS = (100, 600)
"""Rows of history that are measured by themselves: a year of Rubin's main survey, and its deep fields."""

DEEP_ROWS = max(LENGTHS)
"""Rubin packets with at least so many rows are cut to every length, so that all lengths are of one kind."""

ZTF_ALERT = "ztf.alert"
"""Name of the schema of ZTF's packets."""


def packet_files(folder: Path) -> list[Path]:
    """Return the files of a directory that `read_corpora` may read."""
    return [*_ztf_files(folder), *_lsst_files(folder)]


def read_corpora(
    folder: Path, *, messages: int, lengths: Mapping[int, int], packets_max: int | None = None
) -> Corpora:
    """Return what can be measured on the packets of a directory.

    Parameters
    ----------
    folder
        Has the sub-folders `ztf` and `lsst` with Avro container files; one may be missing.
    messages
        Messages of what a survey sends: of more packets evenly spaced ones, of fewer with copies.
    lengths
        Messages with histories of one length, by the rows that the histories of deep packets are cut to.
    packets_max
        Only so many packets of a file, and single-packet files, are read; by default all.

    Raises
    ------
    ConfigurationError
        If there is neither survey, or a file cannot be read as its folder says.
    """
    corpora = Corpora()
    _read_ztf(folder, corpora, messages, packets_max)
    _read_lsst(folder, corpora, messages, lengths, packets_max)
    if not corpora.by_name:
        raise ConfigurationError(
            f"no alert packets in {folder}/ztf or {folder}/lsst", remedy="give their directory as --alerts"
        )
    return corpora


def _ztf_files(folder: Path) -> list[Path]:
    return sorted((folder / "ztf").rglob("*.avro"))


def _lsst_files(folder: Path) -> list[Path]:
    return sorted((folder / "lsst").glob("*.avro"))


def _read_ztf(folder: Path, corpora: Corpora, messages: int, packets_max: int | None) -> None:
    survey = ZtfAdapter()
    as_sent: dict[int, ArchivedPacket] = {}
    archived: dict[int, ArchivedPacket] = {}
    images: list[Images] = []
    for path in _ztf_files(folder):
        if packets_max is not None and len(as_sent) >= packets_max and path.parent != folder / "ztf":
            continue
        schema, data = read_data(path)
        form, version = ContainerForm(schema), str(schema.get("version", "?"))
        found: dict[int, ArchivedPacket] = {}
        for datum, packet in islice(data, packets_max):
            if not survey.recognises(packet) or "candid" not in packet:
                raise ConfigurationError(
                    f"{path} holds other packets than ZTF's", remedy="take it out of ztf/"
                )
            found[packet["candid"]] = packet_of(datum, packet, form, survey.histories, version)
            images += [own] if (own := images_of(packet)) else []
        if len(found) == 1:
            as_sent |= {candid: replace(each, sent=path.read_bytes()) for candid, each in found.items()}
        else:
            archived |= found
    new = [packet for candid, packet in archived.items() if candid not in as_sent]
    chosen = spaced([*as_sent.values(), *new], messages)
    if not chosen:
        corpora.missing["ztf"] = f"no Avro container files in {folder}/ztf"
        return
    about = (
        f"{len(as_sent)} packets as they were sent and {len(new)} of archives, each of these as a container "
        f"file of its own with the images of a packet that has some; of all {len(chosen)}"
    )
    corpora.by_name["ztf"] = corpus_of(
        "ztf", lend_images(chosen, images), messages, f"{about} ({_versions(chosen)})"
    )


def _read_lsst(
    folder: Path, corpora: Corpora, messages: int, lengths: Mapping[int, int], packets_max: int | None
) -> None:
    histories = LsstAdapter().histories
    whole: list[ArchivedPacket] = []
    cuts: dict[int, list[ArchivedPacket]] = {rows: [] for rows in lengths}
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
            whole.append(packet_of(datum, packet, form, histories, _name_of(schema)))
            if whole[-1].rows >= DEEP_ROWS:
                for length, cut in cuts.items():
                    thin = thinned(packet, histories, length)
                    cut.append(packet_of(form.encoded(thin), thin, form, histories, ""))
    if whole:
        made = spaced(whole, messages)
        about = f"{len(made)} of {len(whole)} packets, framed with their schema's id; images as in the files"
        corpora.by_name["lsst"] = corpus_of("lsst", made, messages, f"{about} ({_versions(made)})")
    else:
        corpora.missing["lsst"] = f"no Avro container files of Rubin's alerts in {folder}/lsst"
    for length, cut in cuts.items():
        name = f"lsst_{length}"
        if not cut:
            corpora.missing[name] = (
                f"no Rubin packet with {DEEP_ROWS} rows of history or more in {folder}/lsst"
            )
            continue
        made = spaced(cut, lengths[length])
        about = f"{len(made)} packets of deep fields, their histories thinned evenly in time to {length} rows"
        corpora.by_name[name] = corpus_of(name, made, lengths[length], about)


def _versions(packets: Sequence[ArchivedPacket]) -> str:
    schemas = Counter(packet.schema for packet in packets)
    return ", ".join(f"{schema}: {n}" for schema, n in sorted(schemas.items()))


def _name_of(schema: Mapping[str, Any]) -> str:
    name, namespace = str(schema.get("name", "")), str(schema.get("namespace", ""))
    return name if "." in name or not namespace else f"{namespace}.{name}"
