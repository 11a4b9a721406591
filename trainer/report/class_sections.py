# SPDX-License-Identifier: BSD-3-Clause
"""Sections of the report on classes: the bundle beside its baselines, class by class, calibrated or not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from broker_plugin.decision import TEMPERED
from broker_plugin.demo.markup import confusion_table, html_table
from trainer.report.charts import Series, Whisker, key, lines_chart, reliability_chart, whiskers_chart
from trainer.report.wording import (
    MEASURE_NAMES,
    SETTING_NAMES,
    contender_name,
    interval_cell,
    lead_cell,
    missing_note,
    spread_cell,
)

__all__ = [
    "calibration_section",
    "classes_section",
    "comparison_section",
    "rule_section",
    "seeds_section",
    "withheld_section",
]

Record = Mapping[str, Any]

BY_EPOCHS = ("1", "3", "10", "30", "100", "all")
"""Settings without the catalogue's period, from few epochs to all."""

SHARED = ("macro_f1", "balanced_accuracy", "near_ood_auroc", "accuracy", "ece")


def comparison_section(record: Record) -> str:
    """Return the bundle beside its baselines: tables, measures against epochs, leads."""
    found = record["classification"]
    about = record["about"]
    said = (
        f"<p>{about['stars_of_known_classes']:,} stars of the classes that are measured and "
        f"{about['near_anomalies']:,} near anomalies (RRd, type II and anomalous Cepheids); of the file, "
        f"{about['stars_left_out_as_seen']:,} stars that the bundle was trained on are left out. Brackets "
        "and bars are 95 % intervals over 1,000 resamples of the stars. A lead is the bundle's value minus "
        "the baseline's on the same resamples (paired bootstrap); ▲ where the bundle is surely better, ▼ "
        "where it is surely worse. Classes are the most probable ones.</p>"
    )
    notes = missing_note(record, "baselines", "No baselines yet") or missing_note(
        record, "astrom3", "The paper's architecture is not among the baselines yet"
    )
    charts = "".join(
        f'<div class="panel"><h3>{MEASURE_NAMES[measure]}</h3>{chart}'
        f"{key([contender_name(name) for name in _having(found, measure)])}</div>"
        for measure in SHARED
        if (chart := _against_epochs(record, measure))
    )
    tables = "".join(
        f'<div class="panel scroll">{_measure_table(found, measure)}</div>' for measure in SHARED
    )
    remarks = "".join(f"<li>{escape(each)}</li>" for each in record["remarks"])
    words = f"{said}<ul>{remarks}</ul>{notes}"
    return f'{words}<div class="pair">{charts}</div>{tables}{_leads(found)}{_budgets(found)}'


def classes_section(record: Record) -> str:
    """Return F1 by class and the confusion of every setting."""
    found = record["classification"]
    own = found["contenders"]["bundle"]["settings"]
    rows = [
        [
            SETTING_NAMES[setting],
            *(interval_cell(each["f1_by_class"][name]) for name in found["classes"]),
        ]
        for setting, each in own.items()
        if "f1_by_class" in each
    ]
    table = html_table(
        ["Setting", *(f"#{name}" for name in found["classes"])], rows, caption="F1 by class, this bundle"
    )
    matrices = "".join(
        '<div class="panel scroll">'
        + confusion_table(
            found["classes"],
            each["confusion"],
            corner="published, said to be",
            caption=SETTING_NAMES[setting],
        )
        + "</div>"
        for setting, each in own.items()
        if "confusion" in each
    )
    return f'<div class="panel scroll">{table}</div><div class="pair">{matrices}</div>'


def calibration_section(record: Record) -> str:
    """Return reliability diagrams."""
    own = record["classification"]["contenders"]["bundle"]["settings"]
    charts = "".join(
        f'<div class="panel"><h3>{SETTING_NAMES[setting]}</h3>'
        f"{reliability_chart(each['reliability'], title=f'Reliability, {SETTING_NAMES[setting]}')}"
        f"<p>calibration error {interval_cell(each['ece'])}</p></div>"
        for setting, each in own.items()
        if "reliability" in each
    )
    return (
        "<p>Accuracy of the most probable class against its probability, in 15 bins; the area of a mark "
        "grows with the number of stars in it, the dashed line is what calibrated probabilities give. "
        "Chance adds to a calibration error, and to that of a resample once more: its interval is the value "
        "less and more what chance may do to the bins, and reaches 0 where nothing but chance is seen.</p>"
        f'<div class="charts">{charts}</div>'
    )


def rule_section(record: Record) -> str:
    """Return what decision rules gain."""
    parts = [
        "<p>All else on this page is of the most probable class. A decision rule names the class with the "
        "largest product of probability and weight, and leaves the probabilities as they are. "
        f"<code>{TEMPERED}</code> (<code>--decision-rule {TEMPERED}</code>) weights each class by one over "
        "the root of its frequency. Where the training's configuration says so (<code>decision_rule</code> "
        "in <code>[calibration]</code>), a bundle has a rule of its own, whose weights were chosen on its "
        "calibration stars, stratum by stratum.</p>"
    ]
    for name, settings in record["decision_rules"].items():
        rows = [
            [SETTING_NAMES[setting], *(cell for each in found.items() for cell in _ruled(*each))]
            for setting, found in settings.items()
        ]
        head = [name]
        for measure in next(iter(settings.values()), {}):
            head += [f"#{MEASURE_NAMES[measure]}", "#lead over the most probable"]
        parts.append(f'<div class="panel scroll">{html_table(head, rows)}</div>')
    return "".join(parts)


