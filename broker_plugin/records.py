# SPDX-License-Identifier: BSD-3-Clause
"""The records of the pipeline: an alert, its light curve and spectrum, and a batch of alerts.

Between stages alerts travel as an `AlertBatch`: columns over alerts, and ragged columns over epochs with
offsets. An `Alert` is the view of one row. Survey sentinels never get here: what is missing is `None` in a
record and `False` in a mask.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from enum import IntEnum, StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from broker_plugin.epochs import EpochRows
from broker_plugin.upper_limits import UpperLimits

__all__ = [
    "METADATA_COLUMNS",
    "Access",
    "Alert",
    "AlertBatch",
    "Attachment",
    "LightCurve",
    "Origin",
    "Provenance",
    "QualityFlag",
    "SourceContext",
    "Spectrum",
]

METADATA_COLUMNS: tuple[str, ...] = (
    "gal_lon_deg",
    "gal_lat_deg",
    "reference_mag",
    "reference_distance_arcsec",
    "star_galaxy_score",
    "reliability",
    "ps1_g_mag",
    "ps1_r_mag",
    "ps1_i_mag",
    "ps1_z_mag",
    "solar_system_distance_arcsec",
    "catalogue_period_day",
)
"""Catalogue columns that an alert may carry. A bundle's manifest names those that its metadata encoder reads;
the others are ignored, so that appending one here changes no bundle. `reliability` is 1 for a certain
detection (ZTF drb or rb, LSST reliability); `star_galaxy_score` is 1 for a star (ZTF sgscore1 of a PS1 source
within 1.5 arcsec; no LSST packet says it); `reference_mag` is of the object itself on the reference image
(ZTF: within 1.4 arcsec; LSST: five times its error or more). No packet holds `catalogue_period_day`; context
may."""


class Origin(IntEnum):
    """How a flux was measured."""

    DETECTION = 0
    FORCED = 1


class Access(IntEnum):
    """Who may see an epoch, a spectrum or a context row. Unmarked is private."""

    PRIVATE = 0
    PUBLIC = 1
    PARTNERSHIP = 2
    CALTECH = 3


class SourceContext(StrEnum):
    """What the packet itself says the source is."""

    STELLAR = "stellar"
    GALAXY_HOST = "galaxy_host"
    SOLAR_SYSTEM = "solar_system"
    ARTEFACT = "artefact"
    UNKNOWN = "unknown"


class QualityFlag(StrEnum):
    """Remarks on an alert that a verdict carries along."""

    WITHDRAWN = "withdrawn"
    """The survey retracted the detection that triggered this alert."""
    NO_LIGHT_CURVE = "no_light_curve"
    """No epoch had a usable flux; the verdict rests on the other modalities."""
    DIFFERENCE_FLUX_ONLY = "difference_flux_only"
    """No reference flux is known in any band."""
    HISTORY_AFTER_ALERT = "history_after_alert"
    """Epochs later than the alert itself were left out."""
    EPOCHS_INVALID = "epochs_invalid"
    """Epochs with an impossible time, an unknown band or a non-finite flux were left out."""
    EPOCHS_WITHDRAWN = "epochs_withdrawn"
    """Epochs that the survey retracted were left out."""
    DEGRADED_SCHEMA = "degraded_schema"
    """The survey's schema has lost fields that are used here where they are to be had."""
    STORE_AWAY = "store_away"
    """The store did not answer: the verdict rests on the packet alone."""
    STORE_LEFT_OUT = "store_left_out"
    """With what the store added the alert could not be scored: the verdict rests on the packet alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """Where a message came from. `offset` counts messages in a partition or records in a file."""

    topic: str
    partition: int = 0
    offset: int = 0
    schema: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spectrum:
    """One spectrum on its own wavelength grid (vacuum, angstrom); shape (L,) each."""

    wave_aa: NDArray[np.float64]
    flux: NDArray[np.float32]
    inverse_variance: NDArray[np.float32]
    access: Access = Access.PRIVATE


@dataclass(frozen=True, slots=True, kw_only=True)
class Attachment:
    """An array that comes with an alert, such as an image stamp, for the modality that reads its name."""

    values: NDArray[np.float32]
    access: Access = Access.PRIVATE


@dataclass(frozen=True, slots=True, kw_only=True)
class LightCurve:
    """Columns over epochs, in order of time; all of shape (T,).

    Parameters
    ----------
    mjd_tai
        Mid-exposure time, MJD, TAI.
    flux_njy, flux_err_njy
        Flux and its standard deviation in nJy (AB).
    band
        Code of the passband: position in `taxonomy.PASSBANDS`.
    origin
        `Origin` code.
    apparent
        True where the flux is apparent (difference + reference), False where it is difference flux.
    detector
        Which detector saw the epoch: with time and origin, the identity of an epoch of an object.
    access
        `Access` code.
    """

    mjd_tai: NDArray[np.float64]
    flux_njy: NDArray[np.float32]
    flux_err_njy: NDArray[np.float32]
    band: NDArray[np.int8]
    origin: NDArray[np.int8]
    apparent: NDArray[np.bool_]
    detector: NDArray[np.int32]
    access: NDArray[np.int8]

    def __len__(self) -> int:
        return len(self.mjd_tai)

    def take(self, rows: slice | NDArray[np.intp] | NDArray[np.bool_]) -> LightCurve:
        """Return the epochs at `rows` (a slice gives views, not copies)."""
        return LightCurve(**{column.name: getattr(self, column.name)[rows] for column in fields(self)})

    @classmethod
    def empty(cls) -> LightCurve:
        """Return a light curve without epochs."""
        return cls.from_columns()

    @classmethod
    def from_columns(
        cls,
        *,
        mjd_tai: Iterable[float] = (),
        flux_njy: Iterable[float] = (),
        flux_err_njy: Iterable[float] = (),
        band: Iterable[int] = (),
        origin: Iterable[int] = (),
        apparent: Iterable[bool] = (),
        detector: Iterable[int] = (),
        access: Iterable[int] = (),
    ) -> LightCurve:
        """Make a light curve from sequences of equal length, casting to the column types."""
        return cls(
            mjd_tai=np.asarray(mjd_tai, np.float64),
            flux_njy=np.asarray(flux_njy, np.float32),
            flux_err_njy=np.asarray(flux_err_njy, np.float32),
            band=np.asarray(band, np.int8),
            origin=np.asarray(origin, np.int8),
            apparent=np.asarray(apparent, np.bool_),
            detector=np.asarray(detector, np.int32),
            access=np.asarray(access, np.int8),
        )

    @classmethod
    def concatenate(cls, parts: Sequence[LightCurve]) -> LightCurve:
        """Return the epochs of several light curves behind one another."""
        if not parts:
            return cls.empty()
        return cls(
            **{
                column.name: np.concatenate([getattr(part, column.name) for part in parts])
                for column in fields(cls)
            }
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """One alert of one survey, with its light curve up to and including the alert.

    Parameters
    ----------
    object_id
        `ztf:<objectId>`, `lsst:<diaObjectId>`, else `lsst:sso:<ssObjectId>`, else `lsst:src:<diaSourceId>`:
        also the key of its messages.
    metadata
        Known values by name, of `METADATA_COLUMNS`.
    attachments
        Arrays by name, for modalities beyond light curve, spectrum and metadata.
    rows
        The measurements that the light curve was made of, for joining them to those of other packets; None
        where the object has no history, as in the solar system.
    limits
        Where the survey looked before the alert and detected nothing: of this packet, for candidates only.
    n_stored_epochs
        How many epochs of the light curve a store added; None where none was asked.
    context_sources
        The catalogue rows, `catalogue:source`, that added to metadata or spectrum.
    """

    survey: str
    alert_id: int
    object_id: str
    ra_deg: float
    dec_deg: float
    mjd_tai: float
    light_curve: LightCurve
    metadata: dict[str, float] = field(default_factory=dict)
    spectrum: Spectrum | None = None
    source_context: SourceContext = SourceContext.UNKNOWN
    flags: tuple[QualityFlag, ...] = ()
    provenance: Provenance = Provenance(topic="")
    attachments: Mapping[str, Attachment] = field(default_factory=dict)
    rows: EpochRows | None = None
    limits: UpperLimits = field(default_factory=UpperLimits.empty)
    n_stored_epochs: int | None = None
    context_sources: tuple[str, ...] = ()

    @property
    def alert_key(self) -> str:
        """Identity of the alert across bundles and brokers, safe for JSON readers."""
        return f"{self.survey}:{self.alert_id}"

    def seen_by(self, access: frozenset[Access]) -> Alert:
        """Return the alert without the spectrum and the attachments that `access` may not see.

        Epochs are the adapter's to leave out, since the reference flux of the others may rest on them.
        """
        spectrum = self.spectrum if self.spectrum is None or self.spectrum.access in access else None
        attachments = {name: each for name, each in self.attachments.items() if each.access in access}
        if spectrum is self.spectrum and len(attachments) == len(self.attachments):
            return self
        return replace(self, spectrum=spectrum, attachments=attachments)


@dataclass(frozen=True, slots=True, kw_only=True, weakref_slot=True)
class AlertBatch:
    """Alerts as columns: the currency between stages.

    Parameters
    ----------
    metadata, metadata_valid
        Values in the order of `METADATA_COLUMNS` (0 where missing) and where they are known; shape (B, M).
    epochs
        The epochs of all alerts behind one another; shape (N,) each column.
    offsets
        Alert i has the epochs `offsets[i]:offsets[i + 1]`; shape (B + 1,).
    """

    survey: tuple[str, ...]
    alert_id: NDArray[np.int64]
    object_id: tuple[str, ...]
    ra_deg: NDArray[np.float64]
    dec_deg: NDArray[np.float64]
    mjd_tai: NDArray[np.float64]
    metadata: NDArray[np.float32]
    metadata_valid: NDArray[np.bool_]
    epochs: LightCurve
    offsets: NDArray[np.int64]
    spectra: tuple[Spectrum | None, ...]
    source_context: tuple[SourceContext, ...]
    flags: tuple[tuple[QualityFlag, ...], ...]
    provenance: tuple[Provenance, ...]
    attachments: tuple[Mapping[str, Attachment], ...]
    n_stored_epochs: tuple[int | None, ...]
    context_sources: tuple[tuple[str, ...], ...]

    def __len__(self) -> int:
        return len(self.alert_id)

    def __iter__(self) -> Iterator[Alert]:
        return (self[row] for row in range(len(self)))

    def __getitem__(self, row: int) -> Alert:
        known = self.metadata_valid[row]
        return Alert(
            survey=self.survey[row],
            alert_id=int(self.alert_id[row]),
            object_id=self.object_id[row],
            ra_deg=float(self.ra_deg[row]),
            dec_deg=float(self.dec_deg[row]),
            mjd_tai=float(self.mjd_tai[row]),
            light_curve=self.epochs.take(slice(self.offsets[row], self.offsets[row + 1])),
            metadata={
                name: float(value)
                for name, value, valid in zip(METADATA_COLUMNS, self.metadata[row], known, strict=True)
                if valid
            },
            spectrum=self.spectra[row],
            source_context=self.source_context[row],
            flags=self.flags[row],
            provenance=self.provenance[row],
            attachments=self.attachments[row],
            n_stored_epochs=self.n_stored_epochs[row],
            context_sources=self.context_sources[row],
        )

    @property
    def n_epochs(self) -> NDArray[np.int64]:
        """Number of epochs of each alert, shape (B,)."""
        return np.diff(self.offsets)

    @classmethod
    def from_alerts(cls, alerts: Iterable[Alert]) -> AlertBatch:
        """Gather alerts into columns.

        Examples
        --------
        >>> batch = AlertBatch.from_alerts([])
        >>> len(batch), batch.offsets
        (0, array([0]))
        """
        rows = list(alerts)
        metadata = np.zeros((len(rows), len(METADATA_COLUMNS)), np.float32)
        valid = np.zeros(metadata.shape, np.bool_)
        for row, alert in enumerate(rows):
            for name, value in alert.metadata.items():
                column = METADATA_COLUMNS.index(name)
                metadata[row, column] = value
                valid[row, column] = True
        lengths = [len(alert.light_curve) for alert in rows]
        return cls(
            survey=tuple(alert.survey for alert in rows),
            alert_id=np.array([alert.alert_id for alert in rows], np.int64),
            object_id=tuple(alert.object_id for alert in rows),
            ra_deg=np.array([alert.ra_deg for alert in rows], np.float64),
            dec_deg=np.array([alert.dec_deg for alert in rows], np.float64),
            mjd_tai=np.array([alert.mjd_tai for alert in rows], np.float64),
            metadata=metadata,
            metadata_valid=valid,
            epochs=LightCurve.concatenate([alert.light_curve for alert in rows]),
            offsets=np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]).astype(np.int64),
            spectra=tuple(alert.spectrum for alert in rows),
            source_context=tuple(alert.source_context for alert in rows),
            flags=tuple(alert.flags for alert in rows),
            provenance=tuple(alert.provenance for alert in rows),
            attachments=tuple(alert.attachments for alert in rows),
            n_stored_epochs=tuple(alert.n_stored_epochs for alert in rows),
            context_sources=tuple(alert.context_sources for alert in rows),
        )

    def take(self, rows: NDArray[np.intp]) -> AlertBatch:
        """Return the alerts at `rows`, in that order.

        Examples
        --------
        >>> len(AlertBatch.from_alerts([]).take(np.array([], np.intp)))
        0
        """
        lengths = self.n_epochs[rows]
        offsets = np.concatenate([[0], np.cumsum(lengths)])
        within = np.arange(offsets[-1]) - np.repeat(offsets[:-1], lengths)
        picked: dict[str, Any] = {
            "epochs": self.epochs.take(np.repeat(self.offsets[rows], lengths) + within),
            "offsets": offsets,
        }
        for column in fields(self):
            values = getattr(self, column.name)
            if isinstance(values, tuple):
                picked[column.name] = tuple(values[row] for row in rows.tolist())
            elif column.name not in picked:
                picked[column.name] = values[rows]
        return replace(self, **picked)

    @classmethod
    def concatenate(cls, parts: Sequence[AlertBatch]) -> AlertBatch:
        """Return the alerts of several batches behind one another.

        Examples
        --------
        >>> len(AlertBatch.concatenate([]))
        0
        """
        if len(parts) == 1:
            return parts[0]
        if not parts:
            return cls.from_alerts([])
        lengths = np.concatenate([part.n_epochs for part in parts])
        joined: dict[str, Any] = {
            "epochs": LightCurve.concatenate([part.epochs for part in parts]),
            "offsets": np.concatenate([[0], np.cumsum(lengths)]),
        }
        for column in fields(cls):
            values = [getattr(part, column.name) for part in parts]
            if isinstance(values[0], tuple):
                joined[column.name] = tuple(value for part in values for value in part)
            elif column.name not in joined:
                joined[column.name] = np.concatenate(values)
        return replace(parts[0], **joined)
