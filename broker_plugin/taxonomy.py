# SPDX-License-Identifier: BSD-3-Clause
"""Names of passbands and of classes of variable objects.

A bundle's manifest owns the names of the classes that it predicts; this module only knows how such
names relate: a readable description, the parent kind, and the spellings that catalogues use.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType

__all__ = ["CLASSES", "PASSBANDS", "TAXONOMY", "ClassName", "canonical_class", "passband_code"]


PASSBANDS: tuple[tuple[str, float], ...] = (
    ("ztf_g", 472.3),
    ("ztf_r", 633.9),
    ("ztf_i", 788.6),
    ("lsst_u", 367.1),
    ("lsst_g", 482.7),
    ("lsst_r", 622.3),
    ("lsst_i", 754.6),
    ("lsst_z", 869.1),
    ("lsst_y", 971.2),
    ("johnson_v", 551.0),
)
"""Passband names and effective wavelengths in nm (SVO Filter Profile Service). The position in this tuple
is the band code of a light curve's column, so entries may be appended but never reordered."""

_CODES = MappingProxyType({name: code for code, (name, _) in enumerate(PASSBANDS)})


def passband_code(name: str) -> int:
    """Return the code of a passband, its position in `PASSBANDS`.

    Raises
    ------
    KeyError
        If the passband is not known.

    Examples
    --------
    >>> passband_code("ztf_r")
    1
    """
    return _CODES[name]


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassName:
    """One class of variable object."""

    name: str
    description: str
    parent: str
    synonyms: tuple[str, ...] = ()


TAXONOMY = "astrom3-broker-variables-1"
"""Name of the set of classes below. Another number where a class is added, split or means something else."""

CLASSES: tuple[ClassName, ...] = (
    ClassName(
        name="EW",
        description="contact or semi-detached eclipsing binary",
        parent="eclipsing",
        synonyms=("Ecl_contact_semidetached", "EB", "ECL_CONTACT"),
    ),
    ClassName(
        name="EA",
        description="detached (Algol) eclipsing binary",
        parent="eclipsing",
        synonyms=("EA_detached", "Beta Persei"),
    ),
    ClassName(
        name="RRAB",
        description="RR Lyrae, fundamental mode",
        parent="pulsating",
        synonyms=("RRab", "Blazhko", "RR Lyrae FM"),
    ),
    ClassName(
        name="RRC",
        description="RR Lyrae, first overtone",
        parent="pulsating",
        synonyms=("RRc", "RR Lyrae FO"),
    ),
    ClassName(
        name="RRD",
        description="RR Lyrae, double mode",
        parent="pulsating",
        synonyms=("RRd", "RR Lyrae DM"),
    ),
    ClassName(
        name="CEP",
        description="Cepheid, type II or anomalous",
        parent="pulsating",
        synonyms=("CEPII", "ACEP", "Pop. II Cepheid"),
    ),
    ClassName(
        name="DSCT",
        description="delta Scuti star or high-amplitude delta Scuti star",
        parent="pulsating",
        synonyms=("HADS", "Delta Scuti"),
    ),
    ClassName(
        name="LPV",
        description="long-period variable: Mira or semi-regular",
        parent="pulsating",
        synonyms=("M", "SR", "Mira", "Semireg PV", "RSG"),
    ),
    ClassName(
        name="ROT",
        description="rotating variable: spots or ellipsoidal",
        parent="rotating",
        synonyms=("RS_CVn", "BY_Dra", "ELL"),
    ),
)
"""The classes that the default training set distinguishes (Catalina SSS, Drake et al. 2017)."""

_CANONICAL = MappingProxyType(
    {spelling: entry.name for entry in CLASSES for spelling in (entry.name, *entry.synonyms)}
)

_FOLDED = MappingProxyType({spelling.casefold(): name for spelling, name in _CANONICAL.items()})


def canonical_class(label: str) -> str | None:
    """Return our name for a catalogue's class label, in capitals or not, or None if there is none.

    Examples
    --------
    >>> canonical_class("Ecl_contact_semidetached")
    'EW'
    >>> canonical_class("delta scuti")
    'DSCT'
    >>> canonical_class("AGN") is None
    True
    """
    return _CANONICAL.get(label) or _FOLDED.get(label.casefold())
