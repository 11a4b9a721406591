# SPDX-License-Identifier: BSD-3-Clause
"""Files are read whole, in order, and a defect costs only what it spoils."""

import gc
import gzip
import io
import tarfile
import tracemalloc
from collections.abc import Iterable
from pathlib import Path

import fastavro
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from broker_plugin.codec.packets import MESSAGE_MAX_BYTES
from broker_plugin.errors import ConfigurationError, RejectReason
from broker_plugin.streams.archive import ArchiveSource
from broker_plugin.streams.base import Message
from broker_plugin.streams.tar import read_members

SCHEMA = fastavro.parse_schema(
    {"type": "record", "name": "p", "fields": [{"name": "n", "type": "int"}, {"name": "s", "type": "string"}]}
)


def records(numbers: Iterable[int]) -> list[dict[str, object]]:
    return [{"n": n, "s": "x" * 50} for n in numbers]


def container(numbers: Iterable[int], *, sync_interval: int = 100) -> bytes:
    buffer = io.BytesIO()
    fastavro.writer(buffer, SCHEMA, records(numbers), sync_interval=sync_interval)
    return buffer.getvalue()


def read_all(*paths: Path, batch: int = 7) -> list[Message]:
    source = ArchiveSource(paths)
    messages: list[Message] = []
    while not source.exhausted:
        messages += source.poll(batch)
    assert source.bytes_read == source.bytes_total
    return messages


def numbers_of(messages: list[Message]) -> list[int]:
    return [m.packet["n"] for m in messages if m.packet is not None]


def test_a_container_gives_one_message_a_record_with_its_position(tmp_path: Path) -> None:
    path = tmp_path / "night.avro"
    path.write_bytes(container(range(20)))
    messages = read_all(path)
    assert numbers_of(messages) == list(range(20))
    assert [m.offset for m in messages] == list(range(20))
    assert {m.topic for m in messages} == {str(path)}


def test_directories_are_read_in_order_of_name_and_other_files_left_alone(tmp_path: Path) -> None:
    for position, name in enumerate(["b/2.avro", "a/1.avro", "c.avro"]):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(container([position]))
    (tmp_path / "notes.txt").write_text("not an alert")
    assert numbers_of(read_all(tmp_path)) == [1, 0, 2]


def test_what_is_no_container_is_one_message_of_its_bytes(tmp_path: Path) -> None:
    path = tmp_path / "framed.bin"
    path.write_bytes(b"\x00\x00\x00\x02\xbdrest")
    (message,) = read_all(path)
    assert message.value == b"\x00\x00\x00\x02\xbdrest"
    assert message.packet is None


def test_an_empty_file_is_an_empty_message(tmp_path: Path) -> None:
    (tmp_path / "empty.avro").touch()
    (message,) = read_all(tmp_path)
    assert message.value == b""
    assert message.defect is None


@pytest.mark.parametrize(("suffix", "mode"), [("tar", "w"), ("tar.gz", "w:gz"), ("tgz", "w:gz")])
def test_a_night_in_a_tar_archive_gives_its_members_in_order(tmp_path: Path, suffix: str, mode: str) -> None:
    path = tmp_path / f"night.{suffix}"
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for number in range(5):
            content = container([number])
            member = tarfile.TarInfo(f"night/{number}.avro")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    messages = read_all(path)
    assert numbers_of(messages) == list(range(5))
    assert messages[3].topic == f"{path}/night/3.avro"


