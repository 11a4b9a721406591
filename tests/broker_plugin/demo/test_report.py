# SPDX-License-Identifier: BSD-3-Clause
"""The report shows every object that was scored and no other, and needs nothing but itself."""

import csv
import re
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from broker_plugin.demo.cards import Profiles, object_links
from broker_plugin.demo.findings import Playback, found_limit, rank_objects
from broker_plugin.demo.report import REPORT_NAME, render_report, write_report
from broker_plugin.demo.sections import CARDS
from broker_plugin.demo.simulator import Night
from broker_plugin.demo.targets import TARGET_COLUMNS, TARGETS_NAME
from broker_plugin.errors import ConfigurationError
from tests.support.full_disk import full_disk

VOID = {"meta", "br", "link", "img", "input", "hr"}


class Page(HTMLParser):
    """Collects tags with their attributes, and the text; notes tags that are not closed in order."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.open: list[str] = []
        self.crossed: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.crossed.append(tag)

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.words.append(data)

    def named(self, name: str) -> Iterator[dict[str, str | None]]:
        return (attributes for tag, attributes in self.tags if tag == name)

    @property
    def text(self) -> str:
        return " ".join(self.words)


@pytest.fixture(scope="module")
def page(playback: Playback, profiles: Profiles) -> Page:
    return Page(render_report(playback, profiles))


@pytest.fixture(scope="module")
def real_page(playback: Playback, profiles: Profiles) -> Page:
    return Page(render_report(replace(playback, night=None), profiles))


def test_every_tag_is_closed_in_order(page: Page, real_page: Page) -> None:
    for one in (page, real_page):
        assert one.crossed == []
        assert one.open == []


def test_the_page_loads_nothing(page: Page, playback: Playback, profiles: Profiles) -> None:
    names = {tag for tag, _ in page.tags}
    assert names.isdisjoint({"script", "link", "img", "iframe", "object", "embed", "base"})
    assert all("src" not in attributes and "srcset" not in attributes for _, attributes in page.tags)
    html = render_report(playback, profiles)
    assert "@import" not in html
    assert not re.search(r"url\s*\(", html)


def test_every_scored_object_is_shown_and_no_other(
    page: Page, playback: Playback, small_night: Night
) -> None:
    scored = {verdict.object_id for verdict in playback.verdicts}
    shown = {name for name in small_night.objects if re.search(rf"{re.escape(name)}(?!\d)", page.text)}
    assert shown == scored
    assert scored < set(small_night.objects)  # one object was left out, to see that it is not drawn


def test_the_books_are_on_the_page(page: Page, playback: Playback, profiles: Profiles) -> None:
    assert f"{playback.played} in = {len(playback.verdicts)} verdicts + 1 dead letter " in page.text
    lost = Page(render_report(replace(playback, played=playback.played + 3), profiles))
    assert f"{playback.played + 3} in ≠ {len(playback.verdicts)} verdicts" in lost.text
    assert "nothing was lost" not in lost.text


def test_planted_oddities_are_listed_found_and_missed(
    page: Page, playback: Playback, small_night: Night
) -> None:
    for thing in small_night.planted.values():
        assert thing.source.planted
        assert thing.source.planted in page.text
    assert page.text.count("✓ found") + page.text.count("✗ missed") == len(small_night.planted)
    assert f"among the {found_limit(len(small_night.planted))} strangest" in page.text


def test_the_strangest_have_cards_in_order(page: Page, playback: Playback) -> None:
    ranked = rank_objects(playback.verdicts)[:CARDS]
    cards = [attributes["id"] for attributes in page.named("article")]
    assert cards == [f"rank-{scored.rank}" for scored in ranked]
    assert all(scored.verdict.explanation in page.text for scored in ranked)


def test_every_chart_has_an_alternative_text(page: Page) -> None:
    charts = [a for a in page.named("svg") if a.get("aria-hidden") != "true"]
    assert len(charts) > CARDS
    assert all(chart.get("role") == "img" and chart.get("aria-label") for chart in charts)


def test_a_simulation_says_so_and_links_nowhere(page: Page) -> None:
    assert "SIMULATED NIGHT" in page.text
    assert all(not (a.get("href") or "").startswith("http") for a in page.named("a"))


def test_real_alerts_carry_no_banner_and_link_to_the_brokers(real_page: Page) -> None:
    assert "SIMULATED" not in real_page.text
    assert "planted" not in real_page.text.lower()
    assert "simulated as" not in real_page.text.lower()
    targets = [a.get("href") or "" for a in real_page.named("a")]
    for site in ("alerce.online", "fink-portal.org", "lasair", "simbad"):
        assert any(site in target for target in targets)


def test_what_came_from_a_message_is_escaped(page: Page, playback: Playback, profiles: Profiles) -> None:
    assert "<b>nothing</b>" in page.text  # as text, not as a tag
    assert "b" not in {tag for tag, _ in page.tags}
    hostile = playback.verdicts[0]._replace(object_id='ztf:<i onload="x">', explanation="<script>")
    html = render_report(replace(playback, night=None, verdicts=(hostile,), played=2), profiles)
    assert "<script>" not in html
    assert "<i onload" not in html


def test_bundle_and_provider_are_named(page: Page, playback: Playback) -> None:
    verdict = playback.verdicts[0]
    assert verdict.bundle_digest in page.text
    assert verdict.provider in page.text


def test_an_empty_night_has_a_page(playback: Playback, profiles: Profiles) -> None:
    nothing = replace(playback, night=None, verdicts=(), dead_letters=(), origins=(), played=0, seconds=0.0)
    page = Page(render_report(nothing, profiles))
    assert "0 in = 0 verdicts + 0 dead letters" in page.text


def test_targets_are_ranked_and_complete(playback: Playback, profiles: Profiles, report_folder: Path) -> None:
    path = write_report(report_folder, playback, profiles)
    assert path == report_folder / REPORT_NAME
    with (report_folder / TARGETS_NAME).open(encoding="utf-8", newline="") as handle:
        rows = list(csv.DictReader(handle))
    assert tuple(rows[0]) == TARGET_COLUMNS
    ranked = rank_objects(playback.verdicts)
    assert [row["object_id"] for row in rows] == [scored.verdict.object_id for scored in ranked]
    for row, scored in zip(rows, ranked, strict=True):
        verdict = scored.verdict
        # Seven decimals of a degree: a third of a milliarcsecond.
        assert float(row["ra_deg"]) == pytest.approx(verdict.ra_deg, abs=1e-7)
        assert float(row["dec_deg"]) == pytest.approx(verdict.dec_deg, abs=1e-7)
        assert float(row["anomaly_p_value"]) == pytest.approx(verdict.anomaly_p_value, rel=1e-5)  # 6 digits
        assert row["top_class"] == (verdict.top_class or "")
        assert row["why"] == verdict.explanation
        assert row["tense"] == "test"
    html = path.read_text("utf-8")
    assert f'href="{TARGETS_NAME}"' in html


def test_links_fit_the_kind_of_object(playback: Playback) -> None:
    one = playback.verdicts[0]
    ztf = dict(object_links(one._replace(survey="ztf", object_id="ztf:ZTF18abcdefg")))
    lsst = dict(object_links(one._replace(survey="lsst", object_id="lsst:313875416785879049")))
    moving = dict(object_links(one._replace(survey="lsst", object_id="lsst:sso:211636116952")))
    assert ztf["ALeRCE"].endswith("/ZTF18abcdefg")
    assert "313875416785879049" in lsst["Fink"]
    assert list(moving) == ["SIMBAD"]  # brokers' object pages go by diaObjectId


def test_a_full_disk_leaves_no_half_report(
    playback: Playback, profiles: Profiles, report_folder: Path
) -> None:
    write_report(report_folder, replace(playback, verdicts=playback.verdicts[:3]), profiles)
    before = {path: path.read_bytes() for path in report_folder.iterdir()}
    with full_disk(100_000), pytest.raises(ConfigurationError, match=r"cannot write .*make room"):
        write_report(report_folder, playback, profiles)
    assert {path: path.read_bytes() for path in report_folder.iterdir()} == before
