# SPDX-License-Identifier: BSD-3-Clause
"""A schema id is known wherever it was seen before, and unknown only if somebody who would know says so."""

from __future__ import annotations

import json
import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from broker_plugin.codec import misses
from broker_plugin.codec.registry import SchemaRegistry
from broker_plugin.codec.schemas import SchemaDirectory, SchemaStore
from broker_plugin.errors import ConfigurationError, RejectedAlert, RejectReason, TransientError
from tests.broker_plugin.codec.registry_server import Answers, answering
from tests.support.full_disk import full_disk
from tests.support.process import free_ports

VERSIONS = {701: "7_1", 702: "7_2", 703: "7_3", 704: "7_4", 800: "8_0", 900: "9_0", 1000: "10_0",
            1100: "11_0", 1101: "11_1"}  # fmt: skip


def schema(name: str, namespace: str = "") -> str:
    return json.dumps(
        {"type": "record", "name": name, "namespace": namespace, "fields": [{"name": "x", "type": "int"}]}
    )


@pytest.fixture
def rubin(rubin_schemas: Path) -> Path:
    return rubin_schemas


@pytest.fixture
def dead_registry() -> SchemaRegistry:
    (port,) = free_ports(1)
    return SchemaRegistry(f"http://127.0.0.1:{port}", request_s=0.3)


@pytest.fixture
def live() -> Iterator[Answers]:
    with answering(Answers(schemas={7: schema("seven")})) as server:
        yield server


def registry_of(server: Answers) -> SchemaRegistry:
    return SchemaRegistry(server.url, request_s=0.3)


def offline(*directories: Path) -> SchemaStore:
    return SchemaStore(directories=directories, installed=False)


@pytest.mark.parametrize("schema_id", VERSIONS)
def test_the_installed_package_serves_rubins_ids(schema_id: int, rubin: Path) -> None:
    found = SchemaStore().writer_schema(schema_id)
    assert found.name == f"lsst.v{VERSIONS[schema_id]}.alert"
    assert SchemaDirectory(rubin).writer_schema(schema_id) == found


def test_a_directory_serves_files_in_any_layout(tmp_path: Path, rubin: Path) -> None:
    (tmp_path / "deep" / "er").mkdir(parents=True)
    (tmp_path / "12.avsc").write_text(schema("twelve"))
    (tmp_path / "deep" / "13.json").write_text(schema("thirteen"))
    (tmp_path / "complete.avsc").write_text(schema("alert", "lsst.v12_3"))
    (tmp_path / "dotted.json").write_text(schema("lsst.v12_4.alert"))
    (tmp_path / "junk.json").write_text("{")
    (tmp_path / "list.json").write_text("[1, 2]")
    (tmp_path / "900.txt").write_text(schema("not read"))
    for number, path in enumerate((rubin / "9" / "0").glob("*.avsc")):  # names do not matter, contents do
        shutil.copy(path, tmp_path / "deep" / "er" / f"part-{number}.avsc")
    names = {
        schema_id: offline(tmp_path).writer_schema(schema_id).name for schema_id in (12, 13, 1203, 1204, 900)
    }
    assert names == {
        12: "twelve",
        13: "thirteen",
        1203: "lsst.v12_3.alert",
        1204: "lsst.v12_4.alert",
        900: "lsst.v9_0.alert",
    }


def test_a_file_named_by_an_id_beats_what_is_in_others(tmp_path: Path) -> None:
    (tmp_path / "a.avsc").write_text(schema("alert", "lsst.v9_0"))
    (tmp_path / "900.avsc").write_text(schema("chosen"))
    assert offline(tmp_path).writer_schema(900).name == "chosen"


def test_a_directory_is_read_once(tmp_path: Path) -> None:
    for number in (12, 13):
        (tmp_path / f"{number}.avsc").write_text(schema(f"s{number}"))
    store = offline(tmp_path)
    assert store.writer_schema(12).name == "s12"
    shutil.rmtree(tmp_path)
    assert store.writer_schema(13).name == "s13"


def test_a_layout_with_a_part_missing_is_unknown_and_not_a_loop(tmp_path: Path, rubin: Path) -> None:
    shutil.copy(rubin / "9" / "0" / "lsst.v9_0.alert.avsc", tmp_path)
    with structlog.testing.capture_logs() as logs, pytest.raises(RejectedAlert) as rejected:
        offline(tmp_path).writer_schema(900)
    assert rejected.value.reason is RejectReason.UNKNOWN_SCHEMA
    assert [entry["event"] for entry in logs] == ["schema_unusable"]


