# SPDX-License-Identifier: BSD-3-Clause
"""A dataset built from a made-up sky with known answers, and from real surveys."""

from __future__ import annotations

import itertools
import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from broker_plugin.errors import ConfigurationError
from broker_plugin.records import AlertBatch
from tests.support.artefacts import REPOSITORY
from tests.trainer.made_surveys import (
    NEIGHBOURS,
    RUNNER,
    TWINS,
    config,
    no_bar,
    positions,
    write_spectrum,
    write_surveys,
)
from tests.trainer.test_objects import assert_same
from trainer.cli import make_app
from trainer.crossmatch import pipeline
from trainer.crossmatch.pipeline import CARD, CARD_MARKDOWN, OBJECTS, SKY_MAP, build
from trainer.crossmatch.settings import BuildSettings, read_build_settings
from trainer.crossmatch.spectra import signal_to_noise
from trainer.data import objects
from trainer.data.catalina import file_digest
from trainer.data.objects import ObjectRow, alerts_of, card_digest_of, iter_objects

RESULTS = (OBJECTS, CARD, CARD_MARKDOWN, SKY_MAP)

BUILD = """
import sys
from pathlib import Path
from tests.trainer.made_surveys import no_bar
from trainer.crossmatch.pipeline import build
from trainer.crossmatch.settings import read_build_settings
data, out = map(Path, sys.argv[1:])
build(read_build_settings(data / "build.toml"), data, out, say=print, bar=no_bar)
"""
"""The build in a process of its own, to be killed."""


def settings_of(folder: Path, text: str) -> BuildSettings:
    path = folder / "build.toml"
    path.write_text(text)
    return read_build_settings(path)


def built(data: Path, out: Path, text: str) -> dict[str, ObjectRow]:
    said: list[str] = []
    path = build(settings_of(data, text), data, out, say=said.append, bar=no_bar)
    return {row.object_id: row for row in iter_objects(path)}


def card_of(out: Path) -> dict[str, object]:
    found: dict[str, object] = json.loads((out / CARD).read_text("utf-8"))
    return found


@pytest.fixture
def sky(tmp_path: Path, rng: np.random.Generator) -> Path:
    """Folder of the made-up surveys."""
    write_surveys(tmp_path / "data", rng)
    return tmp_path / "data"


def star(number: int) -> str:
    return f"curves:{100 + number}"


def test_a_star_that_moves_20_arcsec_is_matched_only_with_its_proper_motion(
    sky: Path, tmp_path: Path
) -> None:
    moving = built(sky, tmp_path / "a", config(motion=True))
    assert moving[star(RUNNER)].spectrum is not None
    assert "spectra:b" not in moving
    still = built(sky, tmp_path / "b", config(motion=False))
    assert still[star(RUNNER)].spectrum is None
    assert still["spectra:b"].spectrum is not None
    assert still["spectra:b"].light_curve is None
    # A wide radius would find it without, which is not how it should be found.
    wide = built(sky, tmp_path / "c", config(motion=False, radius=25.0))
    assert wide[star(RUNNER)].spectrum is not None


def test_what_is_not_measured_is_null_and_the_object_stays(sky: Path, tmp_path: Path) -> None:
    rows = built(sky, tmp_path / "a", config())
    assert rows[star(0)].light_curve is None  # its only epoch is at an impossible time
    assert rows[star(0)].spectrum is not None  # across the seam of right ascension
    assert star(1) not in rows  # four epochs and nothing else
    first = rows[star(2)].light_curve
    assert first is not None
    assert len(first) == 37
    assert set(rows[star(2)].metadata) == {"gal_lon_deg", "gal_lat_deg"}  # its magnitude is a sentinel
    # Magnitudes are single precision in the file.
    assert rows[star(4)].metadata["ps1_g_mag"] == pytest.approx(14.5, abs=1e-5)
    assert rows["spectra:e"].label is None
    assert rows["spectra:e"].published_label is None
    assert rows["spectra:e"].period_day is None
    assert rows["spectra:e"].source == "spectra"
    assert rows[star(10)].label is None  # a class that the taxonomy does not know
    assert rows[star(10)].published_label == "AGN"
    assert rows[star(11)].label == "LPV"
    assert not any(row.simulated for row in rows.values())
    kept = built(sky, tmp_path / "b", config(extra="keep_without_measurements = true"))
    assert set(kept) - set(rows) == {star(1)}


