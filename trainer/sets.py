# SPDX-License-Identifier: BSD-3-Clause
"""Sets of imitated alerts as tokens, made once and cached, since the period search is the dear part."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from broker_plugin.features.base import FEATURE_SPEC_VERSION, Tokens, build_modality
from broker_plugin.features.period import Periods, find_periods
from broker_plugin.records import Alert, AlertBatch
from trainer.augment import imitate
from trainer.data.stars import StarTable, read_stars
from trainer.outliers import Oddity
from trainer.plans import Plan
from trainer.processes import processes
from trainer.survey_cut import CUT_VERSION, cut_alert
from trainer.windows import window_alerts

__all__ = ["ExampleSet", "join_sets", "make_set", "tokens_of"]

CHUNK = 500
"""Alerts that a worker makes at once: large enough for the vectorised features, small enough for a bar."""

IMITATION_VERSION = "3"
"""Version of the imitation of alerts; raise it with any change there, or old caches pass for new ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExampleSet:
    """Imitated alerts, ready for the encoders.

    Parameters
    ----------
    star, label, n_epochs
        Which star, its class, -1 where none is to be learned, and how many epochs the alert has; shape (B,).
    oddity
        `Oddity` that it was made into, or `UNASKED`; shape (B,).
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
    if plan.cut is not None:
        versions += f"/{CUT_VERSION}"
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
    with processes(workers, begin=_start_worker, given=(stars_path,)) as pool:
        jobs = [pool.submit(_make_in_worker, chunk, start, specs) for chunk, start in chunks]
        parts = []
        for job, (chunk, _) in zip(jobs, chunks, strict=True):
            parts.append(job.result())
            advance(len(chunk.star))
    return parts


def _maker(stars: StarTable, specs: Mapping[str, Mapping[str, Any]]) -> Callable[[Plan, int], ExampleSet]:
    return lambda plan, start: _make(stars, plan, start, specs)


def _make(stars: StarTable, plan: Plan, start: int, specs: Mapping[str, Mapping[str, Any]]) -> ExampleSet:
    batch = AlertBatch.from_alerts(_alerts(stars, plan, start))
    return ExampleSet(
        star=plan.star,
        # What was changed is no member of the star's class any more, but for faults of the instrument.
        label=np.where(np.isin(plan.oddity, (Oddity.ORDINARY, Oddity.GLITCH)), stars.label[plan.star], -1),
        n_epochs=batch.n_epochs,
        oddity=plan.oddity,
        tokens=tokens_of(batch, specs),
    )


def _alerts(stars: StarTable, plan: Plan, start: int) -> list[Alert]:
    if plan.windows is not None:
        return window_alerts(stars, plan.star, plan.windows, peers=plan.peers)
    if plan.cut is not None:
        drawn = zip(plan.star.tolist(), plan.cut.tolist(), strict=True)
        return [cut_alert(stars, star, seed=(plan.seed, star, which)) for star, which in drawn]
    return [
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
