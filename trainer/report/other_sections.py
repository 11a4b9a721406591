# SPDX-License-Identifier: BSD-3-Clause
"""Sections of the report on results of other commands, and on whether numbers are the same each time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from broker_plugin.demo.markup import confusion_table, html_table
from trainer.report.wording import (
    MEASURE_NAMES,
    SETTING_NAMES,
    interval_cell,
    missing_note,
    spread_cell,
)

__all__ = ["cross_survey_section", "determinism_section", "labels_section", "retrieval_section"]

Record = Mapping[str, Any]


def retrieval_section(record: Record) -> str:
    """Return recall of cross-modal retrieval."""
    found = record.get("retrieval")
    if found is None:
        return missing_note(record, "retrieval", "Retrieval was not measured yet")
    warning = _simulated(found["objects"].get("simulated", False))
    rows, head = [], ["Pair", "#Objects"]
    for pair, measures in found["pairs"].items():
        ranks = [name for name in measures if name != "n"]
        head = ["Pair", "#Objects", *(f"#{name}" for name in ranks)]
        rows.append(
            [escape(pair), f"{measures['n']:,}"]
            + [
                f"{measures[name]['value']:.3f} <small>chance {measures[name]['chance']:.3f}</small>"
                for name in ranks
            ]
        )
    return (
        f"{warning}<p>How often the embedding of one modality finds another of the same object among the k "
        f'nearest.</p><div class="panel scroll">{html_table(head, rows)}</div>'
    )


def labels_section(record: Record) -> str:
    """Return what contrastive pre-training gains with few labels."""
    found = record.get("limited_labels")
    if found is None:
        return missing_note(record, "limited_labels", "Limited labels were not tried yet")
    caveats = "".join(f"<li>{escape(each)}</li>" for each in found.get("caveats", ()))
    tables = []
    for measure in dict.fromkeys(row["measure"] for row in found["rows"]):
        rows = [
            [
                SETTING_NAMES.get(row["setting"], row["setting"]),
                f"{row['labels_percent']:g} %",
                spread_cell(row["random"]),
                spread_cell(row["pretrained"]),
                "-" if row["gain"] is None else f"{row['gain']:+.2f}",
                "-" if row["p"] is None else f"{row['p']:.3f}",
            ]
            for row in found["rows"]
            if row["measure"] == measure
        ]
        head = ["Setting", "#Labels", "#random weights", "#pre-trained", "#gain", "#p of the gain"]
        caption = f"{MEASURE_NAMES.get(measure, measure)}, {found.get('unit', '')}: mean ± standard deviation"
        tables.append(f'<div class="panel scroll">{html_table(head, rows, caption=caption)}</div>')
    return f"{_simulated(found.get('simulated', False))}<ul>{caveats}</ul>{''.join(tables)}"


def cross_survey_section(record: Record) -> str:
    """Return how the bundle does on surveys that it was not trained on."""
    found = record.get("cross_survey")
    if found is None:
        return missing_note(record, "cross_survey", "Other surveys were not tried yet")
    return "".join(_survey(each) for each in found["surveys"])


def determinism_section(record: Record) -> str:
    """Return the largest differences between scorings of the same alerts."""
    found = record["determinism"]
    rows = [
        [escape(way), *(f"{each[name]:.3g}" for name in ("probability", "anomaly_score", "anomaly_p_value"))]
        for way, each in found["largest_difference"].items()
    ]
    head = ["Scored", "#probabilities", "#anomaly scores", "#p-values"]
    return (
        f"<p>{found['alerts']} alerts of all settings on {escape(found['provider'])}, "
        f"{escape(found['precision'])}; the largest absolute difference from one plain scoring.</p>"
        f'<div class="panel scroll">{html_table(head, rows)}</div>'
    )


def _survey(found: Record) -> str:
    settings: Mapping[str, Record] = found["settings"]
    rows = [
        [SETTING_NAMES.get(name, name), f"{each['n']:,}"]
        + [interval_cell(each.get(measure)) for measure in MEASURE_NAMES]
        for name, each in settings.items()
    ]
    head = ["Setting", "#Objects", *(f"#{name}" for name in MEASURE_NAMES.values())]
    counts = ", ".join(f"{escape(name)} {n}" for name, n in found["n_by_class"].items())
    left = "; ".join(f"{escape(reason)}: {n:,}" for reason, n in found["left_out"].items())
    odd = ", ".join(f"{escape(name)} {n}" for name, n in found["n_by_anomaly"].items())
    matrices = "".join(
        '<div class="panel scroll">'
        + confusion_table(
            found["classes"],
            each["confusion"],
            corner="published, said to be",
            caption=SETTING_NAMES.get(name, name),
        )
        + "</div>"
        for name, each in settings.items()
        if each.get("confusion")
    )
    return (
        f"<h3>{escape(found['title'])}</h3><p>{escape(found['about'])} Measured: {counts or 'nothing'}. "
        f"Of no class that is measured, to be found as anomalies: {odd or 'none'}. "
        f"Left out: {left or 'nothing'}.</p>"
        f'<div class="panel scroll">{html_table(head, rows)}</div>{_mapping(found["mapping"])}'
        f'<details><summary>Confusion</summary><div class="pair">{matrices}</div></details>'
    )


def _mapping(mapping: Mapping[str, Sequence[str]]) -> str:
    rows = [[escape(name), escape(", ".join(labels))] for name, labels in mapping.items()]
    table = html_table(["Measured as", "Published classes"], rows)
    return f"<details><summary>Which published class is measured as what</summary>{table}</details>"


def _simulated(simulated: bool) -> str:
    if not simulated:
        return ""
    return "<p><strong>SIMULATED objects: no evidence about real stars.</strong></p>"
