# SPDX-License-Identifier: BSD-3-Clause
"""`trainer map`: embeddings in two dimensions, and the subclasses within a class."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from cyclopts import Parameter, validators
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from broker_plugin.engine.encoders import FUSED
from broker_plugin.errors import ConfigurationError
from broker_plugin.streams.output_files import prepare_folder
from trainer.bars import progress_bar
from trainer.downstream.common import (
    Out,
    Source,
    save_figure,
    say,
    statement,
    write_json,
    write_table,
)
from trainer.downstream.manifold import MIN_DIST, NEIGHBOURS, map_of
from trainer.downstream.pages import Section, write_page
from trainer.downstream.similarity import spread_evenly
from trainer.downstream.storage import read_embeddings, read_features
from trainer.downstream.subclasses import KNOWN, cluster, measure_subclasses, subclass_lines
from trainer.downstream.table import Embeddings
from trainer.options import COUNT, SEED

__all__ = ["chart"]

EXAMPLES = 6
"""Objects that are drawn of each cluster, the nearest to its centre."""

PAIR = validators.Number(gte=2)

NAMES = 10
"""Most names in a legend, as many as there are colours; the rarest are left grey."""


def chart(
    *,
    embeddings: Source = Path("embeddings.parquet"),
    by: Annotated[str, Parameter(help="Embedding: fused or a modality.")] = FUSED,
    within: Annotated[
        str | None, Parameter(help="Find subclasses of this class: clusters in the embedding space.")
    ] = None,
    clusters: Annotated[
        int | None, Parameter(validator=PAIR, help="Their number; default: of the best silhouette.")
    ] = None,
    neighbours: Annotated[
        int, Parameter(validator=PAIR, help="UMAP: neighbours that are kept together.")
    ] = NEIGHBOURS,
    min_dist: Annotated[
        float,
        Parameter(
            validator=validators.Number(gte=0, lte=1), help="UMAP: how near to one another points may lie."
        ),
    ] = MIN_DIST,
    measure: Annotated[
        bool, Parameter(help="Measure instead: do clusters agree with subclasses that are known?")
    ] = False,
    seeds: Annotated[int, Parameter(validator=COUNT, help="With --measure: how often.")] = 10,
    seed: Annotated[int, Parameter(validator=SEED, help="Of the map and the clusters.")] = 42,
    out: Out = Path("downstream"),
) -> None:
    """Draw a map (UMAP) of the embeddings by class and by strangeness, or of one class by its clusters.

        trainer map
        trainer map --within LPV --clusters 3

    Clusters are found among the embeddings, never on the map, and the page shows what they look like. With
    --measure they are compared with Blazhko stars, Miras and semi-regulars, EB and EW; that needs no map.
    """
    if clusters is not None and within is None:
        raise ConfigurationError("--clusters is for subclasses; give --within CLASS too")
    table = read_embeddings(embeddings)
    if by not in table.vectors:
        raise ConfigurationError(f"no embedding {by!r}; --by is one of {', '.join(table.about.sources)}")
    if measure:
        _measure(table, embeddings, out, seeds=seeds)
        return
    table = table.take(np.flatnonzero(table.present[by]))
    if within is not None:
        table = table.take(np.flatnonzero(_named(table) == within))
    if len(table) <= EXAMPLES:
        raise ConfigurationError(
            f"{len(table)} objects{f' of class {within}' if within else ''} with {by}: too few"
        )
    if clusters is not None and clusters > len(table):
        raise ConfigurationError(f"--clusters {clusters}: there are {len(table)} objects of class {within}")
    prepare_folder(out)
    found = None if within is None else cluster(table.vectors[by], clusters, seed=seed)
    say(f"mapping {len(table):,} objects; the first map takes a minute more, to compile")
    place = map_of(table.vectors[by], neighbours=neighbours, min_dist=min_dist, seed=seed)
    stem = "map" if within is None else f"map-{within}"
    columns: dict[str, NDArray[Any]] = {
        "id": table.id,
        "x": place[:, 0],
        "y": place[:, 1],
        "published": table.published,
        "other_type": table.other_type,
        "bundle_class": table.top_class,
        "anomaly_p_value": table.anomaly_p_value,
    }
    write_table(out / f"{stem}.csv", columns | ({} if found is None else {"cluster": found}))
    if found is not None:
        _write_clusters(table, embeddings, out, found, by=by, within=str(within))
    save_figure(_figure(table, place, found), out / f"{stem}.png", table.about)


def _measure(table: Embeddings, source: Path, out: Path, *, seeds: int) -> None:
    prepare_folder(out)
    features = read_features(source) if table.about.n_features else None
    results: dict[str, Any] = {}
    spaces = len(table.about.sources) + (features is not None)
    with progress_bar("clusterings", seeds * spaces * len(KNOWN)) as advance:
        for known in KNOWN:
            part = table.take(np.flatnonzero(table.label == known.label))
            vectors: dict[str, NDArray[np.floating]] = dict(part.vectors)
            if features is not None:
                vectors["features"] = spread_evenly(features[part.row], seed=1)
            results[known.name] = measure_subclasses(
                part, known, vectors, seeds=range(1, seeds + 1), advance=advance
            )
    for line in subclass_lines(results):
        say(line)
    everything = np.arange(len(table))
    write_json(
        out / "subclasses.json", statement(table, everything) | {"seeds": seeds, "by_subclass": results}
    )


def _named(table: Embeddings) -> NDArray[np.str_]:
    """Return the label of each object, the most probable class where it has none."""
    return np.where(table.label != "", table.label, table.top_class)


def _write_clusters(
    table: Embeddings, source: Path, out: Path, found: NDArray[np.int64], *, by: str, within: str
) -> None:
    """Write what the clusters are made of, and a page of their most typical members."""
    sections, described = [], []
    for each in range(int(found.max()) + 1):
        rows = np.flatnonzero(found == each)
        centre = table.vectors[by][rows].mean(axis=0)
        typical = rows[np.argsort(-(table.vectors[by][rows] @ centre), kind="stable")[:EXAMPLES]]
        about = _described(table, rows)
        described.append(about | {"typical": table.id[typical].tolist()})
        sections.append(
            Section(
                title=f"Cluster {each}: {len(rows):,} objects",
                text=_sentence(about),
                rows=typical.tolist(),
                remarks=["" for _ in typical],
            )
        )
    write_json(
        out / f"clusters-{within}.json",
        statement(table, np.arange(len(table))) | {"within": within, "by": by, "clusters": described},
    )
    page = out / f"clusters-{within}.html"
    lede = (
        f"Clusters of the {by} embeddings of {len(table):,} objects, with the members nearest their centres."
    )
    write_page(page, table, source, title=f"Within {within}", lede=lede, sections=sections)
    say(f"wrote {page}")


def _described(table: Embeddings, rows: NDArray[np.intp]) -> dict[str, Any]:
    period = table.catalogue_period_day[rows]
    period = np.where(np.isfinite(period), period, table.period_day[rows])
    known = period[np.isfinite(period)]
    return {
        "objects": len(rows),
        "median_period_day": float(np.median(known)) if len(known) else None,
        "median_epochs": float(np.median(table.n_epochs[rows])),
        "median_anomaly_p_value": float(np.median(table.anomaly_p_value[rows])),
        "published": dict(Counter(table.published[rows].tolist()).most_common()),
        "other_type": dict(Counter(table.other_type[rows].tolist()).most_common()),
    }


def _sentence(about: dict[str, Any]) -> str:
    period = about["median_period_day"]
    types = [f"{number} {name}" for name, number in about["other_type"].items() if name][:NAMES]
    return (
        (f"Median period {period:.5g} d, " if period is not None else "")
        + f"{about['median_epochs']:.0f} epochs, p-value {about['median_anomaly_p_value']:.2f}. "
        + (f"Other types: {', '.join(types)}." if types else "")
    )


def _figure(table: Embeddings, place: NDArray[np.float32], found: NDArray[np.int64] | None) -> Figure:
    figure = Figure(figsize=(13, 6.2), dpi=130, layout="constrained")
    left, right = figure.subplots(1, 2)
    if found is None:
        _by_name(left, place, np.where(table.published != "", table.published, _named(table)))
        left.set_title("by class")
    else:
        _by_name(left, place, np.array([f"cluster {each}" for each in found]))
        left.set_title("by cluster, found in the embedding space")
    if found is not None and (table.other_type != "").any():
        _by_name(right, place, table.other_type)
        right.set_title("by the other catalogue's type")
    else:
        rarity = -np.log10(table.anomaly_p_value)
        order = np.argsort(rarity, kind="stable")
        drawn = right.scatter(
            place[order, 0], place[order, 1], c=rarity[order], s=5, linewidths=0, cmap="magma_r"
        )
        figure.colorbar(drawn, ax=right, label="-log10 of the bundle's anomaly p-value")
        right.set_title("by strangeness")
    for axes in (left, right):
        axes.set_xticks([])
        axes.set_yticks([])
    return figure


def _by_name(axes: Axes, place: NDArray[np.float32], name: NDArray[np.str_]) -> None:
    """Draw the commonest names in colours, the others and those without one grey and beneath."""
    common = [each for each, _ in Counter(name[name != ""].tolist()).most_common(NAMES)]
    rest = ~np.isin(name, common)
    axes.scatter(place[rest, 0], place[rest, 1], s=4, c="0.8", linewidths=0)
    for colour, each in enumerate(common):
        rows = name == each
        label = f"{each}: {int(rows.sum()):,}"
        x, y = place[rows].T
        axes.scatter(x, y, s=5, c=f"C{colour}", linewidths=0, alpha=0.8, label=label)
    axes.legend(fontsize=8, markerscale=2.5, loc="upper center", bbox_to_anchor=(0.5, -0.01), ncols=5)
