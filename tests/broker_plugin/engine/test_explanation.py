# SPDX-License-Identifier: BSD-3-Clause
"""What a person reads says what the verdict rests on, and no more than the calibration allows."""

from collections.abc import Mapping
from typing import Any

import pytest

from broker_plugin.codec.verdict import Analogue
from broker_plugin.engine.explanation import explain, one_in

ORDINARY: Mapping[str, Any] = {
    "n_epochs_by_band": {"ztf_g": 3, "ztf_r": 2},
    "span_day": 27.94,
    "modalities": ("photometry", "metadata"),
    "p_values": {"fused": 0.4, "photometry": 0.3, "metadata": 0.9},
    "calibration_n": 600,
    "calibration_stratum": "photometry+metadata/4-7",
    "period_day": None,
    "period_false_alarm_probability": None,
    "analogues": (Analogue(object_id="1", label="RRAB", cosine=0.934),),
    "class_applies": True,
    "source_context": "stellar",
}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, "epochs g:3 r:2 over 27.9 d + metadata; nothing strange (p = 0.4); most like a known RRAB"),
        ({"n_epochs_by_band": {"lsst_i": 1}}, "1 epoch + metadata;"),
        ({"n_epochs_by_band": {}, "modalities": ("metadata",)}, "metadata alone;"),
        ({"p_values": {"fused": 0.01}}, "1 in 100 known variables is this strange;"),
        (
            {"p_values": {"fused": 0.01}, "calibration_stratum": "ztf/galaxy_host/photometry/4-7"},
            "1 in 100 ZTF galaxy host alerts is this strange;",
        ),
        (
            {"p_values": {"fused": 0.01}, "calibration_stratum": "any/any/any/any"},
            "1 in 100 alerts is this strange;",
        ),
        ({"p_values": {"fused": 0.01, "photometry": 0.02}}, "is this strange, photometry stands out;"),
        (
            {"p_values": {"fused": 0.2, "photometry": 0.02, "metadata": 0.01}},
            "photometry and metadata stand out;",
        ),
        ({"period_day": 0.5234567, "period_false_alarm_probability": 1e-9}, "; period 0.52346 d;"),
        ({"period_day": 0.5234567, "period_false_alarm_probability": 0.2}, "(p = 0.4); most like"),
        ({"catalogue_period_day": 0.5700001}, "(p = 0.4); most like"),  # no light curve was folded
        (
            {"catalogue_period_day": 0.5700001, "modalities": ("light_curve",)},
            "; catalogue period 0.57 d; most like",
        ),
        (
            {"class_applies": False, "source_context": "solar_system"},
            "the classes do not apply (solar system source)",
        ),
    ],
)
def test_the_line_says_what_it_rests_on(change: dict[str, Any], expected: str) -> None:
    assert expected in explain(**{**ORDINARY, **change})


def test_a_frequency_is_no_finer_than_its_calibration() -> None:
    assert one_in(1 / 601, 600) == "< 1 in 600"
    assert one_in(2 / 601, 600) == "1 in 300"
    assert one_in(1.0, 600) == "1 in 1"
