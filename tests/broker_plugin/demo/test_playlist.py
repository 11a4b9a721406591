# SPDX-License-Identifier: BSD-3-Clause
"""What is played: one message a packet, whatever the files look like."""

import io
import tarfile
from pathlib import Path

import fastavro
import pytest

from broker_plugin.codec.decoder import Decoder
from broker_plugin.codec.schemas import SchemaStore
from broker_plugin.demo.packets import encode
from broker_plugin.demo.playlist import MESSAGE_MAX_BYTES, archive_tracks, night_tracks
from broker_plugin.demo.simulator import Night
from broker_plugin.errors import ConfigurationError, RejectedAlert
from broker_plugin.records import Provenance
from broker_plugin.surveys.registry import adapters


def test_a_night_has_its_alerts_and_a_few_broken_messages(small_night: Night) -> None:
    tracks = list(night_tracks(small_night))
    broken = [track for track in tracks if track.note]
    assert len(tracks) == len(small_night.alerts) + len(broken)
    assert len(broken) == 5
    assert not tracks[0].note
    assert [track.value for track in tracks if not track.note] == [
        encode(alert) for alert in small_night.alerts
    ]


def test_every_packet_of_a_container_is_a_message(data_dir: Path) -> None:
    decoder = Decoder(schemas=SchemaStore(), adapters=adapters())
    path = data_dir / "alerts/lsst/lsst_v9_0_nocutouts.avro"
    with path.open("rb") as source:
        expected = [record["diaSourceId"] for record in fastavro.reader(source)]
    found = []
    for track in archive_tracks([path]):
        (alert,) = decoder.decode(track.value, Provenance(topic="alerts"))
        found.append(alert.alert_id)
    assert found == expected


def test_a_packet_loses_its_cutouts_and_nothing_else(data_dir: Path) -> None:
    path = data_dir / "alerts/ztf/native/2695378462115010012.avro"
    with path.open("rb") as source:
        (original,) = fastavro.reader(source)
    (track,) = archive_tracks([path])
    (played,) = fastavro.reader(io.BytesIO(track.value))
    assert isinstance(original, dict)
    assert isinstance(played, dict)
    cutouts = {name for name in original if name.startswith("cutout")}
    assert len(cutouts) == 3
    assert all(played[name] is None for name in cutouts)
    assert {k: v for k, v in played.items() if k not in cutouts} == {
        k: v for k, v in original.items() if k not in cutouts
    }
    assert len(track.value) < 0.6 * path.stat().st_size


def test_framed_files_are_played_as_they_are(data_dir: Path) -> None:
    folder = data_dir / "alerts/lsst/raw/boom_confluent_wire"
    tracks = list(archive_tracks([folder]))
    assert [track.value for track in tracks] == [path.read_bytes() for path in sorted(folder.iterdir())]


def test_an_archive_gives_what_its_files_give(data_dir: Path, tmp_path: Path) -> None:
    files = sorted((data_dir / "alerts/ztf/native").glob("*.avro"))[:6]
    archive = tmp_path / "night.tar.gz"
    with tarfile.open(archive, "w:gz") as packed:
        for path in files:
            packed.add(path, arcname=path.name)
    packed_ids, plain_ids = (
        [candid(track.value) for track in archive_tracks(paths)] for paths in ([archive], files)
    )
    assert packed_ids == plain_ids


@pytest.mark.parametrize("beyond", [0, 1000])
def test_a_cut_archive_is_played_to_its_cut_and_refused(data_dir: Path, tmp_path: Path, beyond: int) -> None:
    archive = tmp_path / "night.tar"
    with tarfile.open(archive, "w") as packed:
        for path in sorted((data_dir / "alerts/ztf/native").glob("*.avro"))[:3]:
            packed.add(path, arcname=path.name)
    with tarfile.open(archive) as packed:
        last = packed.getmembers()[-1].offset
    archive.write_bytes(archive.read_bytes()[: last + beyond])  # between two members, or within one
    tracks = archive_tracks([archive])
    assert all(next(tracks).value for _ in range(2))
    with pytest.raises(ConfigurationError, match="restore it"):
        next(tracks)


def candid(message: bytes) -> int:
    (record,) = fastavro.reader(io.BytesIO(message))
    assert isinstance(record, dict)
    return int(record["candid"])


def test_a_file_that_ends_badly_is_played_to_its_defect(data_dir: Path, tmp_path: Path) -> None:
    whole = (data_dir / "alerts/lsst/lsst_v9_0_nocutouts.avro").read_bytes()
    broken = tmp_path / "broken.avro"
    broken.write_bytes(whole[: len(whole) - 300])
    *_, last = archive_tracks([broken])
    assert "ends badly" in last.note
    assert len(last.value) <= MESSAGE_MAX_BYTES
    with pytest.raises(RejectedAlert):
        Decoder(schemas=SchemaStore(), adapters=adapters()).decode(last.value, Provenance(topic="alerts"))


def test_what_cannot_be_played_is_said_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="does not exist"):
        archive_tracks([tmp_path / "nowhere"])
    table = tmp_path / "alerts.parquet"
    table.write_bytes(b"PAR1")
    with pytest.raises(ConfigurationError, match="Parquet"):
        archive_tracks([table])
