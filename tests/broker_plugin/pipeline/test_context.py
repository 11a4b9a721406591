# SPDX-License-Identifier: BSD-3-Clause
"""What catalogues and spectra in the store add to an alert, and to whom they may not."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest

from broker_plugin.engine.scorer import Scorer
from broker_plugin.pipeline.assembly import FilterRecipe
from broker_plugin.pipeline.context import Contexts
from broker_plugin.pipeline.memory import MemoryRecipe
from broker_plugin.records import Access, Alert, Spectrum
from broker_plugin.store.base import Change, sealed
from broker_plugin.store.context import SUMMARY_KEY, ContextRow, by_place, merged_rows
from tests.broker_plugin.surveys.packets import lsst_alert, lsst_packet, parts, ztf_alert, ztf_packet

PUBLIC = frozenset({Access.PUBLIC})
ALERT = ztf_alert(ztf_packet(top={"objectId": "ZTF18abc"}))
ARCSEC = 1 / 3600
SPECTRUM = Spectrum(
    wave_aa=np.linspace(4000, 7000, 50),
    flux=np.ones(50, np.float32),
    inverse_variance=np.ones(50, np.float32),
    access=Access.PUBLIC,
)


def row(source: str = "1", *, north_arcsec: float | None = 0.3, **changes: object) -> ContextRow:
    """A public row so far north of the alert, or of the object that it names."""
    made = ContextRow(
        catalogue="gaia", source_id=source, values={"reference_mag": 15.5}, access=Access.PUBLIC
    )
    if north_arcsec is not None:
        made = dataclasses.replace(made, ra_deg=ALERT.ra_deg, dec_deg=ALERT.dec_deg + north_arcsec * ARCSEC)
    return dataclasses.replace(made, **changes)  # type: ignore[arg-type]


def joined(
    alert: Alert, rows: Sequence[ContextRow], *, access: frozenset[Access] = PUBLIC, radius: float = 1.5
) -> Alert:
    values = {key: merged_rows(None, part) for key, part in by_place(rows).items()}
    values[SUMMARY_KEY] = sealed(json.dumps({"gaia": True}).encode())
    contexts = Contexts(access=access, radius_arcsec=radius)
    asked = set(contexts.keys([alert]))
    (recalled,) = contexts.recalled([alert], lambda key: values.get(key) if key in asked else None)
    return recalled


def mag(alert: Alert) -> float | None:
    return alert.metadata.get("reference_mag")


def test_a_row_near_the_alert_or_with_its_name_adds_what_the_packet_lacks() -> None:
    assert mag(ALERT) is None
    near = joined(ALERT, [row()])
    named = joined(ALERT, [row(north_arcsec=None, object_id="ztf:ZTF18abc")])
    assert mag(near) == mag(named) == 15.5
    assert near.context_sources == named.context_sources == ("gaia:1",)
    assert near.metadata == ALERT.metadata | {"reference_mag": 15.5}


def test_the_packet_has_the_last_word_then_the_name_then_the_nearest() -> None:
    own = dataclasses.replace(ALERT, metadata={**ALERT.metadata, "reference_mag": 12.0})
    assert parts(joined(own, [row()])) == parts(own)
    far, near = row("far", north_arcsec=1.0), row("near", north_arcsec=-0.2, values={"reference_mag": 14.0})
    named = row("named", north_arcsec=None, object_id="ztf:ZTF18abc", values={"reference_mag": 13.0})
    for order in ([far, near], [near, far]):
        assert mag(joined(ALERT, order)) == 14.0
        assert joined(ALERT, order).context_sources == ("gaia:near",)
        assert mag(joined(ALERT, [*order, named])) == 13.0
    other = row("other", north_arcsec=1.1, values={"catalogue_period_day": 0.5})
    both = joined(ALERT, [near, other])
    assert (mag(both), both.metadata["catalogue_period_day"]) == (14.0, 0.5)
    assert both.context_sources == ("gaia:near", "gaia:other")


@pytest.mark.parametrize(
    "stranger",
    [
        row(north_arcsec=1.6),
        row(north_arcsec=None, object_id="ztf:ZTF99other"),
        row(access=Access.PRIVATE),
        row(access=Access.PARTNERSHIP),
        row(values={"reference_mag": -999.0, "catalogue_period_day": 0.0}),  # of an older load
    ],
)
def test_what_is_far_of_another_or_not_to_be_seen_changes_nothing(stranger: ContextRow) -> None:
    assert parts(joined(ALERT, [stranger])) == parts(ALERT)


def test_rights_and_radius_are_the_operators() -> None:
    partner = frozenset({Access.PUBLIC, Access.PARTNERSHIP})
    assert mag(joined(ALERT, [row(access=Access.PARTNERSHIP)], access=partner)) == 15.5
    assert mag(joined(ALERT, [row(north_arcsec=9.0)], radius=10.0)) == 15.5


def test_what_moves_takes_nothing_from_its_place() -> None:
    moving = [
        ztf_alert(ztf_packet(ssdistnr=1.0, ssnamenr="Ceres", ssmagnr=12.0)),
        lsst_alert(lsst_packet(diaObjectId=None, ssObjectId=77)),
        lsst_alert(lsst_packet(diaObjectId=None, ssObjectId=None)),
    ]
    for alert in moving:
        at_place = dataclasses.replace(row(), ra_deg=alert.ra_deg, dec_deg=alert.dec_deg)
        named = row("2", north_arcsec=None, object_id=alert.object_id)
        assert parts(joined(alert, [at_place, named])) == parts(alert)


def test_a_spectrum_is_joined_and_the_packets_own_kept() -> None:
    with_spectrum = joined(ALERT, [row(values={}, spectrum=SPECTRUM)])
    assert with_spectrum.spectrum is not None
    np.testing.assert_array_equal(with_spectrum.spectrum.wave_aa, SPECTRUM.wave_aa)
    assert with_spectrum.context_sources == ("gaia:1",)
    own = dataclasses.replace(ALERT, spectrum=SPECTRUM)
    assert joined(own, [row(values={}, spectrum=SPECTRUM)]).spectrum is SPECTRUM


def test_the_digest_covers_context_and_the_verdict_names_it(scorer: Scorer) -> None:
    plain, with_row, other = scorer.score(
        [ALERT, joined(ALERT, [row()]), joined(ALERT, [row(values={"reference_mag": 15.6})])]
    )
    assert len({verdict.inputs_digest for verdict in (plain, with_row, other)}) == 3
    assert (plain.context_sources, with_row.context_sources) == ((), ("gaia:1",))


def test_without_anything_loaded_nothing_is_looked_for() -> None:
    contexts = Contexts(access=PUBLIC)
    assert len(contexts.keys([ALERT])) > 1  # not yet known
    contexts.recalled([ALERT], lambda key: None)
    assert contexts.keys([ALERT]) == [SUMMARY_KEY]
    contexts.recalled([ALERT], lambda key: sealed(b'{"gaia": false}'))  # loaded meanwhile, no spectra
    assert {key[0] for key in contexts.keys([ALERT])} == {"c"}


def test_a_batch_without_an_alert_does_not_hide_what_is_loaded(tmp_path: Path) -> None:
    memory = MemoryRecipe.of(f"sqlite:{tmp_path / 'store'}", timeout_s=30)
    assert memory is not None
    recollection = FilterRecipe(device="cpu", memory=memory).recollection()
    assert recollection is not None
    values = {key: merged_rows(None, part) for key, part in by_place([row()]).items()}
    values[SUMMARY_KEY] = sealed(json.dumps({"gaia": False}).encode())
    recollection.store.swap(
        [Change(key=key, seen=b"", value=value, ttl_s=None) for key, value in values.items()]
    )
    for alerts in ([ALERT], [], [ALERT]):
        recalled = recollection.recall(alerts)
        recollection.remember(alerts, [])
        assert [alert.context_sources for alert in recalled] == [("gaia:1",)] * len(alerts)
    recollection.close()


def test_a_damaged_value_is_left_out_and_counted() -> None:
    contexts = Contexts(access=PUBLIC)
    (recalled,) = contexts.recalled([ALERT], lambda key: b"damaged, whatever the key")
    assert parts(recalled) == parts(ALERT)
    assert contexts.corrupt > 0


def test_what_is_loaded_by_command_is_in_the_verdicts_of_a_replay(data_dir: Path, tmp_path: Path) -> None:
    packet = sorted((data_dir / "alerts/ztf/native").glob("*.avro"))[0]
    store = f"sqlite:{tmp_path / 'store.sqlite'}"

    def command(*arguments: object, status: int = 0) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "broker_plugin", *map(str, arguments)],
            capture_output=True,
            text=True,
            check=False,
            timeout=280,
        )
        assert done.returncode == status, done.stderr
        return done.stderr

    def replayed(name: str) -> dict[str, object]:
        command("replay", packet, "--store", store, "--out", tmp_path / name)
        (verdict,) = [json.loads(line) for line in (tmp_path / name).read_text().splitlines()]
        assert isinstance(verdict, dict)
        return verdict

    before = replayed("before.jsonl")
    table = pa.table(
        {
            "id": ["V1"],
            "ra_deg": [before["ra_deg"]],
            "dec_deg": [before["dec_deg"]],
            "period": [0.57],
        }
    )
    pyarrow.parquet.write_table(table, tmp_path / "vsx.parquet")
    flags = ("--catalogue", "vsx", "--source", "id", "--column", "catalogue_period_day=period")
    load = ("context", "load", tmp_path / "vsx.parquet", *flags, "--access", "public", "--store", store)
    for more, is_left_out in (((), False), ((), True), (("--again",), False)):
        said = command(*load, *more)
        assert "1 kept" in said
        assert ("was loaded before" in said) is is_left_out
        assert "left out" not in said
    without = ("--catalogue", "other", "--source", "id")
    said = command("context", "load", tmp_path / "vsx.parquet", *without, "--store", store, status=1)
    assert "0 kept" in said
    assert "left out of vsx.parquet: 1 row; " in said
    assert "--column OURS=THEIRS" in said
    after = replayed("after.jsonl")
    assert "catalogue period" not in str(before["explanation"])
    assert ("catalogue period 0.57 d" in str(after["explanation"])) == ("light_curve" in after["modalities"])
    assert (before["context_sources"], after["context_sources"]) == ([], ["vsx:V1"])
    assert before["inputs_digest"] != after["inputs_digest"]
    assert before["verdict_id"] == after["verdict_id"]
