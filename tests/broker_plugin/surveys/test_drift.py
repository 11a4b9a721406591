# SPDX-License-Identifier: BSD-3-Clause
"""What a schema lacks is found from the adapters' own tables, in the schemas that the surveys really have."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import fastavro
import pytest
from structlog.testing import capture_logs

from broker_plugin.codec.packets import is_container
from broker_plugin.codec.schema_watch import EMBEDDED_MIN, SchemaWatch
from broker_plugin.codec.schemas import SchemaDirectory
from broker_plugin.codec.writer_schema import WriterSchema, vet
from broker_plugin.errors import PauseReason, StreamPausedError
from broker_plugin.surveys.base import SurveyAdapter
from broker_plugin.surveys.drift import Drift, drift_of, release_of
from broker_plugin.surveys.fields import Field, RecordTable
from broker_plugin.surveys.registry import adapters

ZTF, LSST = adapters()[-2:]

CURRENT = {"ztf": "ztf/native/2752190655615010046.avro", "lsst": "lsst/lsst_v10_0_nocutouts.avro"}


def schema_in(path: Path) -> Any:
    with path.open("rb") as source:
        return json.loads(json.dumps(fastavro.reader(source).writer_schema))


def adapter_of(writer: WriterSchema) -> SurveyAdapter:
    (found,) = [adapter for adapter in (ZTF, LSST) if adapter.needs.concern(writer.parsed, writer.name)]
    return found


def drift(writer: WriterSchema) -> Drift:
    release = release_of(writer.declared or writer.version)
    return drift_of(writer.parsed, adapter_of(writer).needs, release=release)


@pytest.fixture(params=["ztf", "lsst"])
def current(request: pytest.FixtureRequest, data_dir: Path) -> Any:
    """The JSON of a survey's present schema."""
    return schema_in(data_dir / "alerts" / CURRENT[request.param])


def record_at(schema: Any, path: str) -> Any:
    """Return the definition, in the schema itself, of the record or the array's records at a path."""
    library: dict[str, Any] = {}

    def gather(node: Any) -> None:
        if isinstance(node, list):
            for branch in node:
                gather(branch)
        elif isinstance(node, dict):
            if node.get("type") == "record":
                library[node["name"].rpartition(".")[2]] = node
            for inner in node.values():
                gather(inner)

    def resolve(node: Any) -> Any:
        if isinstance(node, str):
            return library.get(node.rpartition(".")[2])
        if isinstance(node, list):
            return next((found for branch in node if (found := resolve(branch))), None)
        return node if "fields" in node else resolve(node.get("items") or node["type"])

    gather(schema)
    if not path:
        return schema
    return resolve(next(field["type"] for field in schema["fields"] if field["name"] == path))


def without(schema: Any, table: RecordTable, field: Field) -> Any:
    """Return the schema without a field, wherever its record is used."""
    less = copy.deepcopy(schema)
    record = record_at(less, table.path)
    record["fields"] = [entry for entry in record["fields"] if entry["name"] != field.path]
    return less


def tables(adapter: SurveyAdapter) -> tuple[RecordTable, ...]:
    return (*adapter.needs.trigger, *adapter.needs.history)


def test_no_schema_that_a_survey_had_has_drifted(data_dir: Path, rubin_schemas: Path) -> None:
    seen = []
    for path in sorted((data_dir / "alerts").rglob("*.avro")):
        with path.open("rb") as source:
            if not is_container(source):
                continue  # framed packets bring none along
        writer = vet(schema_in(path))
        seen.append(writer)
        assert drift(writer).required == (), path
        if writer.declared != "3.5":  # its history came without measurements
            assert drift(writer).expected == (), path
    assert {writer.name for writer in seen} >= {"ztf.alert", "lsst.v7_1.alert", "lsst.v10_0.alert"}
    for number in (701, 702, 703, 704, 800, 900, 1000, 1100, 1101):
        registered = SchemaDirectory(rubin_schemas).writer_schema(number)
        if registered is not None:
            assert drift(registered) == Drift(), number
    ancient = SchemaDirectory(rubin_schemas).writer_schema(400)
    assert ancient is not None
    assert "diaSource.midpointMjdTai" in drift(ancient).required


