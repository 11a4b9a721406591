# SPDX-License-Identifier: BSD-3-Clause
"""From a multimodal dataset, built or simulated, to a run.

Alerts are the objects themselves, seen up to some epoch: a window of the light curve, thinned at times, with
the spectrum, the catalogue values and whatever else the object has. Objects without a label take part in
training, where they enter the contrastive loss only, and nowhere else.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from broker_plugin.errors import ConfigurationError
from broker_plugin.records import Access, Alert, AlertBatch, Attachment, LightCurve
from broker_plugin.surveys.sky import galactic_deg
from broker_plugin.taxonomy import CLASSES
from trainer.augment import Measured, alert_of
from trainer.cadence import LSST, ZTF
from trainer.checkpoint import NOTHING_KEPT, Kept, Run, save_run
from trainer.config import Settings
from trainer.data.catalina import file_digest
from trainer.data.objects import SPLITS, ObjectRow, iter_objects
from trainer.data.objects import alert_of as whole_alert_of
from trainer.data.splits import Split
from trainer.data.stars import N_PHASES, StarTable, folded_profile, write_stars
from trainer.encoders import fitted_specs
from trainer.plans import Plan
from trainer.preparation import Prepared, prepare
from trainer.sets import ExampleSet, tokens_of

__all__ = [
    "ATTACHMENT_PREFIX",
    "UNUSED",
    "ObjectAlerts",
    "keep_stars",
    "prepare_labelled",
    "prepare_objects",
    "star_table",
]

ATTACHMENT_PREFIX = "attachment_"
"""A list column of this name and more is an attachment of the alerts, for a modality that reads it."""

UNUSED = -1
"""Split of objects without a label that do not belong to training or validation."""

FAINT_SHARE = 0.5
"""Share of alerts in which the epochs nearest the mean flux are no detections."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectAlerts:
    """Alerts of the objects of a dataset."""

    rows: Sequence[ObjectRow]
    stars: StarTable
    attachments: Mapping[str, Sequence[Attachment | None]]
    specs: Mapping[str, Mapping[str, Any]]

    def make(self, plan: Plan, start: int) -> ExampleSet:
        """Return the alerts of a part of a plan; each follows from the seed and its number alone."""
        alerts = [
            self.alert(
                int(star),
                np.random.default_rng((plan.seed, 2, start + position)),
                n_epochs=int(n_epochs),
                alert_id=start + position,
            )
            for position, (star, n_epochs) in enumerate(zip(plan.star, plan.n_epochs, strict=True))
        ]
        batch = AlertBatch.from_alerts(alerts)
        return ExampleSet(
            star=plan.star,
            label=self.stars.label[plan.star],
            n_epochs=batch.n_epochs,
            oddity=np.zeros(len(plan.star), np.int8),
            tokens=tokens_of(batch, self.specs),
        )

    def alert(self, position: int, rng: np.random.Generator, *, n_epochs: int, alert_id: int) -> Alert:
        """Return an alert of an object with at most `n_epochs` epochs."""
        row = self.rows[position]
        attached = {
            name: each for name, column in self.attachments.items() if (each := column[position]) is not None
        }
        if row.light_curve is None or len(row.light_curve) == 0:
            return replace(whole_alert_of(row), alert_id=alert_id, attachments=attached)
        alert = alert_of(
            self.stars,
            position,
            _measured(row.light_curve, rng, n_epochs=n_epochs),
            LSST if row.source == LSST.name else ZTF,
            rng,
            n_epochs=n_epochs,
            alert_id=alert_id,
            dimming_mag=0.0,
        )
        return replace(
            alert,
            survey=row.source,
            metadata=dict(row.metadata),
            spectrum=row.spectrum,
            attachments=attached,
        )


def prepare_labelled(
    settings: Settings,
    source: Path,
    out: Path,
    *,
    say: Callable[[str], None],
    kept: Kept = NOTHING_KEPT,
) -> Prepared:
    """Read a dataset, or the light curves in the data folder; see `prepare_objects` and `prepare`."""
    read = prepare_objects if source.is_file() else prepare
    return read(settings, source, out, say=say, kept=kept)