@pytest.mark.parametrize("compressed", [True, False])
def test_a_cut_archive_gives_what_was_whole_and_says_where_it_broke(tmp_path: Path, compressed: bool) -> None:
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w") as archive:
        for number in range(5):
            content = container([number])
            member = tarfile.TarInfo(f"{number}.avro")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
        end = archive.offset
    # Without compression, exactly between two members: nothing but the missing end betrays the cut.
    kept = gzip.compress(plain.getvalue())[:-100] if compressed else plain.getvalue()[: end * 4 // 5]
    path = tmp_path / "night.tar"
    path.write_bytes(kept)
    messages = read_all(path)
    defect = messages[-1].defect
    assert defect is not None
    assert defect.reason is RejectReason.UNDECODABLE
    assert numbers_of(messages) == list(range(len(messages) - 1))


def header(kind: bytes, size: int, name: str = "x") -> bytes:
    member = tarfile.TarInfo(name)
    member.type, member.size = kind, size
    return member.tobuf(tarfile.GNU_FORMAT)


def extended(keyword: str, value: str, kind: bytes = tarfile.XHDTYPE) -> bytes:
    """Return an extended header of one record."""
    record = f" {keyword}={value}\n".encode()
    length = next(n for n in range(len(record), len(record) + 20) if len(str(n)) + len(record) == n)
    content = str(length).encode() + record
    return header(kind, len(content)) + content + bytes(-len(content) % tarfile.BLOCKSIZE)


def long_name(n_bytes: int) -> bytes:
    return header(tarfile.GNUTYPE_LONGNAME, n_bytes) + b"n" * n_bytes + bytes(-n_bytes % tarfile.BLOCKSIZE)


def member(content: bytes) -> bytes:
    return header(tarfile.REGTYPE, len(content)) + content + bytes(-len(content) % tarfile.BLOCKSIZE)


HOSTILE = {
    "an attribute of 50 MB": extended("comment", "x" * 50_000_000),
    "a name of 50 MB": long_name(50_000_000),
    "a chain of names": long_name(1) * 10_000,
    "a size of a petabyte": header(tarfile.REGTYPE, 2**50),
    "sparse numbers that are none": extended("GNU.sparse.map", "0,ten"),
}


@pytest.mark.parametrize("headers", HOSTILE.values(), ids=HOSTILE)
def test_an_archive_has_no_more_headers_than_a_member_needs(tmp_path: Path, headers: bytes) -> None:
    packet = member(container([1]))
    path = tmp_path / "night.tar.gz"
    path.write_bytes(gzip.compress(packet + headers + packet + bytes(tarfile.RECORDSIZE), compresslevel=1))
    del headers
    source = ArchiveSource([path])
    tracemalloc.start()
    try:
        messages = source.poll(10)
        _, most_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert numbers_of(list(messages)) == [1]
    defect = messages[-1].defect
    assert defect is not None
    assert defect.reason is RejectReason.UNDECODABLE
    assert source.ended_early[-1] == f"{path}: {defect.detail}"
    assert most_bytes < 3_000_000


def test_long_names_and_skipped_members_are_no_hostile_headers(tmp_path: Path) -> None:
    skipped = member(bytes(MESSAGE_MAX_BYTES + 1))
    comments = extended("comment", "x" * 50_000) + extended("comment", "y" * 20_000, tarfile.XGLTYPE)
    packets = [member(container([number])) for number in range(3)]
    path = tmp_path / "night.tar"
    path.write_bytes(
        long_name(4_000) + packets[0] + skipped + comments + packets[1] + skipped + packets[2] + bytes(10_240)
    )
    messages = read_all(path)
    assert numbers_of(messages) == [0, 1, 2]
    assert messages[0].topic == f"{path}/{'n' * 4_000}"
    assert [m.defect.reason for m in messages if m.defect] == [RejectReason.TOO_LARGE] * 2


def test_global_headers_are_forgotten(tmp_path: Path) -> None:
    path = tmp_path / "night.tar"
    with path.open("wb") as file:
        for number in range(200):
            file.write(extended(f"note{number}", "x" * 50_000, tarfile.XGLTYPE) + member(b""))
        file.write(bytes(tarfile.RECORDSIZE))
    with path.open("rb") as handle:
        tracemalloc.start()
        try:
            assert sum(1 for _ in read_members(handle)) == 200
            _, most_bytes = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert most_bytes < 3_000_000  # of 10 MB


def test_a_corrupt_block_costs_only_what_follows_it(tmp_path: Path) -> None:
    whole = container(range(50))
    path = tmp_path / "night.avro"
    path.write_bytes(whole[: len(whole) // 2] + bytes(40) + whole[len(whole) // 2 + 40 :])
    messages = read_all(path)
    assert messages[-1].defect is not None
    assert 0 < len(messages) - 1 < 50
    assert numbers_of(messages) == list(range(len(messages) - 1))


@pytest.mark.parametrize("missing", [40, 1000])
def test_a_container_that_is_cut_in_its_first_block_has_lost_more_than_one_alert(
    tmp_path: Path, missing: int
) -> None:
    path = tmp_path / "night.avro"
    path.write_bytes(container(range(50), sync_interval=10**9)[:-missing])
    source = ArchiveSource([path])
    (message,) = source.poll(100)
    assert message.defect is not None
    assert source.ended_early == [f"{path}: {message.defect.detail}"]


def damaged(content: bytes, at: int) -> bytes:
    return content[:at] + bytes([content[at] ^ 0xFF]) + content[at + 1 :]


WHOLE = container(range(50))
HEADLESS = {
    "cut in the magic": WHOLE[:3],
    "cut in the schema": WHOLE[:60],
    "cut in the count of the first block": container(range(2000))[: WHOLE.index(b"}") + 40],
    "a byte of the schema": damaged(WHOLE, WHOLE.index(b"record")),
    "a byte of the codec": damaged(WHOLE, WHOLE.index(b"avro.codec") + len("avro.codec") + 1),
    "more than any message has": damaged(container(range(150_000)), WHOLE.index(b"record")),
}


@pytest.mark.parametrize("content", HEADLESS.values(), ids=HEADLESS)
def test_a_container_that_cannot_be_read_at_all_may_have_lost_many_alerts(
    tmp_path: Path, content: bytes
) -> None:
    path = tmp_path / "night.avro"
    path.write_bytes(content)
    source = ArchiveSource([path])
    (message,) = source.poll(100)
    assert message.defect is not None
    assert message.defect.reason is RejectReason.UNDECODABLE
    assert source.ended_early == [f"{path}: {message.defect.detail}"]
    # It may as well be one packet, whose dead letter holds its bytes.
    assert message.value == (content if len(content) <= MESSAGE_MAX_BYTES else b"")


def test_what_follows_the_one_record_of_a_block_is_missed_too(tmp_path: Path) -> None:
    path = tmp_path / "night.avro"
    whole = container(range(3), sync_interval=1)
    path.write_bytes(whole[: whole.index(b"x" * 50) + 50 + 16] + b"\x80")
    source = ArchiveSource([path])
    messages = source.poll(100)
    assert numbers_of(messages) == [0]
    assert len(source.ended_early) == 1


@pytest.mark.parametrize("suffix", ["bin", "tar"])
def test_what_is_too_large_to_be_a_message_may_hold_many(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"night.{suffix}"
    content = b"?" * (MESSAGE_MAX_BYTES + 1)
    if suffix == "tar":
        with tarfile.open(path, "w") as archive:
            member = tarfile.TarInfo("all.avro")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    else:
        path.write_bytes(content)
    source = ArchiveSource([path])
    (message,) = source.poll(100)
    assert message.defect is not None
    assert message.defect.reason is RejectReason.TOO_LARGE
    assert len(source.ended_early) == 1


def test_a_disk_that_fails_costs_the_file_that_it_fails_in(tmp_path: Path) -> None:
    unreadable = Path("/proc/self/mem")  # an input/output error from its first byte on
    (tmp_path / "b.avro").write_bytes(container([7]))
    source = ArchiveSource([unreadable, tmp_path])
    messages = source.poll(100)
    assert numbers_of(messages) == [7]
    assert source.ended_early == [f"{unreadable}: record 0: the file cannot be read on: Input/output error"]


def test_a_packet_of_its_own_that_is_cut_keeps_its_bytes_for_the_dead_letter(tmp_path: Path) -> None:
    path = tmp_path / "alert.avro"
    path.write_bytes(container([1])[:-20])
    source = ArchiveSource([path])
    (message,) = source.poll(100)
    assert message.value == path.read_bytes()
    assert not source.ended_early


def test_an_archive_of_many_members_costs_no_memory_for_those_behind(tmp_path: Path) -> None:
    path = tmp_path / "many.tar"
    with tarfile.open(path, "w") as archive:
        for number in range(400):
            archive.addfile(tarfile.TarInfo(f"{number}.avro"))
    before = sum(type(thing) is tarfile.TarInfo for thing in gc.get_objects())
    source = ArchiveSource([path])
    assert len(source.poll(399)) == 399
    held = sum(type(thing) is tarfile.TarInfo for thing in gc.get_objects()) - before
    source.close()
    assert held < 10


def test_parquet_rows_are_packets(tmp_path: Path) -> None:
    path = tmp_path / "night.parquet"
    pq.write_table(pa.Table.from_pylist(records(range(600))), path)
    assert numbers_of(read_all(path)) == list(range(600))


def test_parquet_with_nanoseconds_is_read(tmp_path: Path) -> None:
    path = tmp_path / "night.parquet"
    table = pa.Table.from_pylist(records(range(3)))
    for kind in (pa.timestamp("ns"), pa.timestamp("ns", "UTC"), pa.duration("ns"), pa.time64("ns")):
        times = pa.array([1, 2, 3], pa.int64()).cast(kind)
        history = pa.ListArray.from_arrays([0, 1, 2, 3], pa.StructArray.from_arrays([times], ["at"]))
        table = table.append_column(str(kind), times).append_column(f"history of {kind}", history)
    pq.write_table(table, path)
    assert numbers_of(read_all(path)) == [0, 1, 2]


@pytest.mark.parametrize("seed", range(8))
def test_damaged_parquet_is_a_defect_and_stops_nothing(tmp_path: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    pq.write_table(pa.Table.from_pylist(records(range(20))), tmp_path / "a.parquet")
    content = bytearray((tmp_path / "a.parquet").read_bytes())
    footer = len(content) - 8 - int.from_bytes(content[-8:-4], "little")
    content[rng.integers(footer, len(content) - 8)] ^= int(rng.integers(1, 256))
    (tmp_path / "a.parquet").write_bytes(content)
    (tmp_path / "b.avro").write_bytes(container([7]))
    assert numbers_of([read_all(tmp_path)[-1]]) == [7]


def test_what_is_no_parquet_is_a_defect(tmp_path: Path) -> None:
    path = tmp_path / "night.parquet"
    path.write_bytes(b"PAR1 not really")
    (message,) = read_all(path)
    assert message.defect is not None


def test_a_missing_path_and_an_empty_directory_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="does not exist"):
        ArchiveSource([tmp_path / "nowhere"])
    with pytest.raises(ConfigurationError, match="name it outright"):
        ArchiveSource([tmp_path])


def test_what_ends_early_is_named_and_what_is_merely_bad_is_not(tmp_path: Path) -> None:
    whole = container(range(50))
    (tmp_path / "a.avro").write_bytes(whole[:-100])
    (tmp_path / "b.avro").write_bytes(b"junk")
    (tmp_path / "c.tar").write_bytes(b"no archive")
    (tmp_path / "d.parquet").write_bytes(b"PAR1 not really")
    source = ArchiveSource([tmp_path])
    while not source.exhausted:
        source.poll(7)
    cut = [line.partition(": ")[0] for line in source.ended_early]
    assert cut == [str(tmp_path / name) for name in ("a.avro", "c.tar", "d.parquet")]
    assert "cannot be read at its beginning" in source.ended_early[1]
    # Names of a library's errors tell nobody anything.
    assert not any("Error" in line or "Arrow" in line for line in source.ended_early)


def test_a_file_that_may_not_be_read_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "night.avro"
    path.write_bytes(container(range(3)))

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(ConfigurationError, match="Permission denied"):
        ArchiveSource([path])
