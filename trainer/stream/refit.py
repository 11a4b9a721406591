# SPDX-License-Identifier: BSD-3-Clause
"""A bundle's normal, from an archive of the stream that it watches.

What is written here is everything that `python -m export --stream` needs to make a new bundle of an old one:
the forests, the scores of every stratum, and what was done and measured.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from broker_plugin.bundle import Bundle
from broker_plugin.errors import ConfigurationError
from broker_plugin.records import Alert, SourceContext
from trainer.anomaly import write_forests
from trainer.stream.archive import Sighting, StreamArchive
from trainer.stream.fit import Fitted, Material, Parts, Planted, fit_parts, part_rows
from trainer.stream.measure import TEST_SHARE, measure
from trainer.stream.objects import away_from, one_each
from trainer.stream.planted import KINDS, plant
from trainer.stream.pooling import STRATUM_MIN, plan_strata
from trainer.stream.reference import stream_references
from trainer.stream.views import Engine

__all__ = ["FITTED", "SCORES", "prepare_material", "refit", "training_positions"]

FITTED, SCORES = "stream.json", "calibration.npz"

HOSTS_MAX = 600
"""Most objects of a survey that anomalies are planted into: shares are then known to 2 %, in seconds."""


def refit(
    bundle: Bundle,
    archive: StreamArchive,
    out: Path,
    *,
    seed: int,
    splits: int,
    apart_from: tuple[NDArray[np.float64], NDArray[np.float64]] | None = None,
    say: Callable[[str], None],
) -> None:
    """Fit forests and strata on an archive, measure them on held-back objects, and write them to `out`.

    Everything follows from the bundle, the archive and the seed.

    Parameters
    ----------
    splits
        Random splits that the measurement is repeated over.
    apart_from
        Positions (degrees) of stars that the encoders were trained on; their alerts are left out.
    """
    sightings = list(archive.sightings)
    if apart_from is not None:
        sightings = away_from(sightings, *apart_from)
    n_trained_on = len(archive.sightings) - len(sightings)
    sightings, thing, group = one_each(sightings, seed=seed)
    say(f"{len(sightings):,} objects of {len(archive.sightings):,} sound alerts")
    material = prepare_material(Engine(bundle), sightings, thing, group, seed=seed)
    say(f"planted {len(material.planted.host):,} anomalies into {len(set(material.planted.host)):,} objects")
    every = part_rows(material, test_share=0.0, seed=seed)
    edges = bundle.manifest.epoch_edges
    # Planned twice: whether the forests' objects are free to calibrate is known only when they are chosen.
    rows = np.sort(np.concatenate([every.forest, every.calibration]))
    fitted = fit_parts(material, every, plan_strata(material.encoded, material.views, rows, edges), seed=seed)
    plan = plan_strata(material.encoded, material.views, _calibrating(material, every, fitted), edges)
    if not plan:
        raise ConfigurationError(
            f"the archive has {len(sightings):,} objects and no stratum of {STRATUM_MIN}; give more alerts"
        )
    fitted = fit_parts(material, every, plan, seed=seed)
    say(f"{len(plan)} strata; forests: {_taken(fitted) or 'those of the bundle'}")
    results = {
        name: measure(material, plan, seeds=range(seed + 1, seed + 1 + splits), by_exposure=by_exposure)
        for name, by_exposure in (("by_object", False), ("by_exposure", True))
        if splits
    }
    record = {
        "surveys": sorted(set(material.encoded.survey.tolist())),
        "funnel": archive.funnel,
        "trained_on": n_trained_on,
        "objects": len(sightings),
        "objects_by_context": _by_context(material),
        "groups": _groups(material, every, fitted),
        "seed": seed,
        "stratum_min": STRATUM_MIN,
        "choice": fitted.choice,
        "results": results,
        "reference": stream_references(bundle, [each.alert for each in sightings]),
    }
    _write(material, every, fitted, record, out)


def prepare_material(
    engine: Engine,
    sightings: Sequence[Sighting],
    thing: NDArray[np.int64],
    group: NDArray[np.int64],
    *,
    seed: int,
) -> Material:
    """Encode the objects, with every subset of their modalities, and what is planted into stellar ones."""
    alerts = [each.alert for each in sightings]
    encoded = engine.encode(alerts)
    return Material(
        engine=engine,
        encoded=encoded,
        thing=thing,
        group=group,
        sources=engine.sources(encoded),
        views=list(engine.views(encoded)),
        planted=_plant_all(engine, alerts, seed=seed),
    )


def training_positions(path: Path) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the columns `ra` and `dec` of a Parquet file of stars, degrees.

    Raises
    ------
    ConfigurationError
        If the file cannot be read or has no such columns.
    """
    try:
        table = pq.read_table(path, columns=["ra", "dec"])
    except (OSError, ValueError) as error:
        raise ConfigurationError(
            f"cannot read ra and dec of {path} ({error}); give a Parquet file"
        ) from error
    ra_deg, dec_deg = (np.asarray(table[name].to_numpy(), np.float64) for name in ("ra", "dec"))
    return ra_deg, dec_deg


