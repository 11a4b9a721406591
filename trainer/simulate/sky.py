# SPDX-License-Identifier: BSD-3-Clause
"""Where a simulated system is: apparent brightness, distance, dust on the way, position and velocity.

Systems are drawn as a flux-limited survey lists them: the apparent magnitude first, the same for all classes,
and the distance from it. What a class is shows in how far and how high it then lies, as on the real sky.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import erfa
import numpy as np

from trainer.simulate.bodies import StarSystem
from trainer.simulate.light import Photometer, extinction

__all__ = ["Place", "place"]

R_NM = 622.3

DISC_HEIGHT_PC, DUST_HEIGHT_PC = 300.0, 120.0
"""Scale heights of the old disc and of its dust."""

DUST_MAG_PER_PC = 0.7e-3
"""A_V in the plane; with the scale height it gives 0.08 mag towards the poles."""

AV_MAX, DISC_PC_MAX, HALO_PC_MAX = 4.0, 15_000.0, 80_000.0
"""Beyond these a draw is repeated: there is no such star, or no survey would see it."""

DISC_KMS, HALO_KMS = 40.0, 150.0
"""Spread of radial velocities."""

TRIES = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Position, distance, dust and velocity of a system."""

    ra_deg: float
    dec_deg: float
    gal_lon_deg: float
    gal_lat_deg: float
    distance_pc: float
    av: float
    velocity_kms: float


def place(
    system: StarSystem,
    photometer: Photometer,
    rng: np.random.Generator,
    *,
    bright_mag: float,
    faint_mag: float,
) -> Place:
    """Put a system somewhere on the sky so that its r magnitude lies between two limits.

    Raises
    ------
    ValueError
        If a system is too bright or too faint for the limits at any distance.
    """
    absolute = photometer.magnitude(R_NM, distance_pc=10.0, av=0.0)
    for _ in range(TRIES):
        modulus = float(rng.uniform(bright_mag, faint_mag)) - absolute
        longitude = float(rng.uniform(0, 360))
        height = float(rng.laplace(0, DISC_HEIGHT_PC))
        sin_b = float(rng.uniform(-1, 1))
        clumps = float(np.exp(rng.normal(0, 0.3)))
        av = 0.0
        for _ in range(12):
            distance = 10 ** (1 + 0.2 * (modulus - av * float(extinction(R_NM))))
            if not system.halo:
                sin_b = max(-0.99, min(0.99, height / distance))
            av = min(AV_MAX, clumps * _dust(distance, sin_b))
        farthest = HALO_PC_MAX if system.halo else DISC_PC_MAX
        if av < AV_MAX and distance < farthest:
            latitude = math.degrees(math.asin(sin_b))
            ra, dec = erfa.g2icrs(math.radians(longitude), math.radians(latitude))
            return Place(
                ra_deg=math.degrees(float(ra)) % 360.0,
                dec_deg=math.degrees(float(dec)),
                gal_lon_deg=longitude,
                gal_lat_deg=latitude,
                distance_pc=distance,
                av=av,
                velocity_kms=float(rng.normal(0, HALO_KMS if system.halo else DISC_KMS)),
            )
    raise ValueError(f"no place for a {system.label} of absolute magnitude {absolute:.1f}")


def _dust(distance_pc: float, sin_b: float) -> float:
    """Return A_V through an exponential layer (Parenago 1940)."""
    steep = max(abs(sin_b), 1e-3)
    depth = DUST_HEIGHT_PC / steep
    return DUST_MAG_PER_PC * depth * (1 - math.exp(-distance_pc / depth))