def prepare_objects(
    settings: Settings,
    path: Path,
    out: Path,
    *,
    say: Callable[[str], None],
    kept: Kept = NOTHING_KEPT,
    saved: bool = True,
) -> Prepared:
    """Read a dataset, fit the scalers on its training split and write what is fixed for the run.

    Parameters
    ----------
    saved
        As for `prepare`.

    Raises
    ------
    ConfigurationError
        If the file is not such a dataset, or its training split is empty.
    """
    # Only light curves of a catalogue of stars are made odd.
    left_alone = settings.data.model_copy(update={"odd_share": 0.0})
    settings = settings.model_copy(update={"data": left_alone})
    rows = list(iter_objects(path))
    digest = file_digest(path)
    split = np.array([SPLITS.index(row.split) for row in rows], np.int8)
    names = _class_names(rows, split)
    label = np.array([names.index(row.label) if row.label in names else -1 for row in rows], np.int64)
    split[(label < 0) & (split > Split.VALIDATION)] = UNUSED
    train = np.flatnonzero(split == Split.TRAIN)
    if len(train) == 0 or not (split == Split.VALIDATION).any():
        raise ConfigurationError(f"{path} has no objects to train or to validate on; build it with splits")
    attachments = _attachments(path)
    stars = star_table(rows, label)
    sample = AlertBatch.from_alerts(whole_alert_of(rows[each]) for each in train)
    specs = fitted_specs(settings, sample, kept=kept.specs)
    counts = np.bincount(label[train][label[train] >= 0], minlength=len(names))
    shares = counts / counts.sum() if counts.any() else np.full(len(names), 1 / len(names))
    simulated = any(row.simulated for row in rows)
    run = Run(
        settings=settings,
        specs=specs,
        classes=names,
        class_prior=f"{path.stem}-train",
        frequencies=tuple(float(share) for share in shares),
        data={
            "file": path.name,
            "sha256": digest,
            "simulated": simulated,
            "objects": len(rows),
            "unlabelled": int((label < 0).sum()),
            "objects_by_split": {each.name.lower(): int((split == each).sum()) for each in Split},
            "train_objects_by_class": {name: int(count) for name, count in zip(names, counts, strict=True)},
            **kept.data,
        },
    )
    if saved:
        save_run(run, out)
    cache = out / "cache"
    keep_stars(stars, digest, cache)
    marked = ", SIMULATED" if simulated else ""
    say(f"{len(rows):,} objects from {path}{marked}, {run.data['unlabelled']:,} without a label")
    maker = ObjectAlerts(rows=rows, stars=stars, attachments=attachments, specs=specs)
    return Prepared(run=run, stars=stars, split=split, cache=cache, make=maker.make)


def keep_stars(stars: StarTable, digest: str, cache: Path) -> None:
    """Write the objects for worker processes and later commands, if they are not there already."""
    marker = cache / "stars.sha256"
    if not (marker.is_file() and marker.read_text() == digest):
        write_stars(stars, cache / "stars.npz")
        marker.write_text(digest)


def _class_names(rows: Sequence[ObjectRow], split: NDArray[np.int8]) -> tuple[str, ...]:
    """Return the classes that can be learned, in the taxonomy's order; all of them if nothing is labelled."""
    known = {row.label for row, code in zip(rows, split, strict=True) if code == Split.TRAIN}
    names = tuple(entry.name for entry in CLASSES if entry.name in known)
    return names or tuple(entry.name for entry in CLASSES)


