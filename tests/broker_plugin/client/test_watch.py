# SPDX-License-Identifier: BSD-3-Clause
"""A watch list finds what lies in its cones, all of it and nothing else, wherever on the sky."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker_plugin.client import Cone, WatchList
from broker_plugin.errors import ConfigurationError
from broker_plugin.store.sky import separation_arcsec

EDGE = 1e-6
"""Relative distance from a cone's edge within which two formulae may disagree by rounding."""

places = st.tuples(
    st.one_of(st.sampled_from([0.0, 359.99999, 360.0, 180.0]), st.floats(0.0, 360.0)),
    st.one_of(st.sampled_from([-90.0, 90.0, 89.9999, 0.0]), st.floats(-90.0, 90.0)),
)
radii = st.one_of(st.floats(0.1, 10.0), st.floats(10.0, 3600.0 * 170.0))


@given(cones=st.lists(st.tuples(places, radii), max_size=8), place=places)
def test_it_agrees_with_the_distances_one_by_one(
    cones: list[tuple[tuple[float, float], float]], place: tuple[float, float]
) -> None:
    watch = WatchList(
        Cone(ra_deg=ra, dec_deg=dec, radius_arcsec=radius, name=str(number))
        for number, ((ra, dec), radius) in enumerate(cones)
    )
    found = set(watch.matches("ztf:ZTF1", *place))
    for number, (centre, radius) in enumerate(cones):
        distance = separation_arcsec(*place, *centre)
        if abs(distance - radius) > EDGE * radius:
            assert (str(number) in found) == (distance < radius)


@given(
    place=places, bearing=st.floats(0.0, 2 * np.pi), share=st.floats(0.0, 0.999), radius=st.floats(0.5, 60.0)
)
def test_what_lies_within_the_radius_is_found(
    place: tuple[float, float], bearing: float, share: float, radius: float
) -> None:
    ra, dec = np.radians(place[0]), np.radians(place[1])
    east = np.array([-np.sin(ra), np.cos(ra), 0.0])
    north = np.array([-np.sin(dec) * np.cos(ra), -np.sin(dec) * np.sin(ra), np.cos(dec)])
    centre = np.array([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)])
    angle = np.radians(share * radius / 3600.0)
    moved = np.cos(angle) * centre + np.sin(angle) * (np.cos(bearing) * north + np.sin(bearing) * east)
    watch = WatchList([Cone(ra_deg=place[0], dec_deg=place[1], radius_arcsec=radius, name="it")])
    where = (
        np.degrees(np.arctan2(moved[1], moved[0])) % 360.0,
        np.degrees(np.arcsin(np.clip(moved[2], -1, 1))),
    )
    # Near a pole arcsin rounds to some 1e-8 rad, a few milliarcsec.
    if share * radius < radius - 0.01:
        assert watch.matches("lsst:1", *where) == ["it"]


def test_among_half_a_million_cones_each_is_found_by_looking_at_few(rng: np.random.Generator) -> None:
    n = 500_000
    ra, dec = rng.uniform(0.0, 360.0, n), np.degrees(np.arcsin(rng.uniform(-1.0, 1.0, n)))
    names = [str(number) for number in range(n)]
    watch = WatchList.from_columns(ra_deg=ra, dec_deg=dec, radius_arcsec=np.full(n, 2.0), names=names)
    for number in rng.integers(0, n, 2000).tolist():
        assert str(number) in watch.matches(
            "ztf:ZTF1", ra[number], dec[number] + 1.0 / 3600.0 * (dec[number] < 89)
        )
    assert len(watch) == n


def test_objects_are_known_with_and_without_their_survey() -> None:
    watch = WatchList(object_ids=["ZTF18abcdefg", "lsst:42"])
    assert watch.matches("ztf:ZTF18abcdefg", 0.0, 0.0) == ["ZTF18abcdefg"]
    assert watch.matches("lsst:42", 0.0, 0.0) == ["lsst:42"]
    assert watch.matches("ztf:42", 0.0, 0.0) == []
    assert watch.matches("lsst:sso:42", 0.0, 0.0) == []


@pytest.mark.parametrize(
    ("written", "object_id"),
    [
        ("ztf18abcdefg", "ztf:ZTF18abcdefg"),
        (" ZTF:ZTF18abcdefg ", "ztf:ZTF18abcdefg"),
        ("ZTF:ztf18ABCDEFG", "ztf:ZTF18abcdefg"),
        ("LSST:313887541670409012", "lsst:313887541670409012"),
        ("sso:42", "lsst:sso:42"),
    ],
)
def test_a_name_in_another_case_is_the_same_name(written: str, object_id: str) -> None:
    assert len(WatchList(object_ids=[written]).matches(object_id, 0.0, 0.0)) == 1


@pytest.mark.parametrize(
    "written",
    ["", "M31", "a,b", "ZTF18abcdefg,ZTF18abcdefh", "ZTF18abc", "ztf:42", "lsst:ZTF18abcdefg", "-4"],
)
def test_what_no_object_is_called_is_refused(written: str) -> None:
    with pytest.raises(ConfigurationError, match="is no object's name; write one, such as ZTF18abcdefg"):
        WatchList(object_ids=["ZTF18abcdefg", written])


@pytest.mark.parametrize("written", ["3.13887541670409012e+17", "313887541670409012.0", "3e17", "lsst:42."])
def test_a_number_that_lost_digits_is_refused_with_the_reason(written: str) -> None:
    with pytest.raises(ConfigurationError, match=r"floating-point.* save names as text"):
        WatchList(object_ids=[written])


def test_an_object_is_called_what_its_list_calls_it() -> None:
    place = Cone(ra_deg=10.0, dec_deg=5.0, radius_arcsec=2.0, name="my nova")
    watch = WatchList([place], {"ztf18abcdefg": "my nova", "ZTF18abcdefh": ""})
    assert watch.matches("ztf:ZTF18abcdefg", 10.0, 5.0) == ["my nova"]
    assert watch.matches("ztf:ZTF18abcdefh", 0.0, 0.0) == ["ZTF18abcdefh"]


def test_two_lists_are_one() -> None:
    one = WatchList([Cone(ra_deg=1.0, dec_deg=1.0, radius_arcsec=1.0)], ["1"])
    other = WatchList([Cone(ra_deg=2.0, dec_deg=2.0, radius_arcsec=9.0, name="B")], {"2": "mine"})
    both = one | other
    assert len(both) == 4
    assert both.matches("lsst:2", 2.0, 2.0) == ["mine", "B"]
    assert both.matches("ztf:c", 1.0, 1.0) == ["1.000000,+1.000000"]


@pytest.mark.parametrize(
    ("ra", "dec", "radius"),
    [
        (10.0, 91.0, 1.0),
        (400.0, 1.0, 1.0),
        (-1.0, 1.0, 1.0),
        (float("nan"), 0.0, 1.0),
        (10.0, float("nan"), 1.0),
        (1.0, 1.0, 0.0),
        (1.0, 1.0, 1e9),
    ],
)
def test_an_impossible_cone_is_named(ra: float, dec: float, radius: float) -> None:
    good = Cone(ra_deg=1.0, dec_deg=1.0, radius_arcsec=1.0)
    with pytest.raises(ConfigurationError, match=r"cone 2 \(odd\)"):
        WatchList([good, Cone(ra_deg=ra, dec_deg=dec, radius_arcsec=radius, name="odd")])


@pytest.mark.parametrize("text", ["", "1,2", "1,2,3,4", "a,b,c"])
def test_what_is_no_cone_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match="RA,DEC,RADIUS"):
        Cone.parse(text)
