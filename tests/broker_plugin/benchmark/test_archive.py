# SPDX-License-Identifier: BSD-3-Clause
"""Corpora of real packets: what the surveys sent, and what is missing is said."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from broker_plugin.benchmark.archive import read_corpora
from broker_plugin.benchmark.corpus import read_values, schema_folder, store
from broker_plugin.benchmark.packets import CUTOUTS
from broker_plugin.codec.packets import decode_message, read_container_file
from broker_plugin.codec.schemas import SchemaStore
from broker_plugin.errors import ConfigurationError

FEW = 8

GZIPPED = b"\x1f\x8b"


@pytest.fixture(scope="module")
def ztf_dir(data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("alerts")
    (folder / "ztf/native").mkdir(parents=True)
    for path in sorted((data_dir / "alerts/ztf/native").glob("*.avro"))[:FEW]:
        shutil.copy(path, folder / "ztf/native")
    return folder


def test_native_packets_are_sent_as_they_are(ztf_dir: Path) -> None:
    corpora = read_corpora(ztf_dir, messages=FEW, lengths={100: 1})
    files = {path.read_bytes() for path in (ztf_dir / "ztf/native").iterdir()}
    assert set(corpora.by_name["ztf"].values) == files
    assert set(corpora.by_name) == {"ztf"}
    assert set(corpora.missing) == {"lsst", "lsst_100"}
    assert "lsst" in corpora.missing["lsst_100"]


def test_a_directory_without_alerts_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="--alerts"):
        read_corpora(tmp_path, messages=1, lengths={})


def test_packets_of_another_survey_are_refused_by_their_file(data_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "ztf").mkdir()
    (tmp_path / "ztf/rubin.avro").symlink_to(data_dir / "alerts/lsst/lsst_v10_0_nocutouts.avro")
    with pytest.raises(ConfigurationError, match=r"ztf/rubin\.avro holds other packets"):
        read_corpora(tmp_path, messages=1, lengths={}, packets_max=5)


def test_archived_ztf_packets_become_messages_of_one_packet_with_images(
    data_dir: Path, tmp_path: Path
) -> None:
    (tmp_path / "ztf").symlink_to(data_dir / "alerts/ztf")
    corpus = read_corpora(tmp_path, messages=30, lengths={}, packets_max=60).by_name["ztf"]
    assert len(corpus) == 30
    native = {path.read_bytes() for path in (tmp_path / "ztf/native").iterdir()}
    assert 0 < len(native & set(corpus.values)) < 30
    for value, rows in zip(corpus.values, corpus.rows.tolist(), strict=True):
        packet = packet_in(value)
        assert rows == len(packet.get("prv_candidates") or ()) + len(packet.get("fp_hists") or ())
        if value not in native:  # what was sent stays, and two came without
            for name in CUTOUTS:
                assert packet[name]["stampData"].startswith(GZIPPED)
    assert corpus.with_images == sum(packet_in(value)[CUTOUTS[0]] is not None for value in corpus.values)


def test_what_is_too_few_is_made_up_by_copies_that_are_other_alerts(ztf_dir: Path) -> None:
    corpus = read_corpora(ztf_dir, messages=3 * FEW + 1, lengths={}).by_name["ztf"]
    packets = [packet_in(value) for value in corpus.values]
    assert len(packets) == len({packet["candid"] for packet in packets}) == 3 * FEW + 1
    assert len({packet["objectId"] for packet in packets}) >= 3 * len(
        {packet["objectId"].partition(".")[0] for packet in packets}
    )
    assert "copies" in corpus.about


def test_any_part_of_a_corpus_is_like_the_whole(data_dir: Path) -> None:
    """The baseline takes the first messages, and so do small batches."""
    corpus = read_corpora(data_dir / "alerts", messages=512, lengths={}).by_name["lsst"]
    assert corpus.rows[:128].mean() == pytest.approx(corpus.rows.mean(), rel=0.35)  # the deep ones come first


def packet_in(value: bytes) -> dict[str, Any]:
    (packet,) = decode_message(value, schema_of=SchemaStore().writer_schema).packets
    return dict(packet)


def test_deep_histories_are_cut_and_framed_with_their_own_schema(data_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "lsst").mkdir()
    (tmp_path / "lsst/v10.avro").symlink_to(data_dir / "alerts/lsst/lsst_v10_0_nocutouts.avro")
    corpora = read_corpora(tmp_path, messages=50, lengths={3: 7, 100: 2}, packets_max=50)
    packets = {each["diaSourceId"]: each for each in read_container_file(tmp_path / "lsst/v10.avro")}
    assert "ztf" in corpora.missing
    assert corpora.by_name["lsst_3"].rows.tolist() == [3] * 7
    assert corpora.by_name["lsst_100"].rows.tolist() == [100] * 2
    folder = tmp_path / "corpora"
    store(corpora, folder)
    schemas = SchemaStore(directories=[schema_folder(folder)], installed=False)
    for name in ("lsst", "lsst_3", "lsst_100"):
        values = read_values(folder, name)
        assert values == list(corpora.by_name[name].values)
        decoded = [decode_message(value, schema_of=schemas.writer_schema).packets[0] for value in values]
        assert len({packet["diaSourceId"] for packet in decoded}) == len(values)
        for packet, rows in zip(decoded, corpora.by_name[name].rows.tolist(), strict=True):
            assert rows == sum(len(packet[each] or ()) for each in ("prvDiaSources", "prvDiaForcedSources"))
            if name == "lsst":
                np.testing.assert_equal(packet, packets[packet["diaSourceId"]])  # NaN equals NaN here
