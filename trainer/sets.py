# SPDX-License-Identifier: BSD-3-Clause
"""Sets of imitated alerts as tokens, made once and cached, since the period search is the dear part."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from broker_plugin.features.base import FEATURE_SPEC_VERSION, Tokens, build_modality
from broker_plugin.features.period import Periods, find_periods
from broker_plugin.records import AlertBatch
from trainer.augment import OBSERVED_SHARE, imitate
from trainer.data.stars import StarTable, read_stars
from trainer.outliers import MIN_EPOCHS, Oddity
from trainer.tempering import tempered
from trainer.windows import Windows, window_alerts

__all__ = [
    "ExampleSet",
    "Plan",
    "drawn_oddities",
    "join_sets",
    "make_set",
    "natural_plan",
    "tempered_plan",
    "tokens_of",
]

CHUNK = 500
"""Alerts that a worker makes at once: large enough for the vectorised features, small enough for a bar."""

IMITATION_VERSION = "2"
"""Version of the imitation of alerts; raise it with any change there, or old caches pass for new ones."""

N_EPOCHS_EDGES = (1, 2, 4, 8, 16, 32, 64, 128, 257)
N_EPOCHS_SHARES = (0.13, 0.15, 0.16, 0.16, 0.16, 0.13, 0.07, 0.04)
"""How often training alerts get a number of epochs between the edges. In real ZTF alerts half have at most 3
detections, with forced photometry ten times as many; deep LSST fields have hundreds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Which alerts to make: columns over alerts (B,).

    Parameters
    ----------
    oddity
        `Oddity` that each is made into.
    peers
        Stars whose light and periods may serve for that.
    """

    star: NDArray[np.int64]
    n_epochs: NDArray[np.int64]
    oddity: NDArray[np.int8]
    seed: int
    peers: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    observed_share: float = OBSERVED_SHARE
    windows: Windows | None = None

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
        )

    def digest(self) -> int:
        """Return a checksum, to know a cached set again."""
        text = f"{self.seed}/{self.observed_share}".encode()
        windows = b"" if self.windows is None else self.windows.tobytes()
        arrays = (self.star, self.n_epochs, self.oddity, self.peers)
        columns = b"".join(array.tobytes() for array in arrays)
        return zlib.crc32(columns + text + windows)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExampleSet:
    """Imitated alerts, ready for the encoders.

    Parameters
    ----------
    star, label, n_epochs
        Which star, its class, -1 where none is to be learned, and how many epochs the alert has; shape (B,).
    oddity
        `Oddity` that it was made into; shape (B,).
    tokens
        By modality.
    """

    star: NDArray[np.int64]
    label: NDArray[np.int64]
    n_epochs: NDArray[np.int64]
    oddity: NDArray[np.int8]
    tokens: Mapping[str, Tokens]

    def __len__(self) -> int:
        return len(self.star)

    def take(self, rows: NDArray[np.intp]) -> ExampleSet:
        """Return the alerts at `rows`."""
        return ExampleSet(
            star=self.star[rows],
            label=self.label[rows],
            n_epochs=self.n_epochs[rows],
            oddity=self.oddity[rows],
            tokens={name: _taken(tokens, rows) for name, tokens in self.tokens.items()},
        )


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


def make_set(
    plan: Plan,
    specs: Mapping[str, Mapping[str, Any]],
    stars_path: Path,
    *,
    cache: Path | None = None,
    workers: int = 1,
    advance: Callable[[int], None] = lambda n: None,
    make: Callable[[Plan, int], ExampleSet] | None = None,
) -> ExampleSet:
    """Make the alerts of a plan, or read them from the cache; the result does not depend on `workers`.

    Parameters
    ----------
    specs
        Spec of each modality.
    cache
        File to keep them in; one made from another plan or other specs is made again.
    advance
        Called with the number of alerts made since the last call.
    make
        Makes a part of a plan that starts at a number, in this process, in the place of imitating stars.
    """
    versions = f"{FEATURE_SPEC_VERSION}/{IMITATION_VERSION}"
    key = f"{versions}/{_stars_digest(stars_path)}/{plan.digest()}/{json.dumps(specs, sort_keys=True)}"
    if cache is not None and cache.is_file():
        found = _read(cache, key, tuple(specs))
        if found is not None:
            advance(len(found))
            return found
    chunks = [(plan.part(slice(start, start + CHUNK)), start) for start in range(0, len(plan.star), CHUNK)]
    if make is not None or workers == 1:
        make = make or _maker(read_stars(stars_path), specs)
        parts = []
        for chunk, start in chunks:
            parts.append(make(chunk, start))
            advance(len(chunk.star))
    else:
        parts = _make_in_processes(chunks, specs, stars_path, workers=workers, advance=advance)
    whole = join_sets(parts)
    if cache is not None:
        _write(whole, cache, key)
    return whole


def tokens_of(
    batch: AlertBatch, specs: Mapping[str, Mapping[str, Any]], periods: Periods | None = None
) -> dict[str, Tokens]:
    """Return the tokens of a batch by modality, by the code that the runtime uses."""
    periods = periods or find_periods(batch)
    return {name: build_modality(name, spec).tokens(batch, periods) for name, spec in specs.items()}


_WORKER_STARS: list[StarTable] = []


def _stars_digest(stars_path: Path) -> str:
    """Return the digest of the data that the stars were read from; a plan only counts stars."""
    marker = stars_path.with_suffix(".sha256")
    return marker.read_text() if marker.is_file() else ""


def _start_worker(stars_path: Path) -> None:
    _WORKER_STARS.append(read_stars(stars_path))


def _make_in_worker(chunk: Plan, start: int, specs: Mapping[str, Mapping[str, Any]]) -> ExampleSet:
    return _make(_WORKER_STARS[0], chunk, start, specs)


def _make_in_processes(
    chunks: Sequence[tuple[Plan, int]],
    specs: Mapping[str, Mapping[str, Any]],
    stars_path: Path,
    *,
    workers: int,
    advance: Callable[[int], None],
) -> list[ExampleSet]:
    with ProcessPoolExecutor(
        workers, mp_context=get_context("spawn"), initializer=_start_worker, initargs=(stars_path,)
    ) as pool:
        jobs = [pool.submit(_make_in_worker, chunk, start, specs) for chunk, start in chunks]
        parts = []
        for job, (chunk, _) in zip(jobs, chunks, strict=True):
            parts.append(job.result())
            advance(len(chunk.star))
    return parts


def _maker(stars: StarTable, specs: Mapping[str, Mapping[str, Any]]) -> Callable[[Plan, int], ExampleSet]:
    return lambda plan, start: _make(stars, plan, start, specs)


def _make(stars: StarTable, plan: Plan, start: int, specs: Mapping[str, Mapping[str, Any]]) -> ExampleSet:
    if plan.windows is not None:
        alerts = window_alerts(stars, plan.star, plan.windows, peers=plan.peers)
    else:
        alerts = [
            imitate(
                stars,
                int(star),
                np.random.default_rng((plan.seed, 2, start + position)),
                n_epochs=int(n_epochs),
                alert_id=start + position,
                observed_share=plan.observed_share,
                oddity=Oddity(int(oddity)),
                peers=plan.peers,
            )
            for position, (star, n_epochs, oddity) in enumerate(
                zip(plan.star, plan.n_epochs, plan.oddity, strict=True)
            )
        ]
    batch = AlertBatch.from_alerts(alerts)
    return ExampleSet(
        star=plan.star,
        # What was changed is no member of the star's class any more, but for faults of the instrument.
        label=np.where(np.isin(plan.oddity, (Oddity.ORDINARY, Oddity.GLITCH)), stars.label[plan.star], -1),
        n_epochs=batch.n_epochs,
        oddity=plan.oddity,
        tokens=tokens_of(batch, specs),
    )


def _draw(members: NDArray[np.intp], n: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Return `n` members, each as often as any other, give or take one."""
    rounds = [rng.permutation(members) for _ in range(-(-n // len(members)))]
    return np.concatenate(rounds)[:n].astype(np.int64)


def _draw_n_epochs(n: int, rng: np.random.Generator) -> NDArray[np.int64]:
    bin_ = rng.choice(len(N_EPOCHS_SHARES), n, p=N_EPOCHS_SHARES)
    edges = np.array(N_EPOCHS_EDGES)
    return rng.integers(edges[bin_], edges[bin_ + 1])


def join_sets(parts: Sequence[ExampleSet]) -> ExampleSet:
    """Return sets behind one another."""
    names = parts[0].tokens.keys()
    return ExampleSet(
        star=np.concatenate([part.star for part in parts]),
        label=np.concatenate([part.label for part in parts]),
        n_epochs=np.concatenate([part.n_epochs for part in parts]),
        oddity=np.concatenate([part.oddity for part in parts]),
        tokens={name: _joined_tokens([part.tokens[name] for part in parts]) for name in names},
    )


def _taken(tokens: Tokens, rows: NDArray[np.intp]) -> Tokens:
    lengths = tokens.lengths[rows]
    ends = np.cumsum(lengths)
    within = np.arange(int(lengths.sum())) - np.repeat(ends - lengths, lengths)
    return Tokens(
        values=tokens.values[np.repeat(tokens.offsets[:-1][rows], lengths) + within],
        offsets=np.concatenate([[0], ends]).astype(np.int64),
    )


def _joined_tokens(parts: Sequence[Tokens]) -> Tokens:
    lengths = np.concatenate([part.lengths for part in parts])
    return Tokens(
        values=np.concatenate([part.values for part in parts]),
        offsets=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
    )


def _write(examples: ExampleSet, path: Path, key: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    arrays: dict[str, NDArray[Any]] = {
        "key": np.array(key),
        "star": examples.star,
        "label": examples.label,
        "n_epochs": examples.n_epochs,
        "oddity": examples.oddity,
    }
    for name, tokens in examples.tokens.items():
        arrays |= {f"{name}/values": tokens.values, f"{name}/offsets": tokens.offsets}
    unfinished = path.with_suffix(".part")
    with unfinished.open("wb") as file:
        np.savez(file, allow_pickle=False, **arrays)
    unfinished.replace(path)


def _read(path: Path, key: str, names: tuple[str, ...]) -> ExampleSet | None:
    with np.load(path, allow_pickle=False) as archive:
        if str(archive["key"]) != key:
            return None
        return ExampleSet(
            star=archive["star"],
            label=archive["label"],
            n_epochs=archive["n_epochs"],
            oddity=archive["oddity"],
            tokens={
                name: Tokens(values=archive[f"{name}/values"], offsets=archive[f"{name}/offsets"])
                for name in names
            },
        )