def _measured(curve: LightCurve, rng: np.random.Generator, *, n_epochs: int) -> Measured:
    """Return a window of a light curve, from which the alert is then cut."""
    flux = curve.flux_njy.astype(np.float64)
    reference = _band_medians(curve)
    last = int(rng.integers(min(n_epochs, len(curve)) - 1, len(curve)))
    inside = np.arange(max(0, last + 1 - n_epochs * int(rng.integers(1, 4))), last + 1)
    if len(inside) > n_epochs and rng.random() < 0.5:
        inside = np.sort(np.append(rng.choice(inside[:-1], n_epochs - 1, replace=False), last))
    difference = np.abs(flux - reference)[inside]
    faintest = np.quantile(difference, rng.uniform(0.0, 0.6)) if rng.random() < FAINT_SHARE else 0.0
    detected = difference >= faintest
    detected[-1] = True
    return Measured(
        mjd=curve.mjd_tai[inside],
        band=curve.band[inside],
        flux_njy=flux[inside],
        flux_err_njy=curve.flux_err_njy[inside].astype(np.float64),
        reference_njy=reference[inside],
        detected=detected,
    )


def _band_medians(curve: LightCurve) -> NDArray[np.float64]:
    """Return each epoch's reference: the median flux of its band."""
    reference = np.zeros(len(curve))
    for band in np.unique(curve.band):
        rows = curve.band == band
        reference[rows] = np.median(curve.flux_njy[rows])
    return reference


def star_table(rows: Sequence[ObjectRow], label: NDArray[np.int64]) -> StarTable:
    """Return the objects as stars of one band: what analogues and odd light curves are made from."""
    curves = [row.light_curve if row.light_curve is not None else LightCurve.empty() for row in rows]
    position = np.array([(row.ra_deg, row.dec_deg) for row in rows], np.float64)  # NaN where unknown
    galactic = np.stack(galactic_deg(*position.reshape(-1, 2).T), axis=1)
    period = np.array([row.period_day or 0.0 for row in rows])
    level = [_band_medians(curve) for curve in curves]
    usual = [float(np.median(each)) if len(each) else 1.0 for each in level]
    usual = [each if each > 0 else 1.0 for each in usual]
    scale = [
        np.where(each > 0, centre / np.where(each > 0, each, 1.0), 1.0)
        for each, centre in zip(level, usual, strict=True)
    ]
    flux = [np.asarray(curve.flux_njy * by, np.float64) for curve, by in zip(curves, scale, strict=True)]
    error = [np.asarray(curve.flux_err_njy * by, np.float64) for curve, by in zip(curves, scale, strict=True)]
    profile = [
        folded_profile(curve.mjd_tai, each / centre - 1, noise / centre, days)
        if days and len(curve)
        else np.zeros(N_PHASES)
        for curve, each, noise, centre, days in zip(curves, flux, error, usual, period.tolist(), strict=True)
    ]
    nothing = [np.zeros(0)]
    return StarTable(
        star_id=np.array([row.object_id for row in rows]),
        label=label,
        ra_deg=position[:, 0],
        dec_deg=position[:, 1],
        gal_lon_deg=galactic[:, 0],
        gal_lat_deg=galactic[:, 1],
        period_day=period,
        mean_mag=31.4 - 2.5 * np.log10(np.array(usual)),
        mjd=np.concatenate(nothing + [curve.mjd_tai for curve in curves]),
        flux_njy=np.concatenate(nothing + flux).astype(np.float32),
        flux_err_njy=np.concatenate(nothing + error).astype(np.float32),
        offsets=np.concatenate([[0], np.cumsum([len(curve) for curve in curves])]).astype(np.int64),
        profile=np.array(profile, np.float32),
    )


def _attachments(path: Path) -> dict[str, list[Attachment | None]]:
    """Return the further inputs that the file holds, by name."""
    names = [name for name in pq.read_schema(path).names if name.startswith(ATTACHMENT_PREFIX)]
    table: pa.Table = pq.read_table(path, columns=names)
    return {
        name.removeprefix(ATTACHMENT_PREFIX): [
            None if values is None else Attachment(values=np.array(values, np.float32), access=Access.PUBLIC)
            for values in table.column(name).to_pylist()
        ]
        for name in names
    }
