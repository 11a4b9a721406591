# SPDX-License-Identifier: BSD-3-Clause
"""`trainer audit`: labels that are probably wrong, most doubtful first, with the light curves to judge by."""

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
from trainer.downstream.confident import MEMBERS_MIN, Audit, audit_labels, cross_fitted
from trainer.downstream.flips import RANKS, flips_lines, measure_audit
from trainer.downstream.pages import Section, write_page
from trainer.downstream.storage import read_embeddings, read_features
from trainer.downstream.table import Embeddings
from trainer.options import COUNT, SEED

__all__ = ["audit"]


def audit(
    *,
    embeddings: Source = Path("embeddings.parquet"),
    number: Annotated[
        int,
        Parameter(name=["-n", "--number"], validator=COUNT, help="How many of the most doubtful to draw."),
    ] = 50,
    measure: Annotated[
        bool, Parameter(help="Measure instead: flip 5 % of the labels and see how many are found.")
    ] = False,
    seeds: Annotated[int, Parameter(validator=COUNT, help="With --measure: how often.")] = 10,
    seed: Annotated[int, Parameter(validator=SEED, help="Of the folds.")] = 1,
    out: Out = Path("downstream"),
) -> None:
    """Find labels that are probably wrong, by confident learning on the frozen embeddings.

    Every label is judged by logistic regressions of the other four fifths of the objects, so none judges
    itself. What the bundle was trained on is another matter: its embedding knows the label that it had, and
    errors hide there; the column `seen` says where. With --measure only unseen objects count, and
    those of which that is not known.
    """
    table = read_embeddings(embeddings)
    if measure:
        _measure(table, embeddings, out, seeds=seeds)
    else:
        _audit(table, embeddings, out, number=number, seed=seed)


def _audit(table: Embeddings, source: Path, out: Path, *, number: int, seed: int) -> None:
    rows, names, given, left_out = _labelled(table, np.flatnonzero(table.label != ""))
    prepare_folder(out)
    probability = cross_fitted(table.vectors[FUSED][rows], given, table.group[rows], seed=seed)
    found = audit_labels(probability, given)
    order = found.order()
    write_table(out / "audit.csv", _columns(table, rows, names, given, found, order))
    write_json(
        out / "audit.json",
        statement(table, rows)
        | {
            "labels": names.tolist(),
            "labels_left_out": left_out,
            "candidates": int(found.candidate.sum()),
            "estimated_error_rate": found.error_rate,
            "joint": found.joint.tolist(),
        },
    )
    shown = order[:number]
    page = out / "audit.html"
    write_page(
        page,
        table,
        source,
        title="Doubtful labels",
        lede=f"{int(found.candidate.sum()):,} of {len(rows):,} labels are contradicted by classifiers that "
        f"did not see them. The {len(shown)} most doubtful, to be judged by eye.",
        sections=[
            Section(
                title="Most doubtful first",
                text="The margin is the probability of the given label less that of the best other one.",
                rows=rows[shown].tolist(),
                remarks=[_remark(table, rows, names, given, found, each) for each in shown],
            )
        ],
    )
    say(f"{int(found.candidate.sum()):,} of {len(rows):,} labels are doubtful; wrote {page}")


def _remark(
    table: Embeddings,
    rows: NDArray[np.intp],
    names: NDArray[np.str_],
    given: NDArray[np.int64],
    found: Audit,
    each: int,
) -> str:
    trained = " The bundle was trained on this label." if table.seen[rows[each]] == 1 else ""
    return (
        f"labelled {names[given[each]]} ({found.self_confidence[each]:.2f}), perhaps "
        f"{names[found.suggested[each]]}; margin {found.margin[each]:+.2f}.{trained}"
    )


def _columns(
    table: Embeddings,
    rows: NDArray[np.intp],
    names: NDArray[np.str_],
    given: NDArray[np.int64],
    found: Audit,
    order: NDArray[np.intp],
) -> Mapping[str, NDArray[Any]]:
    ordered = rows[order]
    return {
        "id": table.id[ordered],
        "ra_deg": table.ra_deg[ordered],
        "dec_deg": table.dec_deg[ordered],
        "label": names[given[order]],
        "published": table.published[ordered],
        "suggested": names[found.suggested[order]],
        "candidate": found.candidate[order].astype(int),
        "margin": found.margin[order],
        "self_confidence": found.self_confidence[order],
        "bundle_class": table.top_class[ordered],
        "seen": table.seen[ordered],
    }


def _measure(table: Embeddings, source: Path, out: Path, *, seeds: int) -> None:
    rows, names, given, left_out = _labelled(table, measurable(table))
    prepare_folder(out)
    part = table.take(rows)
    spaces: dict[str, NDArray[np.floating]] = {FUSED: part.vectors[FUSED]}
    if table.about.n_features:
        spaces["features"] = read_features(source)[part.row]
    classes = [table.about.classes.index(name) for name in names]
    with progress_bar("seeds", seeds) as advance:
        found = measure_audit(
            spaces,
            part.probability[:, classes],
            given,
            part.group,
            paper=FUSED,
            seeds=range(1, seeds + 1),
            advance=advance,
        )
    result = statement(table, rows) | {"labels": names.tolist(), "labels_left_out": left_out} | found
    for line in flips_lines(result):
        say(line)
    say_what_is_not_known(result)
    write_json(out / "audit-measure.json", result)
    save_figure(_figure(result), out / "audit-measure.png", table.about)


def _labelled(
    table: Embeddings, rows: NDArray[np.intp]
) -> tuple[NDArray[np.intp], NDArray[np.str_], NDArray[np.int64], list[str]]:
    """Return the rows that can be audited, the labels, the labels as codes, and labels that are too rare."""
    label, count = np.unique(table.label[rows], return_counts=True)
    rare = label[count < MEMBERS_MIN].tolist()
    rows = rows[~np.isin(table.label[rows], rare)]
    names, code = np.unique(table.label[rows], return_inverse=True)
    if len(names) < 2:
        raise ConfigurationError(
            f"an audit needs two classes with {MEMBERS_MIN} labels each; "
            f"found {dict(zip(label.tolist(), count.tolist(), strict=True)) or 'no labels'}"
        )
    return rows, names, code.astype(np.int64), rare


def _figure(result: Mapping[str, Any]) -> Figure:
    """Draw precision against the number of labels that are looked at."""
    figure = Figure(figsize=(7.2, 4.6), dpi=130, layout="constrained")
    axes = figure.add_subplot()
    for place, (name, found) in enumerate(result["by_method"].items()):
        ranks = [k for k in RANKS if f"precision@{k}" in found]
        means = [found[f"precision@{k}"]["mean"] for k in ranks]
        spread = [found[f"precision@{k}"]["std"] for k in ranks]
        axes.errorbar(ranks, means, spread, label=name, color=f"C{place}", marker="o", capsize=2)
    axes.axhline(result["flipped_share"], color="0.6", linewidth=0.8, linestyle="--")
    axes.set_xlabel("labels looked at, most doubtful first")
    axes.set_ylabel("share that had been flipped")
    axes.set_ylim(0, 1)
    axes.set_title(
        f"{result['objects']:,} labels, 5 % flipped among confused classes, {result['seeds']} seeds"
    )
    axes.legend(fontsize=8)
    return figure