def test_the_best_of_two_spectra_is_kept(sky: Path, tmp_path: Path) -> None:
    spectrum = built(sky, tmp_path / "a", config())[star(4)].spectrum
    assert spectrum is not None
    assert signal_to_noise(spectrum) > 10  # 20 by construction; the nearer one has 2
    assert spectrum.inverse_variance[0] == 0


def test_one_star_listed_twice_is_merged_and_two_stars_are_not(sky: Path, tmp_path: Path) -> None:
    rows = built(sky, tmp_path / "a", config())
    assert star(TWINS[1]) not in rows
    twin = rows[star(TWINS[0])].light_curve
    assert twin is not None
    assert len(twin) == 80
    assert (np.diff(twin.mjd_tai) > 0).all()
    assert rows[star(TWINS[0])].label is None  # two lists, two classes
    assert rows[star(TWINS[0])].published_label == "RRab | RRc"
    one, other = (rows[star(number)] for number in NEIGHBOURS)
    assert one.split == other.split
    funnel = card_of(tmp_path / "a")["funnel"]
    assert isinstance(funnel, dict)
    assert funnel["objects merged into another"] == 1
    assert funnel["objects that share a sky group with another"] == 2


@pytest.mark.parametrize("seed", range(5))
def test_neighbours_share_a_split_whatever_the_seed(sky: Path, tmp_path: Path, seed: int) -> None:
    text = config().replace("seed = 4", f"seed = {seed}")
    rows = built(sky, tmp_path / "a", text)
    assert len({rows[star(number)].split for number in NEIGHBOURS}) == 1
    assert len({row.split for row in rows.values()}) > 1


def test_ambiguous_matches_are_counted_and_go_to_the_nearest(sky: Path, tmp_path: Path) -> None:
    rows = built(sky, tmp_path / "a", config(radius=4.5))
    assert (
        card_of(tmp_path / "a")["sources"][2]["matching"][  # type: ignore[index]
            "with several objects within the radius; the nearest was taken"
        ]
        == 0
    )
    ra, dec = positions()
    near = NEIGHBOURS[1]
    write_spectrum(sky / "spectra/f.fits", ra[near], dec[near] - 1 / 3600, rng=np.random.default_rng(1))
    again = built(sky, tmp_path / "a", config(radius=4.5))
    assert (
        card_of(tmp_path / "a")["sources"][2]["matching"][  # type: ignore[index]
            "with several objects within the radius; the nearest was taken"
        ]
        == 1
    )
    assert rows[star(near)].spectrum is None
    assert again[star(near)].spectrum is not None
    assert again[star(NEIGHBOURS[0])].spectrum is None


def test_two_spectra_of_a_new_star_are_one_object(sky: Path, tmp_path: Path) -> None:
    write_spectrum(sky / "spectra/f.fits", 200.0, 80.0 + 1 / 3600, rng=np.random.default_rng(1), noise=0.01)
    rows = built(sky, tmp_path / "a", config())
    spectrum = rows["spectra:e"].spectrum
    assert spectrum is not None
    assert signal_to_noise(spectrum) > 50  # 100 by construction; the other has 20
    assert "spectra:f" not in rows


def test_a_mistake_in_the_configuration_is_said_by_its_name(tmp_path: Path) -> None:
    text = config().replace('match = "position"', 'match = "postion"')
    with pytest.raises(ConfigurationError, match=r"no\. 3 \(spectra\): .* 'position'$") as refusal:
        settings_of(tmp_path, text)
    for internal in ("https://", "type=", "input_value", "BuildSettings"):
        assert internal not in str(refusal.value)
    assert "\n  match of [[sources]] no. 3 (spectra): " in str(refusal.value)
    missing = config().replace('id = "source"', 'identity = "source"')
    with pytest.raises(ConfigurationError, match=r"columns\.id of \[\[sources\]\] no\. 2 \(motions\): "):
        settings_of(tmp_path, missing)
    with pytest.raises(ConfigurationError, match="is not TOML"):
        settings_of(tmp_path, "name =")
    with pytest.raises(ConfigurationError, match="--config"):
        read_build_settings(tmp_path / "absent.toml")


