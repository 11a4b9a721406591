# SPDX-License-Identifier: BSD-3-Clause
"""Stars and alerts of which no class is known, made ready for pre-training.

Three sources, alike in what they become: a dataset of `trainer build`, a file of light curves laid out like
Catalina's, with or without its labels, and archives of alerts, read as `fit-anomaly --alerts` reads them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from broker_plugin.errors import ConfigurationError
from broker_plugin.records import Alert, AlertBatch, Origin
from broker_plugin.taxonomy import canonical_class
from trainer.checkpoint import Run, save_run
from trainer.config import Settings
from trainer.data.cached import STARS_VERSION
from trainer.data.catalina import FILE, file_digest, learned_classes
from trainer.data.objects import ObjectRow
from trainer.data.splits import Neighbourhood, Split, deal_groups, sky_groups
from trainer.data.stars import StarTable
from trainer.data.unsorted import read_unsorted
from trainer.encoders import fitted_specs
from trainer.object_runs import UNUSED, keep_stars, prepare_objects, star_table
from trainer.plans import Plan
from trainer.preparation import Prepared, prepare, scaler_sample
from trainer.sets import ExampleSet, tokens_of
from trainer.stream.archive import StreamArchive
from trainer.stream.objects import one_each

__all__ = ["leave_out", "prepare_alerts", "prepare_unlabelled", "window_of"]

Specs = Mapping[str, Mapping[str, Any]]

NO_SPECS: Specs = MappingProxyType({})

NO_PRIOR = "none"
"""Name of the class frequencies of a run that knows no class."""


def prepare_unlabelled(
    settings: Settings, source: Path, out: Path, *, say: Callable[[str], None]
) -> Prepared:
    """Read a file of either layout, or the data folder, for a training that looks at no label.

    Labels that are there serve the splits, so that they are those of `trainer train` on the same data, and
    to leave out the classes that the model must not know.

    Parameters
    ----------
    out
        Folder of the run. Stars that `trainer train` would not read go into a folder in it.

    Raises
    ------
    ConfigurationError
        If there is no such file, or it has neither layout.
    """
    path = source / FILE if source.is_dir() else source
    try:
        columns = pq.read_schema(path).names
    except (OSError, pa.ArrowException) as error:
        raise ConfigurationError(
            f"no stars at {path} ({error}); give --data a Parquet file or the folder that holds {FILE}, or "
            "--alerts"
        ) from error
    if "object_id" in columns:
        return prepare_objects(settings, path, out, say=say, saved=False)
    if source.is_dir() and "sss_class" in columns:
        return prepare(settings, source, out, say=say, saved=False)
    return _prepare_stars(settings, path, out / "unlabelled", say=say)


def prepare_alerts(
    settings: Settings,
    archive: StreamArchive,
    out: Path,
    *,
    say: Callable[[str], None],
    specs: Specs = NO_SPECS,
) -> Prepared:
    """Make one alert of each object of an archive ready: its windows end at any of its detections.

    Parameters
    ----------
    specs
        Those of modalities that other data have fitted.
    """
    sightings, thing, _ = one_each(archive.sightings, seed=settings.seed)
    alerts = [each.alert for each in sightings]
    rows = [_row(alert) for alert in alerts]
    stars = star_table(rows, np.full(len(rows), -1))
    split = _split(settings, np.unique(thing, return_inverse=True)[1].ravel())
    train = np.flatnonzero(split == Split.TRAIN)
    sample = AlertBatch.from_alerts(alerts[row] for row in train)
    fitted = fitted_specs(settings, sample, kept=specs)
    keys = hashlib.sha256(" ".join(alert.alert_key for alert in alerts).encode()).hexdigest()
    data = {"alerts": len(alerts), "sha256": keys, "funnel": archive.funnel}
    prepared = _prepared(settings, stars, split, fitted, out, data=data)
    say(f"{len(alerts):,} objects of {len(archive.sightings):,} sound alerts, without labels")
    return replace(prepared, make=_AlertWindows(alerts=alerts, specs=fitted).make)


def leave_out(prepared: Prepared, ra_deg: NDArray[np.float64], dec_deg: NDArray[np.float64]) -> Prepared:
    """Return the same without the stars within 10 arcsec of positions (degrees)."""
    close = Neighbourhood(ra_deg, dec_deg).holds(prepared.stars.ra_deg, prepared.stars.dec_deg)
    return replace(prepared, split=np.where(close, UNUSED, prepared.split).astype(np.int8))


@dataclass(frozen=True, slots=True, kw_only=True)
class _AlertWindows:
    """Runs of epochs of alerts, which end with a detection as every alert does."""

    alerts: Sequence[Alert]
    specs: Specs

    def make(self, plan: Plan, start: int) -> ExampleSet:
        """Return the windows of a part of a plan; each follows from the seed and its number alone."""
        windows = [
            window_of(self.alerts[star], np.random.default_rng((plan.seed, 2, start + position)), n_epochs)
            for position, (star, n_epochs) in enumerate(
                zip(plan.star.tolist(), plan.n_epochs.tolist(), strict=True)
            )
        ]
        batch = AlertBatch.from_alerts(windows)
        return ExampleSet(
            star=plan.star,
            label=np.full(len(batch), -1),
            n_epochs=batch.n_epochs,
            oddity=np.zeros(len(batch), np.int8),
            tokens=tokens_of(batch, self.specs),
        )


def window_of(alert: Alert, rng: np.random.Generator, n_epochs: int) -> Alert:
    """Return an alert as it would have been at a detection with so many epochs, the last if none has them."""
    curve = alert.light_curve
    if len(curve) == 0:
        return alert
    detected = np.flatnonzero(curve.origin == Origin.DETECTION)
    last = len(curve) - 1
    if len(enough := detected[detected >= n_epochs - 1]):
        last = int(rng.choice(enough))
    kept = curve.take(slice(max(0, last + 1 - n_epochs), last + 1))
    return replace(alert, light_curve=kept, mjd_tai=float(kept.mjd_tai[-1]))


def _prepare_stars(settings: Settings, path: Path, out: Path, *, say: Callable[[str], None]) -> Prepared:
    """Make every star of a file with an epoch ready, without classes that are held out and named there."""
    unsorted = read_unsorted(path)
    held_out = settings.data.held_out_classes
    kept = np.array([canonical_class(str(each)) not in held_out for each in unsorted.published], np.bool_)
    kept &= np.diff(unsorted.stars.offsets) > 0
    stars = unsorted.stars.take(np.flatnonzero(kept))
    split = _split(settings, sky_groups(stars.ra_deg, stars.dec_deg))
    sample = scaler_sample(stars, np.flatnonzero(split == Split.TRAIN), seed=settings.seed)
    data = {"file": path.name, "sha256": file_digest(path), "stars": len(stars)}
    say(f"{len(stars):,} stars from {path}, without labels")
    return _prepared(settings, stars, split, fitted_specs(settings, sample), out, data=data)


def _prepared(
    settings: Settings,
    stars: StarTable,
    split: NDArray[np.int8],
    specs: Specs,
    out: Path,
    *,
    data: Mapping[str, Any],
) -> Prepared:
    classes = tuple(learned_classes(settings.data.held_out_classes))
    run = Run(
        settings=settings,
        specs=specs,
        classes=classes,
        class_prior=NO_PRIOR,
        frequencies=(1 / len(classes),) * len(classes),
        data=data,
    )
    save_run(run, out)
    keep_stars(stars, f"{data['sha256']} {STARS_VERSION} {' '.join(classes)}", out / "cache")
    return Prepared(run=run, stars=stars, split=split, cache=out / "cache")


def _split(settings: Settings, group: NDArray[np.int64]) -> NDArray[np.int8]:
    """Deal out training and validation; nothing is calibrated or tested without labels."""
    share = settings.data.split_fractions[Split.VALIDATION]
    split = deal_groups(group, np.zeros(len(group)), (1 - share, share, 0.0, 0.0), seed=settings.seed)
    if not (split == Split.VALIDATION).any():
        raise ConfigurationError(
            f"{len(group)} unlabelled objects leave none for validation; give more of them, or raise the "
            "second of data.split_fractions"
        )
    return split


def _row(alert: Alert) -> ObjectRow:
    """Return an alert as a row of a table of stars, which only its position and epochs are read from."""
    return ObjectRow(
        object_id=alert.object_id,
        ra_deg=alert.ra_deg,
        dec_deg=alert.dec_deg,
        split="",
        source=alert.survey,
        light_curve=alert.light_curve,
    )
