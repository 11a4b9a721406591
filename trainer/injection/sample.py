# SPDX-License-Identifier: BSD-3-Clause
"""Hosts with events: drawn stars, drawn events, placed so that the first epochs of a setting show them."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from trainer.data.stars import StarTable
from trainer.injection import priors
from trainer.injection.artefacts import JUMPS
from trainer.injection.events import EVENTS, Event
from trainer.injection.photometry import Curve, SurveyNoise, curve_of, observed

__all__ = ["Injected", "Truth", "inject"]

FloatArray = NDArray[np.float64]

TRIES = 100
"""Draws for one host until an event is seen; a host that shows none after so many gets none."""

SEEN_FACTOR = 10.0 ** (0.4 * priors.SEEN_MAG)


_What = tuple[float, float, int, int]
_Row = tuple[int, float, float, int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Truth:
    """What was injected into each host (B,).

    Parameters
    ----------
    host
        Row of the host among the stars.
    amplitude_mag
        Largest change at an epoch that was kept, positive also for fades.
    signal_to_noise
        Of the event in all kept epochs together, for one who knows its shape.
    epochs_seen
        Kept epochs that are inside the event.
    tries
        Draws that were made.
    """

    host: NDArray[np.int64]
    amplitude_mag: FloatArray
    signal_to_noise: FloatArray
    epochs_seen: NDArray[np.int64]
    tries: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.host)

    @classmethod
    def of(cls, rows: Sequence[_Row]) -> Truth:
        """Return the columns of rows: host, amplitude, signal-to-noise ratio, epochs seen, draws."""
        host, amplitude_mag, signal_to_noise, epochs_seen, tries = (
            zip(*rows, strict=True) if rows else [()] * 5
        )
        return cls(
            host=np.array(host, np.int64),
            amplitude_mag=np.array(amplitude_mag, np.float64),
            signal_to_noise=np.array(signal_to_noise, np.float64),
            epochs_seen=np.array(epochs_seen, np.int64),
            tries=np.array(tries, np.int64),
        )

    @classmethod
    def none(cls, host: NDArray[np.int64]) -> Truth:
        """Return that nothing was injected into these stars."""
        return cls.of([(each, 0.0, 0.0, 0, 0) for each in host.tolist()])


@dataclass(frozen=True, slots=True, kw_only=True)
class Injected:
    """Stars with events, one to a host, and what is in them."""

    stars: StarTable
    truth: Truth


def inject(
    stars: StarTable,
    hosts: NDArray[np.int64],
    kind: str,
    *,
    n_epochs: int | None,
    noise: SurveyNoise,
    seed: int,
) -> Injected:
    """Put an event or a jump of one kind into each host, within its first epochs; None for all of them.

    A host that cannot show one is left out. What a host gets follows from its name and the seed alone.
    """
    curves: list[Curve] = []
    rows: list[_Row] = []
    for host in hosts.tolist():
        which = zlib.crc32(str(stars.star_id[host]).encode())
        rng = np.random.default_rng((seed, (*EVENTS, *JUMPS).index(kind), n_epochs or 0, which))
        put = _jump if kind in JUMPS else _event
        found = put(curve_of(stars, host), kind, n_epochs, noise, rng)
        if found is not None:
            curves.append(found[0])
            rows.append((host, *found[1]))
    truth = Truth.of(rows)
    return Injected(stars=_with_curves(stars.take(truth.host), curves), truth=truth)


def _event(
    whole: Curve, kind: str, n_epochs: int | None, noise: SurveyNoise, rng: np.random.Generator
) -> tuple[Curve, _What] | None:
    window = whole.take(slice(0, n_epochs))
    for tries in range(1, TRIES + 1):
        event = EVENTS[kind](rng)
        # The event overlaps a drawn epoch of the window at a drawn age.
        age_day = rng.uniform(-event.before_day, event.after_day)
        reference_mjd = float(rng.choice(window.mjd)) - age_day
        seen = observed(whole, event, reference_mjd, noise, rng)
        kept = np.flatnonzero(seen.measured)[:n_epochs]
        factor = seen.factor[kept]
        inside = _inside(event, seen.curve.mjd[kept] - reference_mjd, factor)
        if inside.sum() >= priors.EPOCHS_MIN[kind]:
            return _described(seen.curve.take(kept), factor, seen.added_njy[kept], inside, tries)
    return None


def _inside(event: Event, since_day: FloatArray, factor: FloatArray) -> NDArray[np.bool_]:
    if event.inside_day is not None:
        return np.asarray(np.abs(since_day) <= event.inside_day)
    return np.asarray(np.maximum(factor, 1.0 / factor) >= SEEN_FACTOR)


def _jump(
    whole: Curve, kind: str, n_epochs: int | None, noise: SurveyNoise, rng: np.random.Generator
) -> tuple[Curve, _What] | None:
    window = whole.take(slice(0, n_epochs))
    for tries in range(1, TRIES + 1):
        factor = 10.0 ** (-0.4 * JUMPS[kind](window.mjd, rng))
        curve = Curve(
            mjd=window.mjd, flux_njy=window.flux_njy * factor, flux_err_njy=window.flux_err_njy * factor
        )
        kept = np.flatnonzero(noise.measured(curve.flux_njy) | (factor == 1.0))
        changed = factor[kept] != 1.0
        if changed.any():
            added = (curve.flux_njy - window.flux_njy)[kept]
            return _described(curve.take(kept), factor[kept], added, changed, tries)
    return None


def _described(
    curve: Curve, factor: FloatArray, added: FloatArray, inside: NDArray[np.bool_], tries: int
) -> tuple[Curve, _What]:
    amplitude_mag = float(2.5 * np.abs(np.log10(factor)).max())
    signal_to_noise = float(np.sqrt(((added / curve.flux_err_njy) ** 2).sum()))
    return curve, (amplitude_mag, signal_to_noise, int(inside.sum()), tries)


def _with_curves(stars: StarTable, curves: Sequence[Curve]) -> StarTable:
    columns = {column.name: getattr(stars, column.name) for column in fields(stars)}
    lengths = [len(curve) for curve in curves]
    joined = {
        name: np.concatenate([getattr(curve, name) for curve in curves]) if curves else np.zeros(0)
        for name in ("mjd", "flux_njy", "flux_err_njy")
    }
    return StarTable(
        **columns
        | {
            "mjd": joined["mjd"],
            "flux_njy": joined["flux_njy"].astype(np.float32),
            "flux_err_njy": joined["flux_err_njy"].astype(np.float32),
            "offsets": np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        }
    )
