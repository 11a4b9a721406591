# SPDX-License-Identifier: BSD-3-Clause
"""Mutants of real packets become verdicts or rejections: a few here, a hundred thousand with `make fuzz`."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from broker_plugin.codec.decoder import NO_PACKETS, DecodedBatch, ReadPacket
from broker_plugin.codec.writer_schema import WriterSchema
from broker_plugin.errors import RejectedAlert
from broker_plugin.pipeline.filter import AlertDecoder
from broker_plugin.records import Access, Alert, Provenance
from broker_plugin.surveys.base import Packet
from tests.fuzz.campaign import PEAK_MAX_MB, Campaign, run_campaign
from tests.fuzz.corpus import Corpus, read_corpus
from tests.fuzz.mutants import KINDS, mutant
from tests.fuzz.subject import default_decoder

N_MUTANTS = 1500
"""Fifteen seconds on two quiet cores; every kind occurs some seventy times."""


@pytest.fixture(scope="module")
def corpus(data_dir: Path) -> Corpus:
    return read_corpus(data_dir / "alerts")


def leaky_decoder(schemas: Path) -> AlertDecoder:
    """A decoder that raises what it must not at some mutants, and gives back a NaN at others."""
    sound = default_decoder(schemas)

    class Leaky:
        def decode(self, value: bytes, provenance: Provenance) -> list[Alert]:
            if provenance.offset % 50 == 7:
                raise KeyError("jd")
            if provenance.offset % 50 == 8:
                raise SystemError("corrupted")
            return sound.decode(value, provenance)

        def decode_batch(
            self,
            values: Sequence[bytes],
            provenance: Sequence[Provenance],
            *,
            packets: Mapping[int, ReadPacket] = NO_PACKETS,
        ) -> DecodedBatch:
            return DecodedBatch.of([], [])

        def adapt(
            self, packet: Packet, provenance: Provenance, *, writer: WriterSchema | None = None
        ) -> list[Alert]:
            return sound.adapt(packet, provenance, writer=writer)

        def access_in(self, value: bytes, packet: Packet | None = None) -> frozenset[Access] | None:
            return sound.access_in(value, packet)

    return Leaky()


def test_every_seed_is_an_alert(corpus: Corpus, tmp_path: Path) -> None:
    decoder = default_decoder(corpus.write_schemas(tmp_path))
    for seed in corpus.seeds:
        assert decoder.decode(seed.value, Provenance(topic="fuzz")), seed.name


def test_a_mutant_is_the_same_in_every_run(corpus: Corpus, data_dir: Path) -> None:
    again = read_corpus(data_dir / "alerts")
    assert [mutant(corpus, number) for number in range(50)] == [mutant(again, number) for number in range(50)]


def test_mutants_reach_the_models_as_well_as_the_decoder(corpus: Corpus, tmp_path: Path) -> None:
    decoder = default_decoder(corpus.write_schemas(tmp_path))
    ends: Counter[str] = Counter()
    for number in range(400):
        made = mutant(corpus, number)
        try:
            ends["alert"] += bool(decoder.decode(made.value, Provenance(topic="fuzz")))
        except RejectedAlert as rejection:
            ends[rejection.reason] += 1
    assert ends["alert"] > 60
    assert ends["undecodable"] > 100
    assert {"invalid_value", "too_large", "unknown_schema", "access"} <= set(ends)


def test_mutants_become_verdicts_or_rejections_in_bounded_memory(data_dir: Path, tmp_path: Path) -> None:
    campaign = Campaign(alerts=data_dir / "alerts", folder=tmp_path, mutants=N_MUTANTS)
    report = run_campaign(campaign)
    assert report.findings == []
    assert report.judged == N_MUTANTS == sum(report.outcomes.values())
    assert set(report.kinds) == set(KINDS)
    assert report.outcomes["verdict"] > N_MUTANTS / 10
    assert report.peak_mb < PEAK_MAX_MB
    # What is in the record is not done again.
    assert run_campaign(campaign).seconds == pytest.approx(report.seconds)


def test_what_breaks_the_law_is_found_and_named(data_dir: Path, tmp_path: Path) -> None:
    campaign = Campaign(
        alerts=data_dir / "alerts",
        folder=tmp_path,
        mutants=100,
        workers=1,
        decoder="tests.fuzz.test_fuzz:leaky_decoder",
    )
    report = run_campaign(campaign)
    assert not report.sound
    assert {finding["number"] for finding in report.findings} == {7, 8, 57, 58}
    assert all("KeyError" in f["what"] or "SystemError" in f["what"] for f in report.findings)
    entries = [json.loads(line) for line in (tmp_path / "record.jsonl").read_text("utf-8").splitlines()]
    assert sum(len(entry["findings"]) for entry in entries) == len(report.findings)
