# SPDX-License-Identifier: BSD-3-Clause
"""Packets put together again from the rows that brokers keep of them.

Brokers take packets apart: into tables, data points, flattened properties. What the survey adapters read of a
packet is stated in their tables of fields, so that these fields are all that has to be found again; what a
broker does not keep is missing, as it may be in any packet.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from broker_plugin.surveys import lsst_fields, ztf_fields
from broker_plugin.surveys.base import Packet
from broker_plugin.surveys.fields import Field, Kind, RecordTable

__all__ = ["Row", "lsst_packet", "ztf_packet"]

Row = Mapping[str, Any]
"""One measurement with the survey's names of its fields; values as Python, numpy or pandas hold them."""


def lsst_packet(
    source: Row, *, previous: Iterable[Row] = (), forced: Iterable[Row] = (), dia_object: Row | None = None
) -> Packet:
    """Return the LSST packet of an alert.

    Parameters
    ----------
    source
        The `diaSource` that triggered the alert.
    previous, forced
        Rows of `prvDiaSources` and `prvDiaForcedSources`.
    dia_object
        The `diaObject`, which names the object where the source does not.

    Examples
    --------
    >>> source = {"diaSourceId": np.int64(7), "ra": 1.5, "snr": 9.0}
    >>> packet = lsst_packet(source, previous=[{"diaSourceId": 6}])
    >>> packet["diaSource"], packet["prvDiaSources"]
    ({'ra': 1.5, 'diaSourceId': 7}, [{'diaSourceId': 6}])
    """
    return {
        lsst_fields.SOURCE.path: _record(source, lsst_fields.SOURCE),
        lsst_fields.SOURCES.path: [_record(row, lsst_fields.SOURCES) for row in previous],
        lsst_fields.FORCED.path: [_record(row, lsst_fields.FORCED) for row in forced],
        lsst_fields.DIA_OBJECT.path: None
        if dia_object is None
        else _record(dia_object, lsst_fields.DIA_OBJECT),
    }


def ztf_packet(
    object_name: str, candidate: Row, *, previous: Iterable[Row] = (), forced: Iterable[Row] = ()
) -> Packet:
    """Return the ZTF packet of an alert.

    Parameters
    ----------
    object_name
        ZTF's name of the object, as `ZTF18abcdefg`.
    candidate
        The detection that triggered the alert, with its `candid` and `programid`.
    previous, forced
        Rows of `prv_candidates` and `fp_hists`.

    Examples
    --------
    >>> ztf_packet("ZTF18abcdefg", {"candid": 7, "isdiffpos": "t"})["candidate"]
    {'candid': 7, 'isdiffpos': 't'}
    """
    return {
        "objectId": object_name,
        ztf_fields.CANDIDATE.path: _record(candidate, ztf_fields.CANDIDATE),
        ztf_fields.DETECTIONS.path: [_record(row, ztf_fields.DETECTIONS) for row in previous],
        ztf_fields.FORCED.path: [_record(row, ztf_fields.FORCED) for row in forced],
    }


def _record(row: Row, table: RecordTable) -> dict[str, Any]:
    return {field.path: _value(row[field.path], field) for field in table.fields if field.path in row}


def _value(value: Any, field: Field) -> Any:
    """Return a value as a decoder gives it: numpy's scalars as Python's, an integer as one.

    A column of integers with a gap in it reaches pandas as floats, identifiers above 2**53 rounded. They
    still say that there is one, which is what scoring needs to know; no adapter passes such an identity on.
    """
    plain = value.item() if isinstance(value, np.generic) else value
    if field.kind is Kind.INTEGER and isinstance(plain, float) and plain.is_integer():
        return int(plain)
    return plain
