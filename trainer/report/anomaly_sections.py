# SPDX-License-Identifier: BSD-3-Clause
"""Sections of the report on what is strange: near anomalies, injected and planted events, p-values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any

from broker_plugin.demo.markup import html_table
from trainer.report.charts import Whisker, whiskers_chart
from trainer.report.wording import (
    SETTING_NAMES,
    contender_name,
    interval_cell,
    missing_note,
    number_cell,
    spread_cell,
)
from trainer.stream.measure import TESTED_MIN

__all__ = ["injected_section", "near_section", "p_values_section", "stream_section"]

Record = Mapping[str, Any]

SCORE_NAMES = {
    "anomaly_score": "anomaly score",
    "anomaly_p_value": "p-value",
    "isolation_forest": "isolation forest on statistics",
}


def near_section(record: Record) -> str:
    """Return how well held-out classes of pulsating stars are told from known ones."""
    found = record["classification"]["contenders"]
    rows = [
        [
            contender_name(name) if setting == next(iter(each["settings"])) else "",
            SETTING_NAMES[setting],
            *_near_cells(measures, list(_near_counts(found))),
        ]
        for name, each in found.items()
        for setting, measures in each["settings"].items()
    ]
    counts = _near_counts(found)
    head = ["Score of", "Setting", "#all", "#all, by confidence"]
    head += [f"#{name} ({n})" for name, n in counts.items()]
    table = html_table(head, rows, caption="Area under the ROC curve against stars of known classes")
    own = found["bundle"]["settings"]
    chart = whiskers_chart(
        [
            Whisker(name=f"{name}, {setting}", interval=each["auroc"], series=number)
            for number, name in enumerate(counts)
            for setting, measures in own.items()
            if (each := measures["near_ood_auroc_by_class"].get(name)) and each["auroc"]
        ],
        x_label="AUROC of this bundle's anomaly score; 0.5 is chance",
        title="Near anomalies by class and setting",
    )
    drawn = f'<div class="panel narrow">{chart}</div>' if chart else ""
    return (
        "<p>Classes that nothing was fitted on, beside stars of the known classes. Confidence is one minus "
        "the largest probability, which is also the score of a baseline that classifies.</p>"
        f'<div class="panel scroll">{table}</div>{drawn}'
    )


def injected_section(record: Record) -> str:
    """Return how many injected events are found."""
    found = record.get("injected")
    if found is None:
        return missing_note(record, "injected", "No events were injected yet")
    parts = [
        f"<p>Bundle {escape(str(found['bundle']))}. Microlensing, fades, outbursts and flares by priors "
        f"({escape(str(found['priors']))}) written down before, in {found['stars']['hosts']:,} stars; "
        f"thresholds from {found['stars']['ordinary']:,} ordinary ones. Recall at a rate of false alarms, "
        "with 90 % intervals.</p>"
    ]
    for level in ("0.01", "0.001"):
        rows = [
            [SETTING_NAMES[setting], SCORE_NAMES.get(score, score), *_recalls(measures[score], level)]
            for setting, measures in found["settings"].items()
            for score in SCORE_NAMES
            if score in measures
        ]
        kinds = _kinds(found)
        head = ["Setting", "Score", *(f"#{kind}" for kind in kinds), "#all events"]
        rows = [row for row in rows if len(row) == len(head)]
        if rows:
            table = html_table(head, rows, caption=f"Recall at {float(level):.1%} false alarms")
            parts.append(f'<div class="panel scroll">{table}</div>')
    jumps = [
        [SETTING_NAMES[setting], *(f"{escape(name)} {_share(each)}" for name, each in passed.items())]
        for setting, measures in found["settings"].items()
        if (passed := measures["anomaly_score"]["recall"].get("0.01", {}).get("artefacts"))
    ]
    if jumps:
        head = ["Setting", *["Artefact"] * (len(jumps[0]) - 1)]
        table = html_table(
            head, jumps, caption="Instrumental jumps above the same threshold; they should not be"
        )
        parts.append(f'<div class="panel scroll">{table}</div>')
    return "".join(parts)


def stream_section(record: Record) -> str:
    """Return what the fits to streams measured on held-back alerts."""
    fits = record.get("stream")
    if fits is None:
        return missing_note(record, "stream", "The bundle was not fitted to a stream's own alerts")
    return "".join(_fit(fit) for fit in fits)


def p_values_section(record: Record) -> str:
    """Return the shares of ordinary catalogue stars with small p-values."""
    rows = [
        [
            SETTING_NAMES[setting],
            f"<code>{escape(name)}</code>",
            f"{found['calibration_n']:,}",
            f"{found['n']:,}",
            *(_due(found, level) for level in ("0.1", "0.01")),
            f"{found['ks']:.3f} <small>by chance {found['ks_due']:.3f}</small>",
        ]
        for setting, strata in record["p_values"].items()
        for name, found in strata.items()
    ]
    head = [
        "Setting",
        "Stratum",
        "#Calibration",
        "#Tested",
        "#share at 0.1",
        "#share at 0.01",
        "#KS distance",
    ]
    return (
        "<p>Ordinary test stars of the catalogue against the catalogue's own strata: the share with a "
        "p-value at or below a level, beside what it should be and its standard error. Strata with "
        f"fewer than {TESTED_MIN} of the stars are not shown, nor are stars cut to a survey's alerts: those "
        "are compared with alerts that the survey really sent, of which these stars are no sample.</p>"
        f'<div class="panel scroll">{html_table(head, rows)}</div>'
    )


def _near_counts(found: Record) -> dict[str, int]:
    """Return the near anomalies and how many stars of each there are."""
    settings: Mapping[str, Record] = found["bundle"]["settings"]
    return {
        name: each["n"]
        for measures in settings.values()
        for name, each in measures["near_ood_auroc_by_class"].items()
    }


def _near_cells(measures: Record, classes: Sequence[str]) -> Iterator[str]:
    yield interval_cell(measures.get("near_ood_auroc"))
    yield interval_cell(measures.get("near_ood_auroc_of_confidence"))
    for name in classes:
        yield interval_cell(measures["near_ood_auroc_by_class"].get(name, {}).get("auroc"))


def _kinds(found: Record) -> list[str]:
    for measures in found["settings"].values():
        for score in SCORE_NAMES:
            by_kind = measures.get(score, {}).get("recall", {}).get("0.01", {}).get("by_kind")
            if by_kind:
                return list(by_kind)
    return []


def _recalls(of_score: Record, level: str) -> list[str]:
    recall = of_score["recall"].get(level, {})
    if "by_kind" not in recall:
        return []
    return [*(_share(each) for each in recall["by_kind"].values()), _share(recall)]


def _share(recall: Record | None) -> str:
    return "-" if recall is None else interval_cell([recall["recall"], *recall["interval"]])


def _due(found: Record, level: str) -> str:
    share, expected, error = (found[f"{name}_{level}"] for name in ("share", "expected", "error"))
    if share is None:
        return "n too small"
    return f"{share:.4f} <small>due {expected:.4f} ± {error:.4f}</small>"


def _fit(fit: Record) -> str:
    surveys = " and ".join(name.upper() for name in fit["surveys"])
    parts = [f"<p>{surveys}: {fit['objects']:,} objects of an unlabelled archive, one alert each.</p>"]
    for way, held_back in (("by_object", "object"), ("by_exposure", "object and exposure")):
        results = fit["results"].get(way)
        if not results:
            continue
        caption = (
            f"Ordinary alerts held back by {held_back}: {results['splits']} splits, mean ± standard deviation"
        )
        head = ["Stratum", "#Calibration", "#Tested", "#share at 0.1", "#share at 0.01", "#KS of all splits"]
        table = html_table(head, list(_strata(results["strata"])), caption=caption)
        parts.append(f'<div class="panel scroll">{table}</div>')
        planted = list(_planted(results["planted"].get("fused", {})))
        if planted:
            head = ["Stratum and kind", "#n", "#AUROC", "#p ≤ 0.1", "#p ≤ 0.01"]
            caption = f"Events planted into alerts held back by {held_back}"
            parts.append(f'<div class="panel scroll">{html_table(head, planted, caption=caption)}</div>')
    return "".join(parts)


def _strata(strata: Record) -> Iterator[list[str]]:
    for name, each in strata.items():
        if "untested" in each:
            if each["n_test"]:
                yield [f"<code>{escape(name)}</code>", "", f"{each['n_test']:,}", "too few to test", "", ""]
            continue
        yield [
            f"<code>{escape(name)}</code>",
            f"{each['n_calibration']:.0f}",
            f"{each['n_test']:,}",
            *(_stratum_share(each, level) for level in ("0.1", "0.01")),
            number_cell(each["ks_all_splits"]),
        ]


def _stratum_share(each: Record, level: str) -> str:
    share, expected = each[f"share_{level}"], each[f"expected_{level}"]
    return (
        "n too small" if share is None else f"{spread_cell(share)} <small>due {expected['mean']:.4f}</small>"
    )


def _planted(kinds: Record) -> Iterator[list[str]]:
    for name, each in kinds.items():
        cells = (spread_cell(each[key]) for key in ("auroc", "share_0.1", "share_0.01"))
        yield [f"<code>{escape(name)}</code>", f"{each['n']:,}", *cells]
