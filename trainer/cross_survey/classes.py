# SPDX-License-Identifier: BSD-3-Clause
"""Which class of another catalogue is measured as which of ours.

ASAS
    By what Catalina put into its classes: contact and beta Lyrae binaries are one, all pulsating red giants
    and supergiants are long-period variables, spotted, chemically peculiar and ellipsoidal stars rotate.
    What has no counterpart is strange to the bundle, or should be.
ZTF
    The labels that catalogues give objects, as they were put together beside the alerts. Labels that leave
    two classes open are left out; cataclysmic and symbiotic stars have no counterpart.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from trainer.predictions import MERGED

__all__ = ["ASAS", "ZTF", "Kind", "Mapped"]


class Kind(StrEnum):
    """What is done with an object."""

    MEASURED = "measured"
    ODD = "odd"
    LEFT_OUT = "left_out"


@dataclass(frozen=True, slots=True, kw_only=True)
class Mapped:
    """A catalogue's classes by ours.

    Parameters
    ----------
    measured
        By names of `MERGED`, the catalogue's classes.
    odd
        Classes that the bundle does not know, to be found as anomalies.
    open_labels
        Labels that do not decide between two of ours.
    """

    measured: Mapping[str, Sequence[str]]
    odd: Sequence[str]
    open_labels: Sequence[str] = ()

    def kind(self, label: str) -> Kind:
        """Return what is done with an object of a class."""
        if any(label in labels for labels in self.measured.values()):
            return Kind.MEASURED
        return Kind.ODD if label in self.odd else Kind.LEFT_OUT

    def positions(self, labels: Sequence[str]) -> NDArray[np.int64]:
        """Return the position in `MERGED` of each class, -1 where there is none.

        Examples
        --------
        >>> ASAS.positions(["Mira", "Classical_Cepheid"])
        array([ 5, -1])
        """
        names = list(MERGED)
        position = {each: names.index(name) for name, spelt in self.measured.items() for each in spelt}
        return np.array([position.get(each, -1) for each in labels], np.int64)


ASAS = Mapped(
    measured={
        "ECL": ("W_Ursae_Maj", "Beta_Lyrae"),
        "EA": ("Beta_Persei",),
        "RRAB": ("RR_Lyrae_FM",),
        "RRC": ("RR_Lyrae_FO",),
        "ROT": ("RS_CVn", "ChemPeculiar", "Ellipsoidal"),
        "LPV": ("Mira", "Semireg_PV", "SARG_A", "SARG_B", "LSP", "RSG"),
        "DSCT": ("Delta_Scuti", "SX_Phe"),
    },
    odd=(
        *("RR_Lyrae_DM", "PopII_Cepheid", "Classical_Cepheid", "MultiMode_Cepheid", "RV_Tauri"),
        *("Beta_Cephei", "Pulsating_Be", "RCB", "S_Doradus"),
        *("Weakline_T_Tauri", "ClassT_Tauri", "Herbig_AEBE"),
    ),
)

ZTF = Mapped(
    measured={
        "ECL": ("EW", "EW/EB"),
        "EA": ("EA",),
        "RRAB": ("RRAB",),
        "RRC": ("RRC",),
        "ROT": ("ROT",),
        "LPV": ("M", "SR", "SR/M", "L(SR-like)"),
        "DSCT": ("DSCT", "HADS"),
    },
    odd=("CV/other",),
    open_labels=("E?", "RR(ab/c?)"),
)
