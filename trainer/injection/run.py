# SPDX-License-Identifier: BSD-3-Clause
"""Injection, scoring and measuring of a finished bundle, from one file of catalogued stars."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from broker_plugin.bundle import open_bundle
from broker_plugin.errors import ConfigurationError
from broker_plugin.features.variability import variability
from broker_plugin.records import Alert, AlertBatch
from broker_plugin.streams.output_files import check_outputs, complete_files, make_folder
from trainer.anomaly import fit_single
from trainer.bundle_evaluation import CHUNK, Score, scoring
from trainer.data.stars import StarTable
from trainer.data.unsorted import Unsorted, read_unsorted
from trainer.data.used import UsedStars
from trainer.injection.measures import SCORES, Scored, measures_of
from trainer.injection.photometry import SurveyNoise
from trainer.injection.priors import ARTEFACTS, DISCOVERIES, PRIORS_VERSION
from trainer.injection.sample import Injected, Truth, inject
from trainer.injection.table import draw_efficiencies
from trainer.predictions import Predictions, joined_predictions, merged_label
from trainer.remarks import remarks_on
from trainer.seen import unseen_stars
from trainer.windows import first_windows, window_alerts

__all__ = ["SETTINGS", "Asked", "measure_injections"]

FloatArray = NDArray[np.float64]

SETTINGS: Mapping[str, int | None] = {"all": None, "100": 100, "30": 30, "10": 10}
"""First epochs of each star, as `trainer evaluate` counts them; no catalogue period is given."""

GROWN_SHARE = 0.2
"""Share of the ordinary stars that the isolation forest of the baseline is grown on, and that nothing else
sees: a bundle's forest has not seen the ordinary stars it is measured on either."""

GROWN_MIN = 50
"""Fewest such stars."""

BASELINE_TREES = 200

VERDICT = ("anomaly_score", "anomaly_p_value", "stratum", "calibration_n", "oddity")
"""What is kept of a verdict."""

EPOCHS_MIN = 10
"""Stars with fewer epochs cannot show what an event looks like in the shortest setting."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What the command was asked for.

    Parameters
    ----------
    seen
        Stars that the bundle was trained on.
    hosts
        Stars that events are put into, one of every kind into each, in every setting.
    """

    bundle: str
    data: Path
    out: Path
    predictions: Path | None
    seen: UsedStars
    hosts: int
    settings: tuple[str, ...]
    seed: int
    workers: int

    @property
    def plot(self) -> Path:
        """File of the figure, beside that of the measures."""
        return self.out.with_suffix(".png")


def measure_injections(
    asked: Asked,
    *,
    begin: Callable[[int], None] = lambda n: None,
    advance: Callable[[int], None] = lambda n: None,
) -> dict[str, Any]:
    """Inject, score, measure and write the results; return the measures.

    Parameters
    ----------
    begin, advance
        Told the number of light curves, and of those scored since the last call.

    Raises
    ------
    ConfigurationError
        If the file cannot be read or has too few ordinary stars that were not trained on, or the outputs
        cannot be written.
    """
    outputs = [asked.out, asked.plot, *([] if asked.predictions is None else [asked.predictions])]
    if asked.plot == asked.out:
        raise ConfigurationError(f"{asked.out} is where the figure goes; end --out otherwise, as in .json")
    check_outputs(outputs, [asked.data])
    bundle = open_bundle(asked.bundle)
    every = read_unsorted(asked.data)
    unseen = unseen_stars(every, asked.seen, asked.data)
    n_seen = len(every.star_id) - len(unseen.star_id)
    ordinary = _ordinary(unseen)
    if len(ordinary.star_id) < GROWN_MIN / GROWN_SHARE:
        raise _too_few(asked.data, ordinary, unseen, n_seen=n_seen)
    for path in outputs:
        make_folder(path.parent)
    with complete_files(*outputs) as (results, plot, *rows):
        found, table = _measured(asked, ordinary, begin, advance)
        measures = {
            "bundle": f"{bundle.manifest.name} {bundle.manifest.version}",
            **found,
            "remarks": remarks_on(unseen, bundle, n_seen=n_seen),
        }
        results.write(f"{json.dumps(measures, indent=1)}\n".encode())
        draw_efficiencies(measures, plot)
        for handle in rows:
            pq.write_table(table, handle)
    return measures


def _measured(
    asked: Asked, ordinary: Unsorted, begin: Callable[[int], None], advance: Callable[[int], None]
) -> tuple[dict[str, Any], pa.Table]:
    """Return the measures, and a row for each star and injection."""
    rng = np.random.default_rng((asked.seed, 20))
    order = rng.permutation(len(ordinary.star_id)).astype(np.int64)
    n_grown = int(GROWN_SHARE * len(order))
    grown, tested = order[:n_grown], order[n_grown:]
    hosts = tested[: asked.hosts]
    noise = SurveyNoise.of(ordinary.stars)
    begin(len(asked.settings) * (len(tested) + len(hosts) * len((*DISCOVERIES, *ARTEFACTS))))
    tables, results = [], {}
    with scoring(asked.bundle, asked.workers) as score:
        for setting in asked.settings:
            looked = _Setting(stars=ordinary.stars, n_epochs=SETTINGS[setting], noise=noise, seed=asked.seed)
            columns, tries = looked.columns(score, grown, tested, hosts, advance)
            tables.append(_table(columns, setting, ordinary))
            results[setting] = measures_of(_scored(columns)) | {"draws_per_event": tries}
    measures = {
        "priors": PRIORS_VERSION,
        "seed": asked.seed,
        "stars": {"baseline": len(grown), "ordinary": len(tested), "hosts": len(hosts)},
        "limits_mag": [noise.bright_mag, noise.faint_mag],
        "settings": results,
    }
    return measures, pa.concat_tables(tables)


