# SPDX-License-Identifier: BSD-3-Clause
"""From verdicts through a real store to `broker-plugin similar`."""

from __future__ import annotations

import json
import time
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from broker_plugin.cli import main
from broker_plugin.codec.verdict import Tense, Verdict
from broker_plugin.engine.scorer import Scorer
from broker_plugin.pipeline.assembly import FilterRecipe
from broker_plugin.pipeline.memory import MemoryRecipe
from broker_plugin.pipeline.recents import P_VALUE_MAX, Recents
from broker_plugin.records import Access
from broker_plugin.store.address import StoreAddress
from broker_plugin.store.base import Change
from broker_plugin.store.merging import merge
from broker_plugin.store.recent import SLOT_S, recents_in, slot_keys, withdrawn_in, withdrawn_keys
from broker_plugin.streams.base import Message
from tests.broker_plugin.brokers.sample import lsst_packets
from tests.broker_plugin.client.verdicts import a_verdict, retraction_of

PUBLIC = frozenset({Access.PUBLIC})


def recipe(folder: Path, tense: Tense = Tense.CURRENT, *, hours: float = 12.0) -> FilterRecipe:
    memory = MemoryRecipe.of(f"sqlite:{folder / 'store'}", timeout_s=30, similar_hours=hours)
    return FilterRecipe(device="cpu", tense=tense, memory=memory)


