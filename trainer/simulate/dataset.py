# SPDX-License-Identifier: BSD-3-Clause
"""A dataset of simulated objects with three modalities, in the layout of `trainer.data.objects`.

Every row is marked `simulated`. Classes have equal shares, and everything that is not physics (survey, number
of epochs, brightness, which modality is missing, the split) is drawn without regard to the class.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from broker_plugin.streams.output_files import check_outputs, complete_files, make_folder
from trainer.cadence import LSST, ZTF, Survey
from trainer.data.objects import SPLITS, ObjectRow, write_rows
from trainer.simulate.binaries import contact_binary, detached_binary, rotator
from trainer.simulate.bodies import StarSystem
from trainer.simulate.light import Photometer
from trainer.simulate.observe import catalogue_values, light_curve, take_spectrum
from trainer.simulate.pulsators import cepheid, delta_scuti, long_period, rr_lyrae_ab, rr_lyrae_c
from trainer.simulate.sky import place

__all__ = ["KINDS", "SPLIT_SHARES", "card", "simulate_object", "simulate_objects", "write_simulation"]

KINDS: tuple[Callable[[np.random.Generator], StarSystem], ...] = (
    contact_binary,
    detached_binary,
    rr_lyrae_ab,
    rr_lyrae_c,
    cepheid,
    delta_scuti,
    long_period,
    rotator,
)

SPLIT_SHARES = (0.6, 0.1, 0.15, 0.15)
"""Shares of `SPLITS`."""

BRIGHT_MAG, FAINT_MAG = 13.0, 18.0
"""Limits in r, the same for both surveys; saturation of the deep one is ignored."""

SPECTRUM_SHARE = 0.8
"""Share of objects that have a spectrum."""

_CARD = """\
# Simulated variable stars, {n:,} objects (seed {seed})

> **SIMULATED DATA.** Nothing here was observed. The file serves to run the whole way with three modalities
> and proves nothing about real stars.

Each object is drawn as a stellar system: masses, radii, temperatures, metallicity, period and amplitude from
priors that are stated, with their sources, in `trainer/simulate/pulsators.py` and `binaries.py`; then its
distance, dust and position from its apparent magnitude ({bright:g} to {faint:g} in r, equal for all classes).
Light curve (ZTF or LSST cadence, bands, depth and noise), spectrum (3700 to 9000 angstrom, R = 1800: black
bodies behind Balmer, calcium, magnesium, sodium and metal lines and titanium oxide) and catalogue values
follow from the same parameters. The classes have equal shares, which no sky has.

What is missing: limb darkening, cycle-to-cycle changes, double modes, emission lines, crowding, saturation,
selection by variability; spectra are no model atmospheres.
"""


def simulate_object(number: int, *, seed: int) -> ObjectRow:
    """Return one object, which depends on the seed and its number alone."""
    rng = np.random.default_rng((seed, number))
    system = KINDS[rng.integers(len(KINDS))](rng)
    survey: Survey = ZTF if rng.random() < 0.5 else LSST
    photometer = Photometer(system)
    where = place(system, photometer, rng, bright_mag=BRIGHT_MAG, faint_mag=FAINT_MAG)
    curve = light_curve(system, where, photometer, rng, survey=survey)
    spectrum = take_spectrum(system, where, photometer, rng) if rng.random() < SPECTRUM_SHARE else None
    return ObjectRow(
        object_id=f"sim:{seed}:{number}",
        ra_deg=where.ra_deg,
        dec_deg=where.dec_deg,
        split=str(rng.choice(SPLITS, p=SPLIT_SHARES)),
        source=survey.name,
        label=system.label,
        published_label=system.label,
        simulated=True,
        light_curve=curve,
        spectrum=spectrum,
        metadata=catalogue_values(system, where, photometer, rng),
        period_day=system.period_day,
    )


def simulate_objects(n: int, *, seed: int) -> Iterator[ObjectRow]:
    """Yield `n` objects; the first of a larger simulation are those of a smaller one."""
    return (simulate_object(number, seed=seed) for number in range(n))


def card(n: int, *, seed: int) -> str:
    """Return the data card as Markdown."""
    return _CARD.format(n=n, seed=seed, bright=BRIGHT_MAG, faint=FAINT_MAG)


def write_simulation(
    path: Path, n: int, *, seed: int, advance: Callable[[int], None] = lambda n: None
) -> None:
    """Write a simulated dataset and, beside it, its card with the ending `.md`: both or none.

    Raises
    ------
    ConfigurationError
        If they cannot be written.
    """
    card_path = path.with_suffix(".md")
    check_outputs([path, card_path], [])
    make_folder(path.parent)
    text = card(n, seed=seed).encode()

    def rows() -> Iterator[ObjectRow]:
        for row in simulate_objects(n, seed=seed):
            yield row
            advance(1)

    with complete_files(path, card_path) as (objects, about):
        about.write(text)
        write_rows(objects, rows(), card_sha256=hashlib.sha256(text).hexdigest())