def test_each_field_of_the_tables_is_missed_as_they_say(current: Any) -> None:
    adapter = adapter_of(vet(current))
    for table in tables(adapter):
        for field in table.fields:
            present = field.path in {entry["name"] for entry in record_at(current, table.path)["fields"]}
            if not present:
                assert not field.expected
                continue
            found = drift(vet(without(current, table, field)))
            name = f"{table.path}.{field.path}" if table.path else field.path
            elsewhere = [other for other in adapter.needs.trigger if field in other.fields]
            if table in adapter.needs.trigger and field.required:
                # ZTF names the alert in two places.
                assert (name in found.required) == (len(elsewhere) == 1)
            elif field.expected:
                assert name in found.expected
            else:
                assert name not in found.expected


def test_additions_pass_and_a_field_of_another_type_is_gone(current: Any) -> None:
    adapter = adapter_of(vet(current))
    table = adapter.needs.trigger[-1]
    more = copy.deepcopy(current)
    more["fields"].append({"name": "weather", "type": ["null", "string"], "default": None})
    record_at(more, table.path)["fields"].append({"name": "moon", "type": "double"})
    assert drift(vet(more)) == Drift()
    changed = copy.deepcopy(current)
    for entry in record_at(changed, table.path)["fields"]:
        if entry["name"] == "ra":
            entry["type"] = "string"
    assert f"{table.path}.ra" in drift(vet(changed)).required


def test_a_whole_history_that_is_gone_is_missed(current: Any) -> None:
    for table in adapter_of(vet(current)).needs.history:
        less = copy.deepcopy(current)
        record = next(field for field in less["fields"] if field["name"] == table.path)
        later = [field for field in less["fields"] if field is not record]
        try:
            writer = vet({**less, "fields": later})
        except ValueError:
            continue  # another field uses the record that this one defines
        assert table.path in drift(writer).expected


def test_a_registered_schema_pauses_at_once_and_an_embedded_one_when_it_comes_again(current: Any) -> None:
    adapter = adapter_of(vet(current))
    table = adapter.needs.trigger[-1]
    broken = without(current, table, table["ra_deg"])
    with capture_logs() as logged:
        with pytest.raises(
            StreamPausedError, match=rf"no longer has {table.path}\.ra.*--accept-rejects"
        ) as pause:
            SchemaWatch([adapter], pause=True).is_degraded(vet(broken), registered=True)
        assert pause.value.reason is PauseReason.SCHEMA
        watch = SchemaWatch([adapter], pause=True)
        for _ in range(EMBEDDED_MIN - 1):
            # Parsed anew each time, as happens to schemas that were forgotten.
            watch.is_degraded(vet(broken), registered=False)
        for damage in range(10 * EMBEDDED_MIN):
            odd = copy.deepcopy(broken)
            odd["fields"].append({"name": f"odd{damage}", "type": "int"})
            watch.is_degraded(vet(odd), registered=False)
        with pytest.raises(StreamPausedError):
            watch.is_degraded(vet(broken), registered=False)
        SchemaWatch([adapter]).is_degraded(vet(broken), registered=True)  # as replay does: alert by alert
    assert all(entry["required_gone"] == [f"{table.path}.ra"] for entry in logged)


def test_what_is_no_schema_of_the_survey_is_nobodys_drift() -> None:
    other = vet({"type": "record", "name": "Other", "fields": [{"name": "a", "type": "int"}]})
    with capture_logs() as logged:
        assert not SchemaWatch(adapters(), pause=True).is_degraded(other, registered=True)
    assert logged == []