def test_the_strange_of_a_stream_are_found_by_those_they_are_like(
    native_packets: list[bytes], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    messages = [
        Message(topic="alerts", partition=0, offset=n, value=value) for n, value in enumerate(native_packets)
    ]
    made = recipe(tmp_path)
    memory = made.recollection()
    assert memory is not None
    alert_filter = made.filter(made.scorer(), memory=memory)
    verdicts = [verdict for judgement in alert_filter.judge(messages) for verdict in judgement.verdicts]
    memory.close()
    assert all(verdict.embedding is None for verdict in verdicts)  # they are for the store alone
    strange = {v.object_id: v for v in verdicts if v.anomaly_p_value <= P_VALUE_MAX}
    assert len(strange) > 3
    (of, *_) = sorted(strange)
    capsys.readouterr()
    with pytest.raises(SystemExit) as done:
        main(["similar", of, "--store", f"sqlite:{tmp_path / 'store'}", "--json", "--n", "3"])
    assert done.value.code == 0
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len(found) == 3
    assert {each["object_id"] for each in found} <= strange.keys() - {of}
    cosines = [each["cosine"] for each in found]
    assert cosines == sorted(cosines, reverse=True)
    vectors = {v.object_id: np.array(v.embedding) for v in embedded(native_packets)}
    likest = max(strange.keys() - {of}, key=lambda other: float(vectors[of] @ vectors[other]))
    # Half precision moves a cosine by some 1e-4, and an object may have several alerts.
    assert cosines[0] >= float(vectors[of] @ vectors[likest]) - 1e-3
    damage_oldest_slot(tmp_path / "store", made.scorer().bundle.digest)
    with pytest.raises(SystemExit) as done:
        main(["similar", "ztf:ZTF00nobodyy", "--store", f"sqlite:{tmp_path / 'store'}"])
    assert done.value.code == 2
    said = capsys.readouterr().err
    assert "look further back with --hours" in said
    assert "passed over 1 of" in said


def test_what_is_withdrawn_is_noted_whatever_its_retraction_says(tmp_path: Path) -> None:
    clock, sky = [1000.0], [strange(n) for n in range(3)]
    recents = Recents(access=PUBLIC, hours=12.0, now=lambda: clock[0])
    by_another_bundle = retraction_of(sky[1], anomaly_p_value=0.9, bundle_digest="another")
    replayed = retraction_of(sky[2], tense=Tense.ARCHIVAL)
    with closing(StoreAddress(text=f"sqlite:{tmp_path / 'store'}").open()) as store:
        for verdicts in (sky, [retraction_of(sky[0])], [by_another_bundle], [replayed], sky[:1]):
            updates = recents.updates(verdicts)
            held = dict(zip(updates, store.fetch([*updates]), strict=True))
            assert merge(store, updates, held=held) == set()
            clock[0] += SLOT_S
        keys = slot_keys(sky[0].bundle_digest, PUBLIC, now=clock[0], hours=1.0)
        kept = [each.alert_key for slot in store.fetch(keys) for each in recents_in(slot)]
        noted = store.fetch(withdrawn_keys(PUBLIC, now=clock[0], hours=1.0))
    assert frozenset().union(*map(withdrawn_in, noted)) == {sky[0].alert_key, sky[1].alert_key}
    # The first came again: what is noted stands. No retraction is kept as if it were an alert.
    assert sorted(kept) == sorted(each.alert_key for each in [*sky, sky[0]])


def strange(number: int) -> Verdict:
    return a_verdict(number, tense=Tense.CURRENT, anomaly_p_value=0.01, embedding=(1.0, 0.0))


def test_what_a_survey_withdraws_is_found_no_more(
    data_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sources = [(packet["diaSource"], packet) for packet in lsst_packets(data_dir)]
    packets = {source["diaSourceId"]: packet for source, packet in sources if source["diaObjectId"]}
    made = recipe(tmp_path)
    memory = made.recollection()
    assert memory is not None
    alert_filter = made.filter(made.scorer(), memory=memory)

    def judged(withdrawn_mjd_tai: float | None, *alert_ids: int) -> list[Verdict]:
        mark = {"timeWithdrawnMjdTai": withdrawn_mjd_tai}
        sent = [packets[n] | {"diaSource": packets[n]["diaSource"] | mark} for n in alert_ids]
        messages = [
            Message(topic="alerts", partition=0, offset=n, value=b"", packet=packet)
            for n, packet in enumerate(sent)
        ]
        return [verdict for judgement in alert_filter.judge(messages) for verdict in judgement.verdicts]

    kept = {v.object_id: v.alert_id for v in judged(None, *packets) if v.anomaly_p_value <= P_VALUE_MAX}
    assert len(kept) > 3
    of, gone, *_ = sorted(kept)
    (retraction,) = judged(70_000.0, kept[gone])
    memory.close()
    assert retraction.is_retraction
    store = ["--store", f"sqlite:{tmp_path / 'store'}"]
    capsys.readouterr()
    with pytest.raises(SystemExit):
        main(["similar", of, "--json", "--n", "1000", *store])
    found = {json.loads(line)["object_id"] for line in capsys.readouterr().out.splitlines()}
    assert found == kept.keys() - {of, gone}
    with pytest.raises(SystemExit) as done:
        main(["similar", gone, *store])
    assert done.value.code == 2
    assert f"{gone} is not among the {len(kept) - 1} alerts that were kept and stand" in " ".join(
        capsys.readouterr().err.split()
    )


def damage_oldest_slot(path: Path, bundle_digest: str) -> None:
    """Cut a slot of some hours ago."""
    (*_, oldest) = slot_keys(bundle_digest, frozenset({Access.PUBLIC}), now=time.time(), hours=11)
    with closing(StoreAddress(text=f"sqlite:{path}").open()) as store:
        assert store.swap([Change(key=oldest, seen=b"", value=b"cut", ttl_s=3600.0)]) == [True]


def embedded(packets: list[bytes]) -> list[Verdict]:
    scorer = Scorer.open("default", device="cpu", embeddings=True)
    messages = [
        Message(topic="alerts", partition=0, offset=n, value=value) for n, value in enumerate(packets)
    ]
    judgements = FilterRecipe(device="cpu").filter(scorer).judge(messages)
    return [verdict for judgement in judgements for verdict in judgement.verdicts]


@pytest.mark.parametrize(("tense", "hours"), [(Tense.ARCHIVAL, 12.0), (Tense.CURRENT, 0.0)])
def test_replays_and_streams_that_were_not_asked_keep_none(
    native_packets: list[bytes], tmp_path: Path, tense: Tense, hours: float
) -> None:
    made = recipe(tmp_path, tense, hours=hours)
    memory = made.recollection()
    assert memory is not None
    scorer = made.scorer()
    alert_filter = made.filter(scorer, memory=memory)
    messages = [
        Message(topic="alerts", partition=0, offset=n, value=value)
        for n, value in enumerate(native_packets[:40])
    ]
    for _ in range(2):
        alert_filter.judge(messages)
    keys = slot_keys(scorer.bundle.digest, frozenset({Access.PUBLIC}), now=time.time(), hours=1)
    assert not any(recents_in(value) for value in memory.store.fetch(keys))
    memory.close()
