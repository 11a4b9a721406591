# SPDX-License-Identifier: BSD-3-Clause
"""`trainer rank`: the strangest objects, by one forest of all of them and by forests of the classes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from cyclopts import Parameter
from matplotlib.figure import Figure
from numpy.typing import NDArray

from broker_plugin.engine.encoders import FUSED
from broker_plugin.errors import ConfigurationError
from broker_plugin.streams.output_files import prepare_folder
from trainer.bars import progress_bar
from trainer.downstream.common import (
    Out,
    Source,
    measurable,
    save_figure,
    say,
    say_what_is_not_known,
    statement,
    write_json,
    write_table,
)
from trainer.downstream.pages import Section, write_page
from trainer.downstream.ranking import Ranking, rank_objects
from trainer.downstream.ranking_quality import measure_rankings, ranking_lines
from trainer.downstream.storage import read_embeddings
from trainer.downstream.table import Embeddings
from trainer.options import COUNT, SEED
from trainer.stream.pooling import STRATUM_MIN

__all__ = ["rank"]

OBJECTS_MIN = 2 * STRATUM_MIN
"""With fewer ordinary objects the smallest p-value says little, and forests are of too few."""


def rank(
    *,
    embeddings: Source = Path("embeddings.parquet"),
    by: Annotated[str, Parameter(help="Embedding: fused or a modality.")] = FUSED,
    number: Annotated[
        int,
        Parameter(name=["-n", "--number"], validator=COUNT, help="How many to draw, of each ranking."),
    ] = 20,
    measure: Annotated[
        bool, Parameter(help="Measure too: objects of classes that the bundle does not know are to be found.")
    ] = False,
    seeds: Annotated[int, Parameter(validator=COUNT, help="With --measure: how often.")] = 5,
    seed: Annotated[int, Parameter(validator=SEED, help="Of parts and forests.")] = 1,
    out: Out = Path("downstream"),
) -> None:
    """Rank objects by strangeness: one isolation forest of all, and per-class forests (MCIF), side by side.

    P-values are counted among objects with as many epochs and the same kinds of data; strata that are too
    small are widened, and the table says to what. Objects whose label the bundle does not know shape neither
    forests nor p-values. What the bundle was trained on is left out: it would look too ordinary. Objects of
    which that is not known, for want of `embed --trained-on`, are ranked as unseen; their number is told.
    """
    table = read_embeddings(embeddings)
    if by not in table.vectors:
        raise ConfigurationError(f"no embedding {by!r}; --by is one of {', '.join(table.about.sources)}")
    table = table.take(measurable(table, labelled=False))
    table = table.take(np.flatnonzero(table.present[by]))
    label = _classes(table)
    n_ordinary = int((label >= 0).sum())
    if n_ordinary < OBJECTS_MIN:
        raise ConfigurationError(
            f"{n_ordinary} ordinary, unseen objects with {by}; a ranking needs {OBJECTS_MIN}"
        )
    prepare_folder(out)
    ranking = _ranking(table, label, by, seed=seed)
    result = statement(table, np.arange(len(table))) | {
        "by": by,
        "ordinary": n_ordinary,
        "classes_without_forest": [table.about.classes[each] for each in ranking.without_forest],
        "in_both_top": _in_both(ranking, number),
    }
    say_what_is_not_known(result)
    write_table(out / "rank.csv", _columns(table, ranking))
    if measure:
        with progress_bar("seeds", seeds) as advance:
            rankings = []
            for each in range(1, seeds + 1):
                rankings.append(_ranking(table, label, by, seed=each))
                advance(1)
        measured = measure_rankings(table, label, rankings)
        for line in ranking_lines(measured):
            say(line)
        result["measured"] = measured
    write_json(out / "rank.json", result)
    save_figure(_figure(table, ranking, label), out / "rank.png", table.about)
    page = out / "rank.html"
    lede = (
        f"Of {len(table):,} objects, by the {by} embedding. {result['in_both_top']} of {number} are among "
        "the strangest of both rankings."
    )
    sections = _sections(table, ranking, number)
    write_page(page, table, embeddings, title="The strangest objects", lede=lede, sections=sections)
    say(f"wrote {page}")


def _ranking(table: Embeddings, label: NDArray[np.int64], by: str, *, seed: int) -> Ranking:
    return rank_objects(table.vectors[by], label, table.calibration_stratum, table.group, seed=seed)


def _classes(table: Embeddings) -> NDArray[np.int64]:
    """Return codes of labels, else of the most probable class; -1 for what the bundle does not know."""
    known = {name: code for code, name in enumerate(table.about.classes)}
    named = zip(table.label.tolist(), table.published.tolist(), table.top_class.tolist(), strict=True)
    return np.array(
        [known.get(label, -1) if label or published else known[top] for label, published, top in named],
        np.int64,
    )


def _in_both(ranking: Ranking, number: int) -> int:
    return len(set(ranking.of_all.order()[:number]) & set(ranking.of_classes.order()[:number]))


def _columns(table: Embeddings, ranking: Ranking) -> Mapping[str, NDArray[Any]]:
    order = ranking.of_classes.order()
    names = np.array([*table.about.classes, ""])
    return {
        "id": table.id[order],
        "ra_deg": table.ra_deg[order],
        "dec_deg": table.dec_deg[order],
        "published": table.published[order],
        "bundle_class": table.top_class[order],
        "p_value_class_forests": ranking.of_classes.p_value[order],
        "score_class_forests": ranking.of_classes.score[order],
        "nearest_class": names[ranking.nearest[order]],
        "p_value_one_forest": ranking.of_all.p_value[order],
        "score_one_forest": ranking.of_all.score[order],
        "stratum": ranking.stratum[order],
        "calibration_n": ranking.calibration_n[order],
        "bundle_p_value": table.anomaly_p_value[order],
    }


def _sections(table: Embeddings, ranking: Ranking, number: int) -> list[Section]:
    kinds = (
        (
            "By forests of the classes",
            "Strange to every class: the least score over the classes counts.",
            True,
        ),
        ("By one forest", "Strange among all objects: rare classes are strange as well.", False),
    )
    sections = []
    for title, text, by_class in kinds:
        ranked, other = ranking.of_classes, ranking.of_all
        if not by_class:
            ranked, other = other, ranked
        rows = ranked.order()[:number].tolist()
        remarks = [
            f"p {ranked.p_value[row]:.4f} of {ranking.calibration_n[row]:,} in {ranking.stratum[row]} "
            f"(the other ranking: {other.p_value[row]:.4f})"
            + (
                f"; least strange to {table.about.classes[ranking.nearest[row]]}"
                if ranking.nearest[row] >= 0
                else ""
            )
            for row in rows
        ]
        sections.append(Section(title=title, text=text, rows=rows, remarks=remarks))
    return sections


def _figure(table: Embeddings, ranking: Ranking, label: NDArray[np.int64]) -> Figure:
    """Draw the p-values of both rankings against one another."""
    figure = Figure(figsize=(6.4, 5.8), dpi=130, layout="constrained")
    axes = figure.add_subplot()
    odd = label < 0
    kinds = [("ordinary", ~odd, "0.6")]
    kinds += [
        (str(name), odd & (table.published == name), f"C{place}")
        for place, name in enumerate(np.unique(table.published[odd]))
    ]
    for name, rows, colour in kinds:
        axes.scatter(
            ranking.of_all.p_value[rows],
            ranking.of_classes.p_value[rows],
            s=5 if name == "ordinary" else 14,
            c=colour,
            linewidths=0,
            alpha=0.7,
            label=f"{name}: {int(rows.sum()):,}",
        )
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("p-value by one forest")
    axes.set_ylabel("p-value by forests of the classes")
    axes.legend(fontsize=8)
    return figure
