# SPDX-License-Identifier: BSD-3-Clause
"""Messages to light curves, one by one: fastavro for the whole packet, Python for its rows."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import fastavro
import numpy as np
from numpy.typing import NDArray

from broker_plugin.codec.packets import CONTAINER_MAGIC, FRAME

__all__ = ["decoder", "light_curve"]

AB_ZERO_NJY = 3.631e12
"""Flux of magnitude 0."""

MAG_ERR = 0.4 * np.log(10.0)

Packet = Mapping[str, Any]


def decoder(schemas: Path) -> Callable[[bytes], Packet]:
    """Return what decodes a message, a container file or framed, with all that is in it.

    Parameters
    ----------
    schemas
        Directory of the schemas of framed messages, one file `ID.avsc` each.
    """

    @cache
    def schema_of(number: int) -> Any:
        return fastavro.schema.load_schema(str(schemas / f"{number}.avsc"))

    def decode(value: bytes) -> Packet:
        if value.startswith(CONTAINER_MAGIC):
            packet: Any = next(iter(fastavro.reader(io.BytesIO(value))))
        else:
            _, number = FRAME.unpack_from(value)
            packet = fastavro.schemaless_reader(io.BytesIO(value[FRAME.size :]), schema_of(number), None)
        return packet  # type: ignore[no-any-return]

    return decode


def light_curve(packet: Packet) -> tuple[str, int, NDArray[np.float64]]:
    """Return the object, the alert and its epochs: days, fluxes in nJy and their errors (N, 3).

    Examples
    --------
    >>> source = {"jd": 2.0, "magpsf": 20.0, "sigmapsf": 0.1}
    >>> light_curve({"objectId": "ZTF18a", "candid": 1, "candidate": source})[2].round().tolist()
    [[2.0, 36310.0, 3344.0]]
    """
    if "candidate" in packet:
        rows = [packet["candidate"], *(packet.get("prv_candidates") or ())]
        return packet["objectId"], packet["candid"], _table(_of_magnitude(row) for row in rows)
    rows = [packet["diaSource"]]
    for name in ("prvDiaSources", "prvDiaForcedSources"):
        rows += packet.get(name) or ()
    source = packet["diaSource"]
    epochs = _table((row["midpointMjdTai"], row["psfFlux"], row["psfFluxErr"]) for row in rows)
    return str(source.get("diaObjectId")), source["diaSourceId"], epochs


def _of_magnitude(row: Packet) -> tuple[float | None, float | None, float | None]:
    if row.get("magpsf") is None:
        return None, None, None
    flux = AB_ZERO_NJY * 10.0 ** (-0.4 * row["magpsf"])
    return row["jd"], flux, flux * MAG_ERR * row["sigmapsf"]


def _table(rows: Iterable[tuple[float | None, ...]]) -> NDArray[np.float64]:
    return np.array([row for row in rows if None not in row], np.float64).reshape(-1, 3)
