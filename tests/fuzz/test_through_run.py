# SPDX-License-Identifier: BSD-3-Clause
"""Mutants through a real Kafka and `run`: each comes out as verdicts or as one dead letter."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from broker_plugin.errors import RejectReason
from tests.drill.tail import Tail
from tests.e2e.conftest import StartRun
from tests.e2e.service import Topics, source_places, stop_in_order, verdict_of
from tests.fuzz.corpus import Corpus, read_corpus
from tests.fuzz.mutants import mutant
from tests.fuzz.subject import defect
from tests.support.cluster import KafkaCluster
from tests.support.memory import peak_mb
from tests.support.process import ServerProcess

pytestmark = pytest.mark.service

SURVEYS = ("ztf", "lsst")
"""A service is for one survey; each is given the mutants of both."""

FEW, MANY = 300, 20_000
"""Each kind occurs some fourteen times; each of 266 packets seventy-five times."""

PATIENCE_S, A_MUTANT_S = 120.0, 0.5
"""Start of two services, and twenty times what a mutant takes: longer is a hang."""

PEAK_MAX_MB = 1200
"""Of a service: 300 MB with its bundle, and for each of the two batches in work its 64 MB and the 350 MB that
the worst message takes to be decoded. Seen were 975 MB."""

HARDENED = ["--accept-rejects", ",".join(RejectReason), "--dead-letters-max-bytes", "900000"]
"""It is not to pause, and the topics of dead letters are as they come."""


@pytest.mark.parametrize(
    "number", [FEW, pytest.param(MANY, marks=[pytest.mark.drill, pytest.mark.timeout(0)])]
)
def test_each_mutant_becomes_verdicts_or_one_dead_letter(
    number: int,
    kafka_broker: KafkaCluster,
    topic: Callable[[str], str],
    data_dir: Path,
    run: StartRun,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    corpus = read_corpus(data_dir / "alerts")
    schemas = ["--schemas", str(corpus.write_schemas(tmp_path / "schemas"))]
    sides = {survey: Topics(kafka_broker, topic) for survey in SURVEYS}
    mutants = sides[SURVEYS[0]].input
    for topics in sides.values():
        topics.input = mutants
    _send(kafka_broker, mutants, corpus, number)
    services = {
        survey: run([*topics.flags, *schemas, *HARDENED], survey=survey, name=survey)
        for survey, topics in sides.items()
    }
    for survey, topics in sides.items():
        _wait_until_done(topics, services[survey], number)
    for survey, topics in sides.items():
        peak = peak_mb(services[survey].pid)
        assert stop_in_order(services[survey]) == 0
        verdicts, letters = _outcomes(topics)
        if number == MANY:
            with capsys.disabled():
                said = f"{len(verdicts)} have verdicts, {len(letters)} are dead letters, peak {peak:.0f} MB"
                sys.stdout.write(f"\n{survey}: of {number} mutants {said}")
        assert set(verdicts).isdisjoint(letters)
        assert verdicts.keys() | letters.keys() == _places(kafka_broker, mutants)
        assert set(letters.values()) == {1}
        assert len(verdicts) > number / 20
        assert peak < PEAK_MAX_MB


def _send(cluster: KafkaCluster, name: str, corpus: Corpus, number: int) -> None:
    cluster.produce(name, ((b"%d" % n, mutant(corpus, n).value, []) for n in range(number)))


def _wait_until_done(topics: Topics, service: ServerProcess, number: int) -> None:
    service.wait_ready(lambda: topics.committed() == number, timeout_s=PATIENCE_S + number * A_MUTANT_S)


def _places(cluster: KafkaCluster, name: str) -> set[tuple[int, int]]:
    return {
        (partition, offset) for partition, end in cluster.end_offsets(name).items() for offset in range(end)
    }


def _outcomes(topics: Topics) -> tuple[Counter[tuple[int, int]], Counter[tuple[int, int]]]:
    """Count the verdicts, all of them sound, and the dead letters, by the mutant that they are of."""
    records = topics.verdicts(1, timeout_s=PATIENCE_S)
    for record in records:
        assert defect(verdict_of(record)) == "", record.headers
    reader = Tail(topics.cluster, [topics.dead_letters])  # not their bytes, a gigabyte of them
    reader.wait_to_the_end(timeout_s=PATIENCE_S)
    reader.close()
    return source_places(records), Counter(sighting.source for sighting in reader.sightings)
