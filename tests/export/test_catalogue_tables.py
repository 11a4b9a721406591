# SPDX-License-Identifier: BSD-3-Clause
"""The card's tables on catalogued stars hold the measures, and only those that there are."""

from __future__ import annotations

from typing import Any

import pytest

from export.catalogue_tables import catalogue_tables
from trainer.predictions import MERGED

SETTINGS = ("period", "all", "30")


def measures(**changes: Any) -> dict[str, Any]:
    counts = [[10 * row + column for column in range(len(MERGED))] for row in range(len(MERGED))]
    found: dict[str, Any] = {
        "n": 900,
        "confusion": counts,
        "near_ood_auroc_by_class": {"RRd": 0.81249, "ACEP": 0.5},
        "p_value_exceedance": {"0.1": 0.12, "0.01": 0.0125},
    }
    return {name: dict.fromkeys(SETTINGS, value) for name, value in (found | changes).items()}


def test_each_setting_has_its_areas_and_its_p_values_beside_what_is_due() -> None:
    text = catalogue_tables(measures())
    assert "| setting | RRd | ACEP |" in text
    # The error of 900 stars is the root of 0.1 * 0.9 / 900.
    assert "| setting | p <= 0.1 | due | p <= 0.01 | due |" in text
    for setting in SETTINGS:
        assert f"| {setting} | 0.812 | 0.500 |" in text
        assert f"| {setting} | 0.1200 | 0.1 +- 0.0100 | 0.0125 | 0.01 +- 0.0033 |" in text


def test_confusion_is_shown_with_all_epochs_and_with_thirty() -> None:
    text = catalogue_tables(measures())
    assert text.count(f"| published | {' | '.join(MERGED)} |") == 2
    assert text.count("| LPV | 50 | 51 | 52 | 53 | 54 | 55 | 56 |") == 2
    assert "with all epochs:" in text
    assert "with the first 30 epochs:" in text


@pytest.mark.parametrize(
    ("unknown", "heading"),
    [
        ("confusion", "Stars of each published class"),
        ("near_ood_auroc_by_class", "Near anomalies by published class"),
        ("p_value_exceedance", "binomial error"),
    ],
)
def test_what_was_not_measured_has_no_table(unknown: str, heading: str) -> None:
    assert heading in catalogue_tables(measures())
    assert heading not in catalogue_tables(measures(**{unknown: None}))
