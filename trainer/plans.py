# SPDX-License-Identifier: BSD-3-Clause
"""Which alerts a set is to hold: of which star, with how many epochs, made odd in which way."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from trainer.augment import OBSERVED_SHARE
from trainer.data.stars import StarTable
from trainer.outliers import MIN_EPOCHS, Oddity
from trainer.tempering import tempered
from trainer.windows import FIRST_EPOCHS, Windows, first_windows, joined, night_runs, random_windows

__all__ = [
    "Plan",
    "cut_plan",
    "drawn_oddities",
    "natural_plan",
    "often_enough",
    "planned_runs",
    "planned_windows",
    "tempered_plan",
]

N_EPOCHS_EDGES = (1, 2, 4, 8, 16, 32, 64, 128, 257)
N_EPOCHS_SHARES = (0.13, 0.15, 0.16, 0.16, 0.16, 0.13, 0.07, 0.04)
"""How often training alerts get a number of epochs between the edges. In real ZTF alerts half have at most 3
detections, with forced photometry ten times as many; deep LSST fields have hundreds."""

CUTS = 4
"""Alerts cut from each star, each with a wait, a survey and bands of its own: hardly one in ten is searched
for a period, so that they cost little."""

RANDOM_WINDOWS = 1
"""Runs of random length and beginning for each star, beside its first epochs. The period search of the
windows is the dear part of a training."""

ODD_LONGEST_SHARE = 0.3
"""Share of the odd windows that hold all epochs of their star; the others are runs of any length."""

GIVEN_SHARE = 0.25
"""Share of the windows that come with the catalogue's period: enough to learn what to do with one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Which alerts to make: columns over alerts (B,).

    Parameters
    ----------
    oddity
        `Oddity` that each is made into.
    peers
        Stars whose light and periods may serve for that.
    windows, cut
        What is looked at of each star's own epochs, or which of the alerts is meant that a survey would have
        sent of it; without either, alerts are imitated.
    """

    star: NDArray[np.int64]
    n_epochs: NDArray[np.int64]
    oddity: NDArray[np.int8]
    seed: int
    peers: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    observed_share: float = OBSERVED_SHARE
    windows: Windows | None = None
    cut: NDArray[np.int64] | None = None

    @classmethod
    def of_windows(
        cls, star: NDArray[np.int64], windows: Windows, *, seed: int, peers: NDArray[np.int64]
    ) -> Plan:
        """Return the plan of windows of observed epochs."""
        return cls(
            star=star,
            n_epochs=windows.n_epochs,
            oddity=windows.oddity,
            seed=seed,
            peers=peers,
            windows=windows,
        )

    def part(self, rows: slice) -> Plan:
        """Return some of the alerts; each is made from the seed and its own number alone."""
        return Plan(
            star=self.star[rows],
            n_epochs=self.n_epochs[rows],
            oddity=self.oddity[rows],
            seed=self.seed,
            peers=self.peers,
            observed_share=self.observed_share,
            windows=None if self.windows is None else self.windows.part(rows),
            cut=None if self.cut is None else self.cut[rows],
        )

    def digest(self) -> int:
        """Return a checksum, to know a cached set again."""
        text = f"{self.seed}/{self.observed_share}".encode()
        windows = b"" if self.windows is None else self.windows.tobytes()
        cuts = () if self.cut is None else (self.cut,)
        arrays = (self.star, self.n_epochs, self.oddity, self.peers, *cuts)
        columns = b"".join(array.tobytes() for array in arrays)
        return zlib.crc32(columns + text + windows)


def drawn_oddities(n_epochs: NDArray[np.int64], share: float, rng: np.random.Generator) -> NDArray[np.int8]:
    """Return the oddity of alerts with these numbers of epochs, a `share` of them odd, each kind as often."""
    kind = rng.integers(1, len(Oddity), len(n_epochs))
    odd = (rng.random(len(n_epochs)) < share) & (n_epochs >= MIN_EPOCHS)
    return np.where(odd, kind, Oddity.ORDINARY).astype(np.int8)


def tempered_plan(
    label: NDArray[np.int64], members: NDArray[np.intp], *, n: int, seed: int, odd_share: float = 0.0
) -> Plan:
    """Return about `n` alerts of the stars `members`, classes in the proportions of `tempered`.

    Stars without a class (-1) keep their own share of the alerts.
    """
    rng = np.random.default_rng((seed, 0))
    known = label[members] >= 0
    n_unlabelled = round(n * float((~known).mean()))
    share = tempered(np.bincount(label[members[known]]))
    parts = [
        _draw(members[label[members] == each], round((n - n_unlabelled) * float(of_class)), rng)
        for each, of_class in enumerate(share)
        if of_class > 0
    ]
    if n_unlabelled:
        parts.append(_draw(members[~known], n_unlabelled, rng))
    star = rng.permutation(np.concatenate(parts))
    n_epochs = _draw_n_epochs(len(star), rng)
    return Plan(
        star=star,
        n_epochs=n_epochs,
        oddity=drawn_oddities(n_epochs, odd_share, rng),
        seed=seed,
        peers=members.astype(np.int64),
    )


def natural_plan(
    members: NDArray[np.intp],
    *,
    low: int,
    high: int,
    n: int,
    seed: int,
    observed_share: float = OBSERVED_SHARE,
) -> Plan:
    """Return one alert of each of at most `n` stars in their natural proportions, with low to high epochs."""
    rng = np.random.default_rng((seed, 1, low))
    star = rng.permutation(members)[:n]
    n_epochs = np.floor(np.exp(rng.uniform(np.log(low), np.log(high + 1), len(star)))).astype(np.int64)
    return Plan(
        star=star.astype(np.int64),
        n_epochs=np.clip(n_epochs, low, high),
        oddity=np.zeros(len(star), np.int8),
        seed=seed,
        observed_share=observed_share,
    )


def cut_plan(label: NDArray[np.int64], members: NDArray[np.int64], *, of_class: int, seed: int) -> Plan:
    """Return `CUTS` alerts of each star `members` as a survey would have sent them.

    Parameters
    ----------
    of_class
        Fewest of a class.
    """
    star = often_enough(label, members, of_star=CUTS, of_class=of_class)
    which = np.arange(len(star)) - np.searchsorted(star, star)
    return Plan(
        star=star,
        n_epochs=np.zeros(len(star), np.int64),  # as many as the survey took
        oddity=np.zeros(len(star), np.int8),
        seed=seed,
        cut=which,
    )


def planned_windows(
    stars: StarTable,
    members: NDArray[np.int64],
    *,
    of_class: int,
    odd: bool,
    rng: np.random.Generator,
) -> tuple[NDArray[np.int64], Windows]:
    """Return the star of each window of some stars, and the windows, kind by kind, the first epochs first.

    Parameters
    ----------
    of_class
        Fewest random runs of a class; with 0 all stars have as many, and no label is looked at.
    odd
        Whether each star has an odd window too, the last kind.
    """
    star = [members] * len(FIRST_EPOCHS)
    windows = [first_windows(stars, members, n, given=False) for n in FIRST_EPOCHS]
    star.append(often_enough(stars.label, members, of_star=RANDOM_WINDOWS, of_class=of_class))
    windows.append(random_windows(stars, star[-1], rng))
    if odd:
        star.append(members)
        windows.append(_odd_windows(stars, members, rng))
    return np.concatenate(star), _some_given(joined(windows), rng)


def planned_runs(
    stars: StarTable, star: NDArray[np.int64], n_epochs: int | None, rng: np.random.Generator
) -> Windows:
    """Return a run of each `star` (B,) that stands for its first `n_epochs`."""
    return _some_given(night_runs(stars, star, n_epochs, rng), rng)


def _some_given(windows: Windows, rng: np.random.Generator) -> Windows:
    """Return the windows, a share of the ordinary ones with the catalogue's period."""
    given = (rng.random(len(windows.first)) < GIVEN_SHARE) & (windows.oddity == Oddity.ORDINARY)
    return replace(windows, given=given)


