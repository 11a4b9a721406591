# SPDX-License-Identifier: BSD-3-Clause
"""The one line of a verdict that a person reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from types import MappingProxyType

from broker_plugin.codec.verdict import Analogue
from broker_plugin.strata import ANY

__all__ = ["counted", "explain", "one_in"]

NOTABLE_P_VALUE = 0.05
"""Below this a source of strangeness is named: one ordinary alert in twenty gets that far."""

OF_EPOCHS = frozenset({"photometry", "light_curve"})
"""Modalities that the epochs stand for."""

FOLDED = "light_curve"
"""The modality that reads periods."""

CREDIBLE_FALSE_ALARM = 1e-3
"""Largest false-alarm probability of a period that is spoken of. The formula takes noise for white, so a
limit of a few percent would let through the periods that slow variables have by chance."""

ODD_WORDS: Mapping[str, str] = MappingProxyType(
    {
        "two_periods": "a second period",
        "other_period": "a period that is unusual for its shape",
        "event": "an event that does not repeat",
        "glitch": "a fault of the instrument",
    }
)
"""What is said of an oddity that is likelier than all else."""

STRATA = 4096
"""Names of strata whose words are kept: more than any bundle has."""

STREAM_PARTS = 4
"""Parts of the name of a stratum of a stream: survey, context, modalities, epochs."""


def one_in(p_value: float, n: int) -> str:
    """Say a p-value as a frequency, no finer than its calibration of `n` objects allows.

    Examples
    --------
    >>> one_in(0.01, 2000), one_in(1 / 401, 400)
    ('1 in 100', '< 1 in 400')
    """
    if p_value * (n + 1) <= 1.0 + 1e-9:
        return f"< 1 in {n:,}"
    return f"1 in {1 / p_value:,.0f}"


def counted(number: int, noun: str) -> str:
    """Return how many there are of something.

    Examples
    --------
    >>> counted(1, "dead letter"), counted(2000, "verdict")
    ('1 dead letter', '2,000 verdicts')
    """
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def explain(
    *,
    n_epochs_by_band: Mapping[str, int],
    span_day: float,
    modalities: Sequence[str],
    p_values: Mapping[str, float],
    calibration_n: int,
    calibration_stratum: str,
    period_day: float | None,
    period_false_alarm_probability: float | None,
    analogues: Sequence[Analogue],
    class_applies: bool,
    source_context: str,
    oddities: Mapping[str, float] = MappingProxyType({}),
    catalogue_period_day: float | None = None,
) -> str:
    """Return what the verdict rests on, what is strange, and what the object resembles.

    Parameters
    ----------
    p_values
        Conformal p-values by source: `fused` and each modality that was present.
    calibration_n, calibration_stratum
        Size and name of what they are compared with: a stream's stratum has four parts, a catalogue's two.
    catalogue_period_day
        The period of a catalogue that the light curve was folded with.
    """
    parts = [
        _basis(n_epochs_by_band, span_day, modalities),
        _strangeness(p_values, calibration_n, _compared_with(calibration_stratum)),
    ]
    likeliest = max(oddities, key=oddities.__getitem__, default="")
    if likeliest in ODD_WORDS:
        parts.append(f"looks as if it had {ODD_WORDS[likeliest]} ({oddities[likeliest]:.0%})")
    if period_day is not None and (period_false_alarm_probability or 0.0) <= CREDIBLE_FALSE_ALARM:
        parts.append(f"period {period_day:.5g} d")
    if catalogue_period_day is not None and FOLDED in modalities:
        parts.append(f"catalogue period {catalogue_period_day:.5g} d")
    if class_applies and analogues:
        nearest = analogues[0]
        parts.append(f"most like a known {nearest.label} (cosine {nearest.cosine:.2f})")
    if not class_applies:
        parts.append(f"the classes do not apply ({source_context.replace('_', ' ')} source)")
    return "; ".join(parts)


def _basis(n_epochs_by_band: Mapping[str, int], span_day: float, modalities: Sequence[str]) -> str:
    if not n_epochs_by_band:
        return f"{'+'.join(modalities)} alone"
    bands = " ".join(f"{band.rpartition('_')[2]}:{count}" for band, count in n_epochs_by_band.items())
    epochs = "1 epoch" if sum(n_epochs_by_band.values()) == 1 else f"epochs {bands} over {span_day:.3g} d"
    others = [name for name in modalities if name not in OF_EPOCHS]
    return f"{epochs}{' + ' + ' + '.join(others) if others else ''}"


@lru_cache(STRATA)
def _compared_with(stratum: str) -> str:
    parts = stratum.split("/")
    if len(parts) < STREAM_PARTS:
        return "known variables"
    named = [
        parts[0].upper() if parts[0] != ANY else "",
        parts[1].replace("_", " ").replace("+", " or ") if parts[1] != ANY else "",
    ]
    return " ".join([*filter(None, named), "alerts"])


def _strangeness(p_values: Mapping[str, float], n: int, compared_with: str) -> str:
    fused = p_values["fused"]
    overall = f"nothing strange (p = {fused:.2g})"
    if fused <= NOTABLE_P_VALUE:
        overall = f"{one_in(fused, n)} {compared_with} is this strange"
    strange = [name for name, value in p_values.items() if name != "fused" and value <= NOTABLE_P_VALUE]
    return (
        f"{overall}, {' and '.join(strange)} stand{'s' if len(strange) == 1 else ''} out"
        if strange
        else overall
    )