def _plant_all(engine: Engine, alerts: Sequence[Alert], *, seed: int) -> Planted:
    rng = np.random.default_rng((seed, 22))
    hosts: list[int] = []
    for survey in sorted({alert.survey for alert in alerts}):
        stellar = [
            row
            for row, alert in enumerate(alerts)
            if alert.survey == survey and alert.source_context is SourceContext.STELLAR
        ]
        hosts += sorted(rng.permutation(np.array(stellar, np.int64))[:HOSTS_MAX].tolist())
    host, kind, planted = [], [], []
    for row in hosts:
        for name in KINDS:
            odd = plant(alerts[row], name, rng)
            if odd is not None:
                host.append(row)
                kind.append(name)
                planted.append(odd)
    # Without any the columns are those of no alerts.
    encoded = engine.encode(planted or alerts[:1])
    if not planted:
        encoded = encoded.take(np.zeros(0, np.intp))
    return Planted(
        host=np.array(host, np.intp),
        kind=np.array(kind, np.str_),
        encoded=encoded,
        sources=engine.sources(encoded),
    )


def _calibrating(material: Material, parts: Parts, fitted: Fitted) -> NDArray[np.intp]:
    """Return the rows that calibrate: all but those of a part that a forest was grown on."""
    unused = ~np.isin(material.encoded.survey[parts.forest], list(fitted.forests.own))
    return np.sort(np.concatenate([parts.calibration, parts.forest[unused]]))


def _taken(fitted: Fitted) -> str:
    return ", ".join(
        f"{source} of {survey} from the stream"
        for survey, sources in fitted.forests.own.items()
        for source in sources
    )


def _by_context(material: Material) -> dict[str, dict[str, int]]:
    encoded = material.encoded
    return {
        survey: dict(sorted(Counter(encoded.context[encoded.survey == survey].tolist()).items()))
        for survey in sorted(set(encoded.survey.tolist()))
    }


def _groups(material: Material, parts: Parts, fitted: Fitted) -> dict[str, int]:
    """Return what keeping exposures apart cost."""
    encoded = material.encoded
    grown = np.isin(encoded.survey[parts.forest], list(fitted.forests.own))
    stellar = encoded.context[parts.forest] == str(SourceContext.STELLAR)
    return {
        "groups": len(set(material.group.tolist())),
        "largest_group": int(np.bincount(material.group).max()),
        "forest": int((grown & stellar).sum()),
        "calibration": len(_calibrating(material, parts, fitted)),
        "dropped_for_their_exposure": int((grown & ~stellar).sum()),
        "held_back_in_each_split": round(TEST_SHARE * len(encoded)),
    }


def _write(material: Material, parts: Parts, fitted: Fitted, record: dict[str, Any], out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    named = {
        f"{source}-{survey}": forest
        for survey, sources in fitted.forests.own.items()
        for source, forest in sources.items()
    }
    embeddings = {name: material.sources[name.rpartition("-")[0]][parts.forest] for name in named}
    write_forests(named, embeddings, out)
    with (out / SCORES).open("wb") as file:
        np.savez(file, allow_pickle=False, **fitted.scores)
    content = {
        "forests": [{"source": name.rpartition("-")[0], "survey": name.rpartition("-")[2]} for name in named],
        "strata": [stratum.model_dump() for stratum in fitted.strata],
        "fit": record,
    }
    (out / FITTED).write_text(json.dumps(content, indent=1) + "\n")
