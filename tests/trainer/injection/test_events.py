# SPDX-License-Identifier: BSD-3-Clause
"""Injected events keep to their priors, and the priors to themselves."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import kstest

from tests.support.artefacts import REPOSITORY
from tests.support.imports import reachable
from trainer.injection import priors
from trainer.injection.events import EVENTS, davenport_flare, einstein_magnification

DRAWS = 300

MEASURING = {f"trainer.injection.{name}" for name in ("command", "measures", "ranking", "run", "table")}
"""What asks a bundle about the events, and counts: it sees light curves as evaluation does."""

PLAIN = {
    *("broker_plugin", "broker_plugin.surveys", "broker_plugin.surveys.photometry"),
    *("trainer", "trainer.data", "trainer.data.stars"),
}
"""All that the making of events may use of the rest: the zero point of magnitudes and the table of stars."""


def mag_change(kind: str, rng: np.random.Generator, since_day: np.ndarray) -> np.ndarray:
    return 2.5 * np.log10(EVENTS[kind](rng).factor(since_day))


def test_magnification_is_conserved_in_the_limits_of_far_and_near() -> None:
    far, near = np.array([30.0]), np.array([1e-3])
    # Paczynski's formula falls as 1 + 2 / u^4 and rises as 1 / u.
    assert einstein_magnification(far) - 1 == pytest.approx(2 / far**4, rel=0.01)
    assert einstein_magnification(near) == pytest.approx(1 / near, rel=1e-3)


def test_a_flare_peaks_at_one_and_is_as_wide_as_its_name_says() -> None:
    time = np.linspace(-2, 20, 200_001)
    light = davenport_flare(time)
    assert light[np.searchsorted(time, -1.0) - 1] == 0.0
    assert light.max() == pytest.approx(1.0, abs=0.001)
    above = time[light >= 0.5]
    # The template's width at half maximum is its unit of time; as published it is that to 15 %.
    assert above[-1] - above[0] == pytest.approx(1.0, abs=0.15)
    energy, _ = quad(lambda t: davenport_flare(np.array([t]))[0], -1, 30, limit=200)
    rise = 1 - 1.941 / 2 - 0.175 / 3 + 2.246 / 4 - 1.125 / 5
    assert energy == pytest.approx(rise + 0.6890 / 1.600 + 0.3030 / 0.2783, abs=1e-3)


def test_peaks_are_distributed_as_the_priors_say(rng: np.random.Generator) -> None:
    lens = np.array([mag_change("microlensing", rng, np.zeros(1))[0] for _ in range(DRAWS)])
    # u0 ~ U(0, 1) turned into the peak magnification A: u0^2 = 2 A / sqrt(A^2 - 1) - 2.
    peak = 10 ** (0.4 * lens)
    impact = np.sqrt(2 * peak / np.sqrt(peak**2 - 1) - 2)
    assert kstest(impact, "uniform").pvalue > 1e-3
    fine = np.linspace(0, 300, 3001)
    depth = np.array([-mag_change("fade", rng, fine).min() for _ in range(DRAWS)])
    assert kstest((depth - 1) / 7, "uniform").pvalue > 1e-3
    height = np.array([mag_change("outburst", rng, np.linspace(0, 4, 401)).max() for _ in range(DRAWS)])
    assert kstest((height - 2) / 4, "uniform").pvalue > 1e-3
    flare = 10 ** (0.4 * np.array([mag_change("flare", rng, np.zeros(1))[0] for _ in range(DRAWS)])) - 1
    low, high = (10 ** (0.4 * mag) - 1 for mag in priors.FLARE_AMPLITUDE_MAG)
    # dN/dA ~ A^-2 between the limits is uniform in 1 / A; the template's peak lacks 0.8 % after t = 0.
    assert kstest((1 / low - 0.992 / flare) / (1 / low - 1 / high), "uniform").pvalue > 1e-3


def test_a_fade_declines_faster_than_it_recovers(rng: np.random.Generator) -> None:
    day = np.arange(-50.0, 4000.0, 0.5)
    for _ in range(50):
        change = -mag_change("fade", rng, day)
        assert (change[day <= 0] == 0).all()
        depth = change.max()
        bottom = day[change >= depth * (1 - 1e-9)]
        recovered = day[(day > bottom[-1]) & (change <= depth / np.e)][0] - bottom[-1]
        assert priors.FADE_DECLINE_DAY[0] - 1 <= bottom[0] <= priors.FADE_DECLINE_DAY[1] + 1
        assert priors.FADE_RECOVERY_DAY[0] - 1 <= recovered <= priors.FADE_RECOVERY_DAY[1] + 1


def test_outbursts_of_a_star_are_alike_and_come_again(rng: np.random.Generator) -> None:
    day = np.arange(-2000.0, 2000.0, 0.05)
    change = mag_change("outburst", rng, day)
    high = change >= change.max() - 1e-9
    begins = np.flatnonzero(np.diff(high.astype(int)) == 1)
    assert len(begins) >= 2
    assert change[np.searchsorted(day, -0.1)] == 0.0


def test_injection_shares_no_code_with_what_makes_training_alerts() -> None:
    """What may be imported is listed, not what may not: no module of the augmentation can be left out."""
    package = REPOSITORY / "trainer" / "injection"
    every = {f"trainer.injection.{path.stem}" for path in package.glob("*.py") if path.stem != "__init__"}
    assert every > MEASURING
    reached = reachable(every - MEASURING)
    assert reached - every - {"trainer.injection"} == PLAIN
    assert not reached & MEASURING


def test_training_alerts_are_made_without_the_injection() -> None:
    made = reachable(["trainer.training_sets"])
    assert {"trainer.augment", "trainer.outliers", "trainer.windows"} <= made
    assert not {name for name in made if name.startswith("trainer.injection")}
