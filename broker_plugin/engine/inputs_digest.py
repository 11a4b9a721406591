# SPDX-License-Identifier: BSD-3-Clause
"""A digest of all that a verdict reads of an alert: equal digests under one bundle mean equal verdicts."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import fields
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from broker_plugin.records import AlertBatch

__all__ = ["inputs_digests"]

COLUMNS = ("alert_id", "ra_deg", "dec_deg", "mjd_tai", "metadata", "metadata_valid")
"""Columns over alerts that are read, in the order in which they are hashed."""

HEX_DIGITS = 32
"""128 bits of the hash: more than enough to tell alerts apart."""


def inputs_digests(batch: AlertBatch) -> list[str]:
    """Return the digest of each alert of a batch. It does not depend on the other alerts.

    Every column is turned into bytes once for the whole batch; an alert is a join of slices.
    """
    if not len(batch):
        return []
    alerts = np.concatenate([_octets(getattr(batch, name)) for name in COLUMNS], axis=1)
    width, of_alerts = alerts.shape[1], alerts.tobytes()
    columns = [getattr(batch.epochs, column.name) for column in fields(batch.epochs)]
    of_epochs = [(column.dtype.itemsize, memoryview(column.tobytes())) for column in columns]
    offsets = batch.offsets.tolist()
    digests = []
    for row, (begin, end) in enumerate(pairwise(offsets)):
        parts: list[bytes | memoryview] = [
            "\x1f".join(
                (batch.survey[row], batch.object_id[row], batch.source_context[row], *batch.flags[row])
            ).encode(),
            of_alerts[row * width : (row + 1) * width],
            *(octets[size * begin : size * end] for size, octets in of_epochs),
            *_occasional(batch, row),
        ]
        digests.append(hashlib.sha256(b"".join(parts)).hexdigest()[:HEX_DIGITS])
    return digests


def _octets(column: NDArray[np.generic]) -> NDArray[np.uint8]:
    """Return a column's bytes, one row an alert."""
    rows = np.ascontiguousarray(column).reshape(len(column), -1)
    return rows.view(np.uint8)


def _occasional(batch: AlertBatch, row: int) -> Iterator[bytes]:
    """Yield what few alerts have: what a store and a context added, a spectrum, other arrays."""
    if batch.n_stored_epochs[row] is not None:
        yield f"\x1fstored={batch.n_stored_epochs[row]}".encode()
    for source in batch.context_sources[row]:
        yield f"\x1fcontext={source}".encode()
    spectrum = batch.spectra[row]
    if spectrum is not None:
        for values in (spectrum.wave_aa, spectrum.flux, spectrum.inverse_variance):
            yield values.tobytes()
    for name, attachment in sorted(batch.attachments[row].items()):
        yield f"\x1f{name}{attachment.values.shape}".encode()
        yield attachment.values.tobytes()
