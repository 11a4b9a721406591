# SPDX-License-Identifier: BSD-3-Clause
"""Labelled alerts of ZTF: one alert of each object that a catalogue knows, of those that are of the sky."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq

from broker_plugin.errors import ConfigurationError
from broker_plugin.records import Alert
from trainer.stream.archive import Sighting, read_archive
from trainer.stream.objects import away_from

__all__ = ["LabelledAlerts", "read_labelled"]

FOLDER, LABELS = "alerts/ztf", "object_labels.csv"
"""Where alerts lie in the data folder, and in it the labels of their objects."""

SURVEY = "ztf"


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelledAlerts:
    """One alert of each labelled object, the last, and its label.

    Parameters
    ----------
    left_out
        How many alerts or objects went, by the reason.
    """

    alerts: tuple[Alert, ...]
    labels: tuple[str, ...]
    left_out: dict[str, int]


def read_labelled(
    data: Path, trained_on: Path | None, *, advance: Callable[[int], None] = lambda n: None
) -> LabelledAlerts:
    """Read the labelled alerts of the data folder.

    Inconsistent packets are left out by the rules of `stream.soundness`, and objects within 10 arcsec of a
    star that the bundle may have been trained on.

    Parameters
    ----------
    trained_on
        Parquet file with the columns ra and dec of those stars.

    Raises
    ------
    ConfigurationError
        If alerts or labels are not there.
    """
    folder = data / FOLDER
    try:
        with (folder / LABELS).open(encoding="utf-8", newline="") as file:
            labels = {row["oid"]: row["astrom3_class"] for row in csv.DictReader(file)}
    except OSError as error:
        raise ConfigurationError(
            f"no labelled alerts in {folder}: {error.strerror}; give --data the folder that holds {FOLDER}"
        ) from error
    archive = read_archive([folder], surveys=(SURVEY,), advance=advance)
    counts = archive.funnel[SURVEY]
    left_out = {reason: n for reason, n in counts.items() if reason not in ("read", "kept", "duplicate")}
    labelled = [each for each in archive.sightings if labels.get(_name(each))]
    left_out["objects without a label"] = len(
        {_name(each) for each in archive.sightings if not labels.get(_name(each))}
    )
    kept = labelled
    if trained_on is not None:
        table = pq.read_table(trained_on, columns=["ra", "dec"])
        kept = away_from(labelled, table["ra"].to_numpy(), table["dec"].to_numpy())
        near = {_name(each) for each in labelled} - {_name(each) for each in kept}
        left_out["labelled objects within 10 arcsec of a training star"] = len(near)
    last: dict[str, Alert] = {}
    for each in sorted(kept, key=lambda sighting: sighting.alert.mjd_tai):
        last[_name(each)] = each.alert
    left_out["earlier alerts of the same object"] = len(kept) - len(last)
    return LabelledAlerts(
        alerts=tuple(last.values()),
        labels=tuple(labels[name] for name in last),
        left_out={reason: n for reason, n in Counter(left_out).items() if n},
    )


def _name(sighting: Sighting) -> str:
    return sighting.alert.object_id.rpartition(":")[2]