def withheld_section(record: Record) -> str:
    """Return the measures with fewer modalities."""
    found = record.get("withheld")
    if found is None:
        return "<p>The bundle has a single modality.</p>"
    tables = "".join(
        f'<div class="panel scroll">{_measure_table(found, measure, of="With", ours=whole)}</div>'
        for whole in [next(iter(found["contenders"]))]
        for measure in ("macro_f1", "balanced_accuracy", "near_ood_auroc")
    )
    return (
        "<p>What is withheld is taken out of the alert before it is scored, as if it had come without. A "
        f"lead is that of all modalities over the smaller set.</p>{tables}"
    )


def seeds_section(record: Record) -> str:
    """Return several trainings beside one another."""
    found = record.get("seeds")
    if found is None:
        others = record.get("trainings_of_other_stars", 0)
        besides = f" on these stars (the run has {others} that were measured on others)" if others else ""
        return missing_note(
            record, "seeds", f"One training only{besides}, so nothing is known of the spread over seeds"
        )
    settings = [each["name"] for each in record["settings"]]
    same = (
        "All on the same stars."
        if found["same_stars"]
        else "Each on the stars that it has not seen, which are others for each seed: the spread is that of "
        "training and test sample together."
    )
    tables = []
    for measure in SHARED:
        rows = [
            [escape(each["title"]), f"{each['stars']:,}"]
            + [_plain(each["measures"][measure].get(setting)) for setting in settings]
            for each in found["bundles"]
        ]
        rows.append(
            ["mean ± standard deviation", ""]
            + [spread_cell(found["spread"][measure][setting]) for setting in settings]
        )
        head = ["Training", "#Stars", *(f"#{SETTING_NAMES[setting]}" for setting in settings)]
        tables.append(
            f'<div class="panel scroll">{html_table(head, rows, caption=MEASURE_NAMES[measure])}</div>'
        )
    return f"<p>{same}</p>{''.join(tables)}"


def _measure_table(found: Record, measure: str, *, of: str = "Setting", ours: str = "bundle") -> str:
    """Return one measure: a row a setting, a column for ours, two for each of the others."""
    others = [name for name in _having(found, measure) if name != ours]
    own = found["contenders"][ours]["settings"]
    rows = []
    for setting, each in own.items():
        cells = [SETTING_NAMES[setting], interval_cell(each.get(measure))]
        for name in others:
            theirs = found["contenders"][name]["settings"].get(setting, {})
            cells.append(interval_cell(theirs.get(measure)))
            cells.append(lead_cell(found["lead"][name].get(setting, {}).get(measure), measure))
        rows.append(cells)
    head = ["Setting", f"#{contender_name(ours)}"]
    for name in others:
        head += [f"#{contender_name(name)}", "#lead"]
    return html_table(head, rows, caption=MEASURE_NAMES[measure])


def _having(found: Record, measure: str) -> list[str]:
    """Return the contenders that have a measure in some setting."""
    return [
        name
        for name, each in found["contenders"].items()
        if any(setting.get(measure) is not None for setting in each["settings"].values())
    ]


def _against_epochs(record: Record, measure: str) -> str:
    found = record["classification"]
    epochs = {each["name"]: each["median_epochs"] for each in record["settings"]}
    ticks = {
        float(epochs[name]): f"all ({epochs[name]})" if name == "all" else name
        for name in BY_EPOCHS
        if epochs.get(name)
    }
    if len(ticks) < 2:
        return ""
    series = [
        Series(
            name=contender_name(name),
            points={
                float(epochs[setting]): each[measure]
                for setting in BY_EPOCHS
                if epochs.get(setting)
                and (each := found["contenders"][name]["settings"].get(setting, {})).get(measure)
            },
        )
        for name in _having(found, measure)
    ]
    return lines_chart(
        series,
        x_ticks=ticks,
        x_label="epochs seen (median of the stars)",
        y_label=MEASURE_NAMES[measure],
        title=f"{MEASURE_NAMES[measure]} against the number of epochs",
    )


def _leads(found: Record) -> str:
    """Return the lead in macro-F1 as a chart."""
    whiskers = [
        Whisker(name=f"{contender_name(name)}, {setting}", interval=each["macro_f1"], series=number + 1)
        for number, (name, settings) in enumerate(found["lead"].items())
        for setting, each in settings.items()
        if each.get("macro_f1")
    ]
    chart = whiskers_chart(
        whiskers, x_label="lead of this bundle in macro-F1", title="Lead over the baselines", zero=True
    )
    return f'<div class="panel narrow"><h3>Lead over the baselines</h3>{chart}</div>' if chart else ""


def _budgets(found: Record) -> str:
    rows = [
        [contender_name(name), escape(each["budget"]), f"{each['stars']:,}"]
        for name, each in found["contenders"].items()
        if each["budget"]
    ]
    if not rows:
        return ""
    table = html_table(["Baseline", "Budget", "#Stars asked"], rows, caption="What the baselines were given")
    return f'<div class="panel scroll">{table}</div>'


def _ruled(measure: str, each: Mapping[str, Sequence[float]]) -> tuple[str, str]:
    return interval_cell(each["by_rule"]), lead_cell(each["lead"], measure)


def _plain(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
