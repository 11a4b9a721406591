# SPDX-License-Identifier: BSD-3-Clause
"""Watch lists as people keep them are read, and what is wrong with one is said."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from astropy import units
from astropy.coordinates import Angle
from astropy.table import MaskedColumn, Table
from hypothesis import given
from hypothesis import strategies as st

from broker_plugin.client import read_watch_list
from broker_plugin.client.watch_columns import angle
from broker_plugin.errors import ConfigurationError

separators = st.sampled_from([":", " "])


@pytest.mark.parametrize(
    "text",
    [
        "name,ra,dec,radius\nM,10.5,-5.25,3\n",
        "# exported yesterday\nname,RA,Dec,radius_arcsec\nM,10.5,-5.25,3\n",
        '\ufeff"dec","ra","note","name","radius"\n-5.25,10.5,"a, b","M",3.0\n\n',
        "name,RAJ2000,DEJ2000,radius\nM,10.5,-5.25,3\n",
    ],
)
def test_cones_from_csv(tmp_path: Path, text: str) -> None:
    path = tmp_path / "mine.csv"
    path.write_text(text, "utf-8")
    watch = read_watch_list(path)
    assert watch.matches("ztf:x", 10.5, -5.25 + 2.9 / 3600) == ["M"]
    assert watch.matches("ztf:x", 10.5, -5.25 + 3.1 / 3600) == []


@pytest.mark.parametrize("mark", [";", "\t"])
def test_cones_from_vizier_s_text(tmp_path: Path, mark: str) -> None:
    lines = [
        "#",
        "#   VizieR Astronomical Server",
        "#Column;_RAJ2000;(F11.7)",
        "",
        "_RAJ2000;_DEJ2000;RAJ2000;DEJ2000;Name;radius",
        'deg;deg;"h:m:s";"d:m:s"; ;arcmin',
        "-----------;-----------;-----------;-----------;----;------",
        "010.5000000;-05.2500000;00 42 00.00;-05 15 00.0;M   ;  0.05",
        "030.0000000;+05.0000000;02 00 00.00;+05 00 00.0;N   ;      ",
        "",
        "#END#",
    ]
    path = tmp_path / "mine.csv"
    path.write_text("".join(f"{line}\n".replace(";", mark) for line in lines))
    watch = read_watch_list(path, radius_arcsec=1.0)
    assert len(watch) == 2
    assert watch.matches("ztf:x", 10.5, -5.25 + 2.9 / 3600) == ["M"]
    assert watch.matches("ztf:x", 10.5, -5.25 + 3.1 / 3600) == []
    assert watch.matches("ztf:x", 30.0, 5.0) == ["N"]


@pytest.mark.parametrize("mark", [";", "\t"])
@pytest.mark.parametrize("units", [";", " ; ", ""])
def test_vizier_s_text_of_columns_without_units_keeps_its_first_row(
    tmp_path: Path, mark: str, units: str
) -> None:
    lines = ["#", "", "object_id;Type", units, "------------;----", "ZTF18abcdefg;x", "ZTF18abcdefh;y", "x;z"]
    path = tmp_path / "mine.csv"
    path.write_text("".join(f"{line}\n".replace(";", mark) for line in lines[:-1]))
    watch = read_watch_list(path)
    assert len(watch) == 2
    assert all(watch.matches(f"ztf:{name}", 0.0, 0.0) for name in ("ZTF18abcdefg", "ZTF18abcdefh"))
    path.write_text("".join(f"{line}\n".replace(";", mark) for line in lines))
    with pytest.raises(ConfigurationError, match="line 8 of"):
        read_watch_list(path)


def test_objects_and_cones_in_one_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    path.write_text("object_id,ra,dec\nZTF18abcdefg,,\nlsst:7,10,20\n,30,40\n")
    watch = read_watch_list(path, radius_arcsec=5.0)
    assert len(watch) == 4
    assert watch.matches("ztf:ZTF18abcdefg", 0, 0) == ["ZTF18abcdefg"]
    assert watch.matches("ztf:other", 10, 20 + 4 / 3600) == ["lsst:7"]


@pytest.mark.parametrize(
    ("column", "radius"),
    [
        ("radius_arcmin", "0.05"),
        ("Radius [arcmin]", "0.05"),
        ("radius (deg)", "0.000833333"),
        ("radius_deg", "0.000833333"),
        ("Radius [arcsec]", "3"),
    ],
)
def test_a_radius_in_the_unit_that_its_column_says(tmp_path: Path, column: str, radius: str) -> None:
    path = tmp_path / "mine.csv"
    path.write_text(f"ra,dec,{column},half_light_radius\n10.5,-5.25,{radius},7\n")
    watch = read_watch_list(path)
    assert watch.matches("ztf:x", 10.5, -5.25 + 2.9 / 3600)
    assert not watch.matches("ztf:x", 10.5, -5.25 + 3.1 / 3600)


def test_names_are_given_out_and_anybodys_name_of_a_place_is_one(tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    path.write_text("object,name,ra,dec\nztf18abcsatf,my nova,,\nM31,,10.6847,41.2690\n")
    watch = read_watch_list(path)
    assert watch.matches("ztf:ZTF18abcsatf", 0, 0) == ["my nova"]
    assert watch.matches("ztf:x", 10.6847, 41.2690) == ["M31"]


@pytest.mark.parametrize(
    ("column", "ra", "wanted"),
    [
        ("ra", [1.0, 2.5, 13.0, 23.9, 0.1], True),
        ("ra", [1.0, 2.5, 24.1, 23.9, 0.1], False),
        ("ra", [10.68], False),
        ("ra_deg", [1.0, 2.5, 13.0, 23.9, 0.1], False),
    ],
)
def test_right_ascensions_that_may_be_hours_are_said(
    tmp_path: Path, column: str, ra: list[float], wanted: bool
) -> None:
    path = tmp_path / "mine.csv"
    path.write_text(f"{column},dec\n" + "".join(f"{each},5\n" for each in ra))
    said: list[str] = []
    read_watch_list(path, warn=said.append)
    assert ["call the column ra_hours" in each for each in said] == [True] * wanted


def test_a_votable_with_units_and_ucds(tmp_path: Path) -> None:
    table = Table()
    table["id"] = ["a", "b"]
    table["alpha"] = MaskedColumn([0.7, 2.0], unit=units.hourangle)
    table["delta"] = MaskedColumn([-5.25, 5.0], unit=units.deg)
    table["radius"] = MaskedColumn([0.05, 0.0], unit=units.arcmin, mask=[False, True])
    table["main_id"] = ["M-1", "M-2"]
    table["alpha"].meta["ucd"] = "pos.eq.ra;meta.main"
    table["delta"].meta["ucd"] = "pos.eq.dec;meta.main"
    path = tmp_path / "mine.vot"
    from astropy.io.votable import from_table

    votable = from_table(table)
    for field in votable.get_first_table().fields:
        if field.name in ("alpha", "delta"):
            field.ucd = f"pos.eq.{'ra' if field.name == 'alpha' else 'dec'};meta.main"
    votable.to_xml(str(path))
    watch = read_watch_list(path, radius_arcsec=1.0)
    assert watch.matches("ztf:x", 10.5, -5.25 + 2.9 / 3600) == ["M-1"]
    assert watch.matches("ztf:x", 30.0, 5.0 + 0.9 / 3600) == ["M-2"]
    assert watch.matches("ztf:x", 30.0, 5.0 + 1.1 / 3600) == []


VIZIER = """<?xml version="1.0" encoding="UTF-8"?>
<VOTABLE version="1.4" xmlns="http://www.ivoa.net/xml/VOTable/v1.3"><RESOURCE><TABLE name="II/x/t">
{fields}
<FIELD name="RAJ2000" ucd="pos.eq.ra;meta.main" datatype="char" arraysize="*" unit="&quot;h:m:s&quot;"/>
<FIELD name="DEJ2000" ucd="pos.eq.dec;meta.main" datatype="char" arraysize="*" unit="&quot;d:m:s&quot;"/>
<FIELD name="Name" ucd="meta.id;meta.main" datatype="char" arraysize="*"/><DATA><TABLEDATA>
<TR>{row}<TD>00 42 44.330</TD><TD>-41 16 07.50</TD><TD>M</TD></TR>
</TABLEDATA></DATA></TABLE></RESOURCE></VOTABLE>"""

DEGREES = """<FIELD name="_RAJ2000" ucd="pos.eq.ra" datatype="double" unit="deg"/>
<FIELD name="_DEJ2000" ucd="pos.eq.dec" datatype="double" unit="deg"/>"""

MOVED = "<TD>10.69</TD><TD>-41.30</TD>"
"""Elsewhere than the sexagesimal position, to tell which was taken."""


@pytest.mark.parametrize(
    ("name", "text", "place"),
    [
        ("a.vot", VIZIER.format(fields="", row=""), (10.684708, -41.268750)),
        ("a.vot", VIZIER.format(fields=DEGREES, row=MOVED), (10.69, -41.30)),
        (
            "a.csv",
            "RAJ2000,DEJ2000,_RAJ2000,_DEJ2000,name\n00 42 44.33,-41 16 07.5,10.69,-41.30,M\n",
            (10.69, -41.30),
        ),
        ("a.csv", "_RAJ2000,_DEJ2000,RAJ2000,DEJ2000,name\n10,10,10.69,-41.30,M\n", (10.69, -41.30)),
        ("a.csv", "RAJ2000,DEJ2000,name\n00 42 44.33,-41 16 07.5,M\n", (10.684708, -41.268750)),
        ("a.csv", "ra,dec,name\n00:42:44.33,-41:16:07.5,M\n", (10.684708, -41.268750)),
        ("a.csv", "ra,dec,name\n00h42m44.33s,-41d16m07.5s,M\n", (10.684708, -41.268750)),
        ("a.csv", "ra,dec,name\n10d41m4.95s,\u221241\u00b016'07.5\",M\n", (10.684708, -41.268750)),
        ("a.csv", "ra,dec,name\n10.684708,-41 16.125,M\n", (10.684708, -41.268750)),
        ("a.csv", "RA [h],Dec [deg],name\n0.71231387,-41.26875,M\n", (10.684708, -41.268750)),
        ("a.csv", "ra,dec,name\n00:42:44.33,-00:16:07.5,M\n", (10.684708, -0.268750)),
    ],
)
def test_a_position_in_degrees_is_preferred_and_sexagesimal_is_read(
    tmp_path: Path, name: str, text: str, place: tuple[float, float]
) -> None:
    path = tmp_path / name
    path.write_text(text, "utf-8")
    # To 0.1 arcsec: the positions above are rounded to some milliarcsec.
    assert read_watch_list(path, radius_arcsec=0.1).matches("ztf:x", *place) == ["M"]


@given(
    ra_s=st.integers(0, 24 * 3600 * 100 - 1),
    dec_s=st.integers(-90 * 3600 * 10, 90 * 3600 * 10),
    sep=separators,
)
def test_sexagesimal_is_what_astropy_reads(ra_s: int, dec_s: int, sep: str) -> None:
    ra, dec = written(ra_s, 100, sep), ("-" if dec_s < 0 else "+") + written(abs(dec_s), 10, sep)
    wanted = Angle(ra, unit=units.hourangle).deg, Angle(dec, unit=units.deg).deg
    # Rounding of a few additions, in degrees.
    assert (angle(ra, "ra"), angle(dec, "dec")) == pytest.approx(wanted, abs=1e-10)


def written(tics: int, per_second: int, separator: str) -> str:
    minutes, rest = divmod(tics, 60 * per_second)
    return separator.join([f"{minutes // 60:02d}", f"{minutes % 60:02d}", f"{rest / per_second:05.2f}"])


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a.csv", "", "no objects or positions"),
        ("a.csv", "a,b\n1,2\n", "no objects or positions"),
        ("a.csv", "ra,dec\n", "is empty"),
        ("a.csv", "ra,dec\n1,2\n1,x\n", "line 3"),
        ("a.csv", "ra,dec\n1,2\n1,\n", "line 3"),
        ("a.csv", "object_id,name\n,nameless\n", "line 2"),
        ("a.csv", "# mine\nobject_id,ra,dec\n7,,\n,1,99\n", r"line 4 of .*a\.csv has an impossible position"),
        ("a.csv", "ra,dec\n1,2\n400,9\n", "line 3 of .* from 0 to 360"),
        ("a.csv", "ra,dec,radius\n1,2,0\n", "line 2 of .* impossible position or radius"),
        ("a.vot", "<VOTABLE", "is no VOTable"),
        ("a.csv", "object_id\nZTF18abcdefg\nM31\n", "line 3 of .*'M31' is no object's name"),
        ("a.csv", "diaObjectId,name\n3.13875416704090123e+17,a\n", "line 2 of .*floating-point"),
        ("a.csv", "diaObjectId,name\n313875416704090123.0,a\n", "line 2 of .*floating-point"),
        ("a.csv", "ra,dec,radius_mas\n1,2,3\n", "'radius_mas' is no radius .*call it radius_arcsec"),
        ("a.csv", "ra,dec,Search radius\n1,2,3\n", "'Search radius' is no radius"),
        ("a.csv", "ra,dec,radius\n1,2,3 arcsec\n", "line 2 of .*'3 arcsec' in column 'radius' is no angle"),
        ("a.csv", "ra,dec\n00:42:61,+41:16:09\n", "line 2 of .*minutes and seconds end at 60"),
        ("a.csv", "ra,dec\n24:42:44,+41:16:09\n", "impossible position"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, name: str, text: str, said: str) -> None:
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(ConfigurationError, match=said):
        read_watch_list(path)


def test_bytes_that_are_no_text_and_a_file_that_is_not_there(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b"ra,dec\n\xff\xfe" + rng.bytes(100))
    with pytest.raises(ConfigurationError):
        read_watch_list(path)
    with pytest.raises(ConfigurationError, match="cannot read"):
        read_watch_list(tmp_path / "none.csv")
