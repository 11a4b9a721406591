# SPDX-License-Identifier: BSD-3-Clause
"""The report as one HTML page that needs nothing but itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import resources
from typing import Any

from broker_plugin.demo.page import PageSection, definitions, render_page, tiles
from trainer.report.anomaly_sections import (
    injected_section,
    near_section,
    p_values_section,
    stream_section,
)
from trainer.report.class_sections import (
    calibration_section,
    classes_section,
    comparison_section,
    rule_section,
    seeds_section,
    withheld_section,
)
from trainer.report.other_sections import (
    cross_survey_section,
    determinism_section,
    labels_section,
    retrieval_section,
)

__all__ = ["SECTIONS", "render_report"]

SECTIONS: Mapping[str, tuple[str, Callable[[Mapping[str, Any]], str]]] = {
    "classification": ("Against the baselines", comparison_section),
    "classes": ("Class by class", classes_section),
    "calibration": ("Calibration", calibration_section),
    "rule": ("Decision rule", rule_section),
    "withheld": ("Fewer modalities", withheld_section),
    "seeds": ("Several trainings", seeds_section),
    "anomalies": ("Near anomalies", near_section),
    "injected": ("Injected events", injected_section),
    "stream": ("On the stream", stream_section),
    "p-values": ("p-values of ordinary stars", p_values_section),
    "cross-survey": ("Other surveys", cross_survey_section),
    "labels": ("Few labels", labels_section),
    "retrieval": ("Cross-modal retrieval", retrieval_section),
    "determinism": ("The same each time", determinism_section),
}
"""By anchor, the heading of a section and what makes it of the record."""


def render_report(record: Mapping[str, Any]) -> str:
    """Return the page of a record that `contents.assemble` made."""
    about = record["about"]
    return render_page(
        title=f"{about['bundle']} {about['version']}, measured",
        eyebrow="astrom3-broker · evaluation",
        lede=f"{about['description']}. {about['stars']:,} stars of {about['data']}, in the settings of "
        "trainer evaluate. Every number of this page is in report.json.",
        head=tiles(_facts(record)),
        sections=[
            PageSection(name=name, title=title, body=make(record)) for name, (title, make) in SECTIONS.items()
        ],
        colophon=_colophon(record),
        banner="SIMULATED OBJECTS: no evidence about real stars" if about["simulated"] else "",
        style=resources.files("trainer.report").joinpath("report.css").read_text("utf-8"),
    )


def _facts(record: Mapping[str, Any]) -> list[tuple[str, str]]:
    own = record["classification"]["contenders"]["bundle"]["settings"]
    wanted = (
        ("period", "macro_f1", "macro-F1, catalogue's period"),
        ("all", "macro_f1", "macro-F1, all epochs"),
        ("10", "macro_f1", "macro-F1, first 10"),
        ("all", "ece", "calibration error, all epochs"),
        ("all", "near_ood_auroc", "near anomalies, AUROC"),
    )
    return [
        (f"{found[0]:.3f}", name)
        for setting, measure, name in wanted
        if (found := own.get(setting, {}).get(measure))
    ]


def _colophon(record: Mapping[str, Any]) -> str:
    about = record["about"]
    shares = ", ".join(f"{name} {share:.1%}" for name, share in about["class_frequencies"].items())
    return definitions(
        [
            ("Bundle", f"{about['bundle']} {about['version']}, digest {about['digest']}"),
            ("Modalities", ", ".join(about["modalities"])),
            ("Class prior", f"{about['class_prior']}: {shares}"),
            ("Decision rule", about["decision_rule"]),
            ("Data", f"{about['data']}, SHA-256 {about['data_sha256']}"),
            ("Version", f"astrom3-broker {about['plugin_version']}"),
        ]
    )