def test_a_directory_that_is_not_there_is_a_configuration_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="--schemas"):
        offline(tmp_path / "nowhere")


def test_a_registry_is_asked_once_for_an_id_that_it_does_not_know(live: Answers, tmp_path: Path) -> None:
    store = SchemaStore(registry_of(live), cache_dir=tmp_path, installed=False)
    for _ in range(50):
        with pytest.raises(RejectedAlert) as rejected:
            store.writer_schema(77)
        assert rejected.value.reason is RejectReason.UNKNOWN_SCHEMA
    assert len(live.asked) == 1
    assert store.writer_schema(7).name == "seven"


def test_an_unknown_id_is_asked_for_again_when_the_miss_is_old(
    live: Answers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(misses, "KEEP_S", 0.0)
    store = SchemaStore(registry_of(live), cache_dir=tmp_path, installed=False)
    with pytest.raises(RejectedAlert):
        store.writer_schema(77)
    live.schemas[77] = schema("late")
    assert store.writer_schema(77).name == "late"


def test_a_registry_that_does_not_answer_is_no_miss(live: Answers, tmp_path: Path) -> None:
    store = SchemaStore(registry_of(live), cache_dir=tmp_path, installed=False)
    live.status = 503
    for _ in range(2):
        with pytest.raises(TransientError):
            store.writer_schema(7)
    live.status = 200
    assert store.writer_schema(7).name == "seven"


def test_of_many_unknown_ids_a_bounded_number_is_remembered() -> None:
    store = offline()
    for schema_id in range(3000):
        with pytest.raises(RejectedAlert):
            store.writer_schema(schema_id)
    assert len(store._misses) == misses.MISSES_MAX


def test_an_unknown_id_says_what_to_give() -> None:
    with pytest.raises(RejectedAlert) as rejected:
        offline().writer_schema(900)
    assert rejected.value.reason is RejectReason.UNKNOWN_SCHEMA
    for advice in ("--input-registry", "--schemas", "lsst-alert-packet"):
        assert advice in rejected.value.detail


def test_an_unknown_id_stays_unknown_with_a_registry_that_answers(live: Answers, tmp_path: Path) -> None:
    store = SchemaStore(registry_of(live), cache_dir=tmp_path)
    with pytest.raises(RejectedAlert) as rejected:
        store.writer_schema(424242)
    assert rejected.value.reason is RejectReason.UNKNOWN_SCHEMA


def test_an_unreachable_registry_is_transient(dead_registry: SchemaRegistry, tmp_path: Path) -> None:
    store = SchemaStore(dead_registry, cache_dir=tmp_path)
    with pytest.raises(TransientError):
        store.writer_schema(424242)


def test_an_unreachable_registry_is_replaced_by_what_lies_on_disk(
    dead_registry: SchemaRegistry, tmp_path: Path, rubin: Path
) -> None:
    store = SchemaStore(dead_registry, cache_dir=tmp_path)
    with structlog.testing.capture_logs() as logs:
        assert store.writer_schema(900).version == "lsst.v9_0"
    assert [entry["event"] for entry in logs] == ["schema_registry_bypassed"]


def test_a_schema_is_asked_for_once(live: Answers, tmp_path: Path) -> None:
    store = SchemaStore(registry_of(live), cache_dir=tmp_path)
    for _ in range(3):
        assert store.writer_schema(7).name == "seven"
    assert len(live.asked) == 1


def test_a_schema_seen_before_outlives_its_registry(live: Answers, tmp_path: Path) -> None:
    SchemaStore(registry_of(live), cache_dir=tmp_path).writer_schema(7)
    live.status = 503
    with structlog.testing.capture_logs() as logs:
        assert SchemaStore(registry_of(live), cache_dir=tmp_path).writer_schema(7).name == "seven"
    assert [entry["event"] for entry in logs] == ["schema_registry_bypassed"]


def test_a_registry_that_was_set_up_anew_has_the_word(live: Answers, tmp_path: Path) -> None:
    SchemaStore(registry_of(live), cache_dir=tmp_path).writer_schema(7)
    live.schemas[7] = schema("another")
    assert SchemaStore(registry_of(live), cache_dir=tmp_path).writer_schema(7).name == "another"
    live.status = 503
    assert SchemaStore(registry_of(live), cache_dir=tmp_path).writer_schema(7).name == "another"


def test_what_stood_in_for_a_silent_registry_is_asked_for_again_after_a_minute(
    live: Answers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    SchemaStore(registry_of(live), cache_dir=tmp_path).writer_schema(7)
    live.status = 503
    store = SchemaStore(registry_of(live), cache_dir=tmp_path)
    stand_in, asked = store.writer_schema(7), len(live.asked)
    assert store.writer_schema(7) is stand_in
    assert len(live.asked) == asked
    monkeypatch.setattr(misses, "KEEP_S", 0.0)
    store = SchemaStore(registry_of(live), cache_dir=tmp_path)
    stand_in = store.writer_schema(7)
    assert store.writer_schema(7) is stand_in  # or what is compiled from it would be again, each minute
    live.schemas[7], live.status = schema("another"), 200
    assert store.writer_schema(7).name == "another"
    asked = len(live.asked)
    assert store.writer_schema(7).name == "another"
    assert len(live.asked) == asked


def test_what_a_registry_has_forgotten_is_unknown(live: Answers, tmp_path: Path) -> None:
    SchemaStore(registry_of(live), cache_dir=tmp_path).writer_schema(7)
    live.schemas.clear()
    with pytest.raises(RejectedAlert) as rejected:
        SchemaStore(registry_of(live), cache_dir=tmp_path, installed=False).writer_schema(7)
    assert rejected.value.reason is RejectReason.UNKNOWN_SCHEMA


def test_ids_of_two_registries_do_not_mix(live: Answers, tmp_path: Path) -> None:
    with answering(Answers(schemas={7: schema("another")})) as other:
        names = [
            SchemaStore(registry_of(server), cache_dir=tmp_path).writer_schema(7).name
            for server in (live, other, live, other)
        ]
    assert names == ["seven", "another", "seven", "another"]


@pytest.mark.parametrize("damage", ["", "{", '{"type":"record"}', "\0\1\2"])
def test_a_damaged_cache_is_waited_out_and_written_again(live: Answers, tmp_path: Path, damage: str) -> None:
    SchemaStore(registry_of(live), cache_dir=tmp_path).writer_schema(7)
    (cached,) = tmp_path.rglob("7.json")
    cached.write_text(damage)
    live.status = 503
    store = SchemaStore(registry_of(live), cache_dir=tmp_path)
    with pytest.raises(TransientError):
        store.writer_schema(7)
    live.status = 200
    assert store.writer_schema(7).name == "seven"
    live.status = 503
    assert SchemaStore(registry_of(live), cache_dir=tmp_path).writer_schema(7).name == "seven"


def test_a_cache_that_cannot_be_written_is_no_error(live: Answers, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    store = SchemaStore(registry_of(live), cache_dir=tmp_path / "file")
    assert store.writer_schema(7).name == "seven"


def test_nothing_half_written_is_left_in_the_cache(live: Answers, tmp_path: Path) -> None:
    SchemaStore(registry_of(live), cache_dir=tmp_path).writer_schema(7)
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["7.json"]


def test_a_full_disk_leaves_nothing_in_the_cache(tmp_path: Path) -> None:
    long = json.loads(schema("seven")) | {"doc": "x" * 300_000}
    with answering(Answers(schemas={7: json.dumps(long)})) as server:
        store = SchemaStore(registry_of(server), cache_dir=tmp_path, installed=False)
        with full_disk(100_000):
            assert store.writer_schema(7).name == "seven"
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_a_cached_schema_can_be_read_by_whom_the_user_lets(live: Answers, tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        SchemaStore(registry_of(live), cache_dir=tmp_path).writer_schema(7)
    finally:
        os.umask(before)
    (cached,) = tmp_path.rglob("7.json")
    assert stat.S_IMODE(cached.stat().st_mode) == 0o640


def test_an_unusable_schema_of_a_registry_is_unknown(tmp_path: Path) -> None:
    endless = json.dumps({"type": "record", "name": "r", "fields": [{"name": "x", "type": ["null", "r"]}]})
    with answering(Answers(schemas={9: endless, 10: "nonsense"})) as server:
        store = SchemaStore(registry_of(server), cache_dir=tmp_path)
        for schema_id in (9, 10):
            with pytest.raises(RejectedAlert) as rejected:
                store.writer_schema(schema_id)
            assert rejected.value.reason is RejectReason.UNKNOWN_SCHEMA
    assert not list(tmp_path.rglob("*.json"))


def test_a_registry_is_asked_before_directories(live: Answers, tmp_path: Path) -> None:
    (tmp_path / "7.avsc").write_text(schema("local"))
    store = SchemaStore(registry_of(live), [tmp_path], cache_dir=tmp_path / "cache")
    assert store.writer_schema(7).name == "seven"
    (tmp_path / "8.avsc").write_text(schema("only local"))
    fresh = SchemaStore(registry_of(live), [tmp_path], cache_dir=tmp_path / "cache")
    assert fresh.writer_schema(8).name == "only local"