def often_enough(
    label: NDArray[np.int64], members: NDArray[np.int64], *, of_star: int, of_class: int
) -> NDArray[np.int64]:
    """Return each member `of_star` times, those of a class that has fewer than `of_class` members oftener.

    Such a class is then there `of_class` times at least; stars without a class (-1) are as others.

    Examples
    --------
    >>> often_enough(np.array([0, 0, 0, 1]), np.arange(4), of_star=0, of_class=2).tolist()
    [3, 3]
    """
    count = np.bincount(label[members][label[members] >= 0], minlength=1)
    scarce = np.where(count < of_class, np.ceil(of_class / np.maximum(count, 1)), of_star)
    times = np.maximum(of_star, scarce).astype(np.int64)
    return np.repeat(members, np.where(label[members] >= 0, times[label[members]], of_star))


def _odd_windows(stars: StarTable, members: NDArray[np.int64], rng: np.random.Generator) -> Windows:
    """Return an odd window of each star."""
    runs = random_windows(stars, members, rng, low=MIN_EPOCHS)
    whole = rng.random(len(members)) < ODD_LONGEST_SHARE
    n_epochs = np.where(whole, np.diff(stars.offsets)[members], runs.n_epochs)
    return replace(
        runs,
        first=np.where(whole, 0, runs.first),
        n_epochs=n_epochs,
        oddity=drawn_oddities(n_epochs, 1.0, rng),
    )


def _draw(members: NDArray[np.intp], n: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Return `n` members, each as often as any other, give or take one."""
    rounds = [rng.permutation(members) for _ in range(-(-n // len(members)))]
    return np.concatenate(rounds)[:n].astype(np.int64)


def _draw_n_epochs(n: int, rng: np.random.Generator) -> NDArray[np.int64]:
    bin_ = rng.choice(len(N_EPOCHS_SHARES), n, p=N_EPOCHS_SHARES)
    edges = np.array(N_EPOCHS_EDGES)
    return rng.integers(edges[bin_], edges[bin_ + 1])
