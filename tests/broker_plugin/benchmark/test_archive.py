# SPDX-License-Identifier: BSD-3-Clause
"""Corpora of real packets: what the surveys sent, and what is missing is said."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from broker_plugin.benchmark.archive import read_corpora
from broker_plugin.benchmark.corpus import read_values, schema_folder, store
from broker_plugin.codec.packets import decode_message, read_container_file
from broker_plugin.codec.schemas import SchemaStore
from broker_plugin.errors import ConfigurationError

FEW = 8


@pytest.fixture(scope="module")
def ztf_dir(data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("alerts")
    (folder / "ztf/native").mkdir(parents=True)
    for path in sorted((data_dir / "alerts/ztf/native").glob("*.avro"))[:FEW]:
        shutil.copy(path, folder / "ztf/native")
    return folder


def test_native_packets_are_sent_as_they_are(ztf_dir: Path) -> None:
    corpora = read_corpora(ztf_dir, messages_max=100, lengths={100: 1})
    files = {path.read_bytes() for path in (ztf_dir / "ztf/native").iterdir()}
    assert set(corpora.by_name["ztf"].values) == files
    assert set(corpora.by_name) == {"ztf"}
    assert set(corpora.missing) == {"lsst", "lsst_100"}
    assert "lsst" in corpora.missing["lsst_100"]


def test_a_directory_without_alerts_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="--alerts"):
        read_corpora(tmp_path, messages_max=1, lengths={})


def test_packets_of_another_survey_are_refused_by_their_file(data_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "ztf").mkdir()
    (tmp_path / "ztf/rubin.avro").symlink_to(data_dir / "alerts/lsst/lsst_v10_0_nocutouts.avro")
    with pytest.raises(ConfigurationError, match=r"ztf/rubin\.avro holds other packets"):
        read_corpora(tmp_path, messages_max=1, lengths={}, packets_max=5)


def test_archived_ztf_packets_become_messages_of_one_packet(data_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "ztf").symlink_to(data_dir / "alerts/ztf")
    corpus = read_corpora(tmp_path, messages_max=30, lengths={}, packets_max=60).by_name["ztf"]
    assert len(corpus) == 30
    for value, rows in zip(corpus.values, corpus.rows.tolist(), strict=True):
        (packet,) = decode_message(value, schema_of=SchemaStore().writer_schema).packets
        assert rows == len(packet.get("prv_candidates") or ()) + len(packet.get("fp_hists") or ())


def test_deep_histories_are_cut_and_framed_with_their_own_schema(data_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "lsst").mkdir()
    (tmp_path / "lsst/v10.avro").symlink_to(data_dir / "alerts/lsst/lsst_v10_0_nocutouts.avro")
    corpora = read_corpora(tmp_path, messages_max=100, lengths={3: 2, 100: 1}, packets_max=50)
    assert "ztf" in corpora.missing
    assert corpora.by_name["lsst_3"].rows.tolist() == [3] * 6
    assert corpora.by_name["lsst_100"].rows.tolist() == [100] * 3
    folder = tmp_path / "corpora"
    store(corpora, folder)
    schemas = SchemaStore(directories=[schema_folder(folder)], installed=False)
    for name in ("lsst", "lsst_3", "lsst_100"):
        values = read_values(folder, name)
        assert values == list(corpora.by_name[name].values)
        decoded = [decode_message(value, schema_of=schemas.writer_schema).packets[0] for value in values]
        assert len({packet["diaSourceId"] for packet in decoded}) == len(values)
    first = next(read_container_file(tmp_path / "lsst/v10.avro"))
    (again,) = decode_message(corpora.by_name["lsst"].values[0], schema_of=schemas.writer_schema).packets
    np.testing.assert_equal(again, first)  # values that are not numbers equal each other