Columns = dict[str, NDArray[Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Setting:
    """Ordinary stars and hosts as they are seen in one setting."""

    stars: StarTable
    n_epochs: int | None
    noise: SurveyNoise
    seed: int

    def columns(
        self,
        score: Score,
        grown: NDArray[np.int64],
        tested: NDArray[np.int64],
        hosts: NDArray[np.int64],
        advance: Callable[[int], None],
    ) -> tuple[Columns, dict[str, float]]:
        """Return a row for each ordinary star and injection, and the draws that each kind took."""
        forest = fit_single(_features(self._alerts(self.stars, grown)), seed=self.seed, trees=BASELINE_TREES)
        parts: list[Columns] = []
        draws: dict[str, float] = {}
        for kind in ("ordinary", *DISCOVERIES, *ARTEFACTS):
            if kind == "ordinary":
                sample, rows = Injected(stars=self.stars, truth=Truth.none(tested)), tested
            else:
                sample = inject(
                    self.stars, hosts, kind, n_epochs=self.n_epochs, noise=self.noise, seed=self.seed
                )
                rows = np.arange(len(sample.truth))
                # Hosts that cannot show this kind, with too few epochs in a visit for a flare, are done.
                advance(len(hosts) - len(rows))
                if not len(rows):
                    continue
                draws[kind] = float(sample.truth.tries.mean())
            alerts = self._alerts(sample.stars, rows)
            parts.append(
                {"kind": np.full(len(rows), kind), "n_epochs": _lengths(alerts)}
                | {column.name: getattr(sample.truth, column.name) for column in fields(Truth)}
                | _of_verdicts(score, alerts, advance)
                | {"isolation_forest": forest.score(_features(alerts))}
            )
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}, draws

    def _alerts(self, stars: StarTable, rows: NDArray[np.int64]) -> list[Alert]:
        return window_alerts(stars, rows, first_windows(stars, rows, self.n_epochs, given=False))


def _ordinary(unsorted: Unsorted) -> Unsorted:
    """Return the stars of known classes that have epochs enough."""
    kept = (merged_label(unsorted.published) >= 0) & (np.diff(unsorted.stars.offsets) >= EPOCHS_MIN)
    return unsorted.take(np.flatnonzero(kept).astype(np.int64))


def _too_few(data: Path, ordinary: Unsorted, unseen: Unsorted, *, n_seen: int) -> ConfigurationError:
    """Return the error of a file with too few ordinary stars, which says what the others are."""
    n_other = int((merged_label(unseen.published) < 0).sum())
    n_short = len(unseen.star_id) - len(ordinary.star_id) - n_other
    return ConfigurationError(
        f"{data} has {len(ordinary.star_id):,} ordinary stars with {EPOCHS_MIN} epochs that the bundle was "
        f"not trained on; at least {int(GROWN_MIN / GROWN_SHARE):,} are needed (of the others {n_other:,} "
        f"are of classes that are not measured, {n_short:,} have fewer epochs, {n_seen:,} were trained on)"
    )


def _of_verdicts(score: Score, alerts: list[Alert], advance: Callable[[int], None]) -> Columns:
    chunks = [alerts[start : start + CHUNK] for start in range(0, len(alerts), CHUNK)]
    parts: list[Predictions] = []
    for chunk, part in zip(chunks, score(chunks), strict=True):
        parts.append(part)
        advance(len(chunk))
    if not parts:
        return {name: np.zeros(0) for name in VERDICT}
    found = joined_predictions(parts)
    return {name: getattr(found, name) for name in VERDICT}


def _features(alerts: list[Alert]) -> NDArray[np.float32]:
    """Return the hand-made features of the baseline: how the light curves vary, without a period."""
    return variability(AlertBatch.from_alerts(alerts)).astype(np.float32)


def _lengths(alerts: list[Alert]) -> NDArray[np.int64]:
    return np.array([len(alert.light_curve) for alert in alerts], np.int64)


def _scored(columns: Columns) -> Scored:
    return Scored(
        kind=columns["kind"],
        scores={name: columns[name] for name in SCORES},
        truth={
            name: columns[name].astype(np.float64)
            for name in ("amplitude_mag", "signal_to_noise", "epochs_seen")
        },
        stratum=columns["stratum"],
        calibration_n=columns["calibration_n"],
        oddity=columns["oddity"],
    )


def _table(columns: Columns, setting: str, ordinary: Unsorted) -> pa.Table:
    host = columns["host"]
    return pa.table(
        {
            "id": ordinary.star_id[host],
            "published": ordinary.published[host],
            "setting": [setting] * len(host),
        }
        | {name: values for name, values in columns.items() if name != "host"}
    )