def test_a_column_that_is_there_twice_is_named(sky: Path, tmp_path: Path) -> None:
    table = pq.read_table(sky / "curves.parquet")
    pq.write_table(table.append_column("ra", table["ra"]), sky / "curves.parquet")
    with pytest.raises(ConfigurationError, match=r"curves\.parquet has several columns ra; leave one$"):
        built(sky, tmp_path / "a", config())


def test_columns_that_know_the_answer_change_nothing(
    sky: Path, tmp_path: Path, rng: np.random.Generator
) -> None:
    before = built(sky, tmp_path / "a", config())
    table = pq.read_table(sky / "curves.parquet")
    for name in ("amp", "vmag", "lc_p95_p5", "gcvs_type"):
        shuffled = table[name].take(rng.permutation(len(table)))
        table = table.set_column(table.schema.get_field_index(name), name, shuffled)
    pq.write_table(table, sky / "curves.parquet")
    after = built(sky, tmp_path / "b", config())
    assert list(before) == list(after)
    for one, other in zip(before.values(), after.values(), strict=True):
        assert_same(one, other)


@pytest.mark.parametrize(
    "column", ["amp", "vmag", "n", "lc_p95_p5", "name", "gcvs_type", "astrom3_class_proxy"]
)
def test_columns_that_know_the_answer_cannot_be_inputs(tmp_path: Path, column: str) -> None:
    text = config().replace('ps1_g_mag = "gmag"', f'reference_mag = "{column}"')
    with pytest.raises(ConfigurationError, match="cannot be inputs"):
        settings_of(tmp_path, text)


@pytest.mark.parametrize("part", ["ra", "dec", "pm_ra_cosdec_mas_yr", "pm_dec_mas_yr", "epoch_jyear"])
def test_columns_that_know_the_answer_cannot_be_positions(tmp_path: Path, part: str) -> None:
    columns = {"id": "source", "ra": "right", "dec": "declination", part: "vmag"}
    given = ", ".join(f'{name} = "{column}"' for name, column in columns.items())
    text = config(motion=False).replace('id = "source",', f"{given},")
    with pytest.raises(ConfigurationError, match=r"\['vmag'\] .* cannot be inputs"):
        settings_of(tmp_path, text)


def test_a_catalogue_s_period_is_no_metadata(tmp_path: Path) -> None:
    text = config().replace('ps1_g_mag = "gmag"', 'catalogue_period_day = "gmag"')
    with pytest.raises(ConfigurationError, match="as period_day"):
        settings_of(tmp_path, text)


def test_the_card_adds_up_and_the_file_names_it(sky: Path, tmp_path: Path) -> None:
    rows = built(sky, tmp_path / "a", config())
    card = card_of(tmp_path / "a")
    assert card["objects"] == len(rows)
    for table in ("classes", "modalities", "splits"):
        counts = card[table]
        assert isinstance(counts, dict)
        assert sum(sum(by.values()) for by in counts.values()) == len(rows)
    both = [row for row in rows.values() if row.light_curve is not None and row.spectrum is not None]
    counts = card["modalities"]
    assert isinstance(counts, dict)
    assert sum(counts["light curve and spectrum"].values()) == len(both) == 2
    assert card_digest_of(tmp_path / "a" / OBJECTS) == file_digest(tmp_path / "a" / CARD)
    markdown = (tmp_path / "a" / CARD_MARKDOWN).read_text("utf-8")
    assert file_digest(tmp_path / "a" / CARD) in markdown
    assert "assumed to be UTC" in markdown
    assert (tmp_path / "a" / SKY_MAP).read_bytes().startswith(b"\x89PNG")


