# SPDX-License-Identifier: BSD-3-Clause
"""`trainer similar`: the objects whose embeddings are nearest to one object's, drawn beside it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from cyclopts import Parameter
from matplotlib.figure import Figure

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
)
from trainer.downstream.neighbours import nearest
from trainer.downstream.pages import Section, write_page
from trainer.downstream.similarity import MEMBERS_MIN, measure_similarity, similarity_lines
from trainer.downstream.storage import read_embeddings, read_features
from trainer.downstream.table import Embeddings
from trainer.options import COUNT

__all__ = ["similar"]


def similar(
    *,
    embeddings: Source = Path("embeddings.parquet"),
    id: Annotated[  # noqa: A002 - the option is --id
        str | None,
        Parameter(help="The object: an id of the file, with or without what stands before a colon."),
    ] = None,
    by: Annotated[
        str, Parameter(help="What is compared: fused, or a modality such as light_curve, metadata, spectrum.")
    ] = FUSED,
    number: Annotated[
        int, Parameter(name=["-n", "--number"], validator=COUNT, help="How many neighbours.")
    ] = 10,
    measure: Annotated[
        bool, Parameter(help="Measure class precision@10 instead, by modality and against features.")
    ] = False,
    out: Out = Path("downstream"),
) -> None:
    """Find the objects most similar to one, by the cosine of their embeddings, and draw them.

        trainer similar --id css:3023114035457 --by light_curve -n 10

    An object is never its own neighbour, nor is what lies within 10 arcsec of it. With --measure: how often
    the ten nearest are of the same class, on labelled objects that the bundle has not seen, or of which that
    is not known.
    """
    table = read_embeddings(embeddings)
    if measure:
        _measure(table, embeddings, out)
    elif id is None:
        raise ConfigurationError("give --id, or --measure; ids are those of the embeddings file")
    else:
        _search(table, embeddings, out, row=table.row_of(id), by=by, number=number)


def _search(table: Embeddings, source: Path, out: Path, *, row: int, by: str, number: int) -> None:
    if by not in table.vectors:
        raise ConfigurationError(f"no embedding {by!r}; --by is one of {', '.join(table.about.sources)}")
    having = np.flatnonzero(table.present[by])
    if row not in having:
        raise ConfigurationError(f"{table.id[row]} has no {by}; choose another --by")
    others = len(having) - int((table.group[having] == table.group[row]).sum())
    if number > others:
        raise ConfigurationError(f"-n {number}: there are {others} other objects with {by}")
    prepare_folder(out)
    query = np.flatnonzero(having == row)
    found, distance = nearest(table.vectors[by][having], table.group[having], number, queries=query)
    rows, cosine = having[found[0]].tolist(), (1 - distance[0]).tolist()
    name = str(table.id[row])
    stem = f"similar-{name.replace(':', '-').replace('/', '-')}-{by}"
    write_json(
        out / f"{stem}.json",
        {
            "query": _described(table, row),
            "by": by,
            "bundle": table.about.bundle,
            "simulated": table.about.simulated,
            "neighbours": [
                _described(table, each) | {"cosine": near} for each, near in zip(rows, cosine, strict=True)
            ],
        },
    )
    page = out / f"{stem}.html"
    write_page(
        page,
        table,
        source,
        title=f"Similar to {name}",
        lede=f"The {number} nearest of {others:,} objects by the cosine of the {by} embeddings.",
        sections=[
            Section(title="The object", text="", rows=[row], remarks=[""]),
            Section(
                title="Its neighbours",
                text="Nearest first. Chips are the catalogue's label and the model's class.",
                rows=rows,
                remarks=[f"cosine {near:.3f}" for near in cosine],
            ),
        ],
    )
    for each, near in zip(rows, cosine, strict=True):
        say(f"{near:.4f}  {table.id[each]:<22} {table.published[each] or '-':<26} {table.top_class[each]}")
    say(f"wrote {page}")


def _described(table: Embeddings, row: int) -> dict[str, Any]:
    return {
        "id": str(table.id[row]),
        "published": str(table.published[row]) or None,
        "top_class": str(table.top_class[row]),
        "top_class_probability": float(table.probability[row].max()),
        "anomaly_p_value": float(table.anomaly_p_value[row]),
        "seen": bool(table.seen[row]) if table.seen[row] >= 0 else None,
    }


def _measure(table: Embeddings, source: Path, out: Path) -> None:
    rows = measurable(table)
    rows = rows[np.all([table.present[name][rows] for name in table.about.sources], axis=0)]
    label, count = np.unique(table.label[rows], return_counts=True)
    left_out = label[count < MEMBERS_MIN].tolist()
    rows = rows[~np.isin(table.label[rows], left_out)]
    if len(np.unique(table.label[rows])) < 2:
        raise ConfigurationError(f"fewer than two classes with {MEMBERS_MIN} labelled, unseen objects each")
    prepare_folder(out)
    features = read_features(source)[table.row[rows]] if table.about.n_features else None
    spaces = len(table.about.sources) + (0 if features is None else 2)
    with progress_bar("spaces", spaces) as advance:
        found = measure_similarity(table.take(rows), features, advance=advance)
    result = statement(table, rows) | {"classes_left_out": left_out} | found
    for line in similarity_lines(result):
        say(line)
    say_what_is_not_known(result)
    if features is None:
        say("no hand-made features in the file; `trainer embed --features` keeps them to compare with")
    write_json(out / "similarity.json", result)
    save_figure(_figure(result), out / "similarity.png", table.about)


def _figure(result: Mapping[str, Any]) -> Figure:
    """Draw precision by class, a group of bars a class."""
    spaces = {**result["by_space"], "chance": result["chance"]}
    classes = list(result["chance"]["by_class"])
    figure = Figure(figsize=(10, 4.6), dpi=130, layout="constrained")
    axes = figure.add_subplot()
    width = 0.85 / len(spaces)
    for place, (name, each) in enumerate(spaces.items()):
        x = np.arange(len(classes) + 1) + (place - (len(spaces) - 1) / 2) * width
        heights = [each["macro"], *(each["by_class"][one] for one in classes)]
        colour = "0.75" if name == "chance" else f"C{place}"
        axes.bar(x, heights, width, label=name, color=colour)
        low, high = each["macro_95"]
        axes.errorbar(
            x[0],
            each["macro"],
            [[max(0.0, each["macro"] - low)], [max(0.0, high - each["macro"])]],
            color="0.2",
            lw=1,
        )
    axes.set_xticks(np.arange(len(classes) + 1), ["mean of\nclasses", *classes])
    axes.set_ylabel(f"class precision among the {result['k']} nearest")
    axes.set_title(f"{result['objects']:,} objects that the bundle was not trained on")
    axes.set_ylim(0, 1.15)  # room for the legend
    axes.legend(fontsize=8, ncols=3, loc="upper left")
    return figure