def test_the_card_gives_the_digest_of_a_file_and_that_of_a_list_of_files(sky: Path, tmp_path: Path) -> None:
    built(sky, tmp_path / "a", config())
    markdown = (tmp_path / "a" / CARD_MARKDOWN).read_text("utf-8")
    for name in ("curves.parquet", "motions.fits"):
        assert f"1 file(s) `{name}`, SHA-256 `{file_digest(sky / name)}`" in markdown
    assert "`spectra/*.fits`, SHA-256 of the list of files `" in markdown


def test_objects_score_as_alerts(sky: Path, tmp_path: Path) -> None:
    rows = built(sky, tmp_path / "a", config())
    batch = AlertBatch.from_alerts(alerts_of(tmp_path / "a" / OBJECTS))
    assert batch.object_id == tuple(rows)


def test_a_build_that_stopped_while_writing_ends_in_the_same_bytes(
    sky: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(objects, "ROWS_PER_GROUP", 2)
    built(sky, tmp_path / "whole", config())

    rows = pipeline._rows

    def stopping(*args: Any, **kwargs: Any) -> Iterator[ObjectRow]:
        yield from itertools.islice(rows(*args, **kwargs), 5)
        raise KeyboardInterrupt

    with monkeypatch.context() as broken:
        broken.setattr(pipeline, "_rows", stopping)
        with pytest.raises(KeyboardInterrupt):
            built(sky, tmp_path / "stopped", config())
    assert (tmp_path / "stopped" / CARD).exists()
    assert not (tmp_path / "stopped" / OBJECTS).exists()
    said: list[str] = []
    build(settings_of(sky, config()), sky, tmp_path / "stopped", say=said.append, bar=no_bar)
    assert [line for line in said if line.endswith("there already")] == [
        f"read-{name}: there already" for name in ("curves", "motions", "spectra")
    ]
    for name in RESULTS:
        assert (tmp_path / "stopped" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name


def test_a_killed_build_goes_on_and_ends_in_the_same_bytes(sky: Path, tmp_path: Path) -> None:
    built(sky, tmp_path / "whole", config())
    command = [sys.executable, "-c", BUILD, str(sky), str(tmp_path / "killed")]
    process = subprocess.Popen(command, cwd=REPOSITORY, stderr=subprocess.PIPE)
    marker = tmp_path / "killed/stages/read-curves.json"
    while not marker.exists() and process.poll() is None:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    _, errors = process.communicate()
    assert marker.exists(), errors.decode()
    finished = subprocess.run(command, cwd=REPOSITORY, capture_output=True, check=False)
    assert finished.returncode == 0, finished.stderr.decode()
    assert b"read-curves: there already" in finished.stdout
    for name in RESULTS:
        assert (tmp_path / "killed" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name


def test_a_stage_is_made_again_when_its_inputs_or_its_files_changed(sky: Path, tmp_path: Path) -> None:
    def again(text: str) -> list[str]:
        said: list[str] = []
        build(settings_of(sky, text), sky, tmp_path / "a", say=said.append, bar=no_bar)
        return [line.partition(":")[0] for line in said if line.endswith("there already")]

    assert again(config()) == []
    assert again(config()) == ["read-curves", "read-motions", "read-spectra", "objects"]
    assert again(config(extra="combine_light_curves = true")) == [
        "read-curves",
        "read-motions",
        "read-spectra",
    ]
    (tmp_path / "a/parts/motions.parquet").write_bytes(b"torn")
    assert "read-motions" not in again(config())
    (tmp_path / "a" / OBJECTS).unlink()
    assert again(config()) == ["read-curves", "read-motions", "read-spectra"]


def test_the_command_builds(sky: Path, tmp_path: Path) -> None:
    whole = built(sky, tmp_path / "a", config())
    arguments = ["--config", str(sky / "build.toml"), "--data", str(sky), "--out", str(tmp_path / "b")]
    make_app("build")(["build", *arguments], result_action="return_value")
    assert [row.object_id for row in iter_objects(tmp_path / "b" / OBJECTS)] == list(whole)


def real_settings(*names: str, **changes: object) -> BuildSettings:
    settings = read_build_settings(REPOSITORY / "trainer/configs/build.toml")
    chosen = tuple(source for source in settings.sources if source.name in names)
    assert len(chosen) == len(names)
    return settings.model_copy(update={"sources": chosen, **changes})


def test_the_stripe_82_pairs_and_lamost_come_out_whole(data_dir: Path, tmp_path: Path) -> None:
    names = ("stripe82-pairs", "stripe82-photometry", "stripe82-spectra", "lamost")
    path = build(real_settings(*names), data_dir, tmp_path, say=lambda line: None, bar=no_bar)
    rows = list(iter_objects(path))
    pairs = [row for row in rows if row.light_curve is not None]
    assert len(pairs) == 8
    assert len(rows) == 8 + 176
    assert sorted(str(row.label) for row in pairs) == ["RRAB"] * 7 + ["RRC"]
    for row in pairs:
        assert row.spectrum is not None
        assert row.light_curve is not None
        assert row.period_day is not None
        assert set(row.light_curve.band) == {3, 4, 5, 6, 7}
        # Times are right if the star repeats with its period: neighbours in phase are much alike.
        g = row.light_curve.band == 4
        flux = row.light_curve.flux_njy[g][np.argsort(row.light_curve.mjd_tai[g] / row.period_day % 1)]
        steps = np.median(np.abs(np.diff(flux)))
        assert steps < 0.5 * np.median(np.abs(np.diff(row.light_curve.flux_njy[g])))
    lamost = [row for row in rows if row.light_curve is None]
    assert all(row.label is None and row.spectrum is not None and row.ra_deg is not None for row in lamost)
    spectrum = lamost[0].spectrum
    assert spectrum is not None
    # The manifest's range, to the width of a pixel.
    assert spectrum.wave_aa[[0, -1]] == pytest.approx([3699.985, 9088.663], abs=0.5)


def test_catalinas_bad_stars_and_duplicates(data_dir: Path, tmp_path: Path) -> None:
    """The three stars with one impossible epoch lose their light curve, the double entries become one."""
    bad = [3059009015859, 3063025024183, 3063025047964]
    same, other_period = [3027091032716, 3027092032367], [3041061016681, 3041061016860]
    two_classes = [3043109060911, 3043110053666]
    table = pq.read_table(
        data_dir / "lightcurves/catalina_sss.parquet",
        filters=[("id", "in", [*bad, *same, *other_period, *two_classes])],
    )
    assert len(table) == 9
    folder = tmp_path / "data/lightcurves"
    folder.mkdir(parents=True)
    pq.write_table(table, folder / "catalina_sss.parquet")
    settings = real_settings("catalina-sss", keep_without_measurements=True)
    path = build(settings, tmp_path / "data", tmp_path / "out", say=lambda line: None, bar=no_bar)
    rows = {row.object_id.partition(":")[2]: row for row in iter_objects(path)}
    for star_id in bad:
        curve = rows[str(star_id)].light_curve
        assert curve is None or curve.mjd_tai.min() > 50_000
    assert len([star_id for star_id in same if str(star_id) in rows]) == 1
    assert len({rows[str(star_id)].split for star_id in other_period}) == 1
    (doubtful,) = [rows[str(star_id)] for star_id in two_classes if str(star_id) in rows]
    assert doubtful.label is None
    assert "ROT" in str(doubtful.published_label)
    raw = {str(row["id"]): row for row in table.select(["id", "mjd"]).to_pylist()}
    curve = rows[str(other_period[0])].light_curve
    assert curve is not None
    earliest = min(raw[str(other_period[0])]["mjd"])
    # TAI - UTC was 32 s in 2005, 33 s from 2006, 34 s from 2009; times are good to a few microseconds.
    assert round((curve.mjd_tai[0] - earliest) * 86400, 3) in {32.0, 33.0, 34.0}


def test_a_source_that_is_not_there_says_what_to_do(sky: Path, tmp_path: Path) -> None:
    text = config().replace("curves.parquet", "no.parquet")
    with pytest.raises(ConfigurationError, match="--data"):
        built(sky, tmp_path / "a", text)


def test_a_column_that_is_not_there_is_named(sky: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="gmagnitude"):
        built(sky, tmp_path / "a", config().replace('"gmag"', '"gmagnitude"'))
