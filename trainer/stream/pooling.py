# SPDX-License-Identifier: BSD-3-Clause
"""Which strata an archive has objects enough for, and their scores.

Strata are planned from counts alone, from narrow to wide: survey / source context / modalities / epochs.
Bins of epochs that are too small merge with their neighbours; modalities, contexts and surveys are pooled one
after the other where that was not enough. `broker_plugin.strata` looks them up in this order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from broker_plugin.strata import StreamStratum, epoch_range, stream_stratum_name
from trainer.stream.views import Encoded, View

__all__ = ["STRATUM_MIN", "Scores", "conservative", "fill_strata", "merged_bins", "plan_strata"]

STRATUM_MIN = 200
"""Fewest objects of a stratum: the smallest p-value is then 1 in 201, and a share of 0.1 is known to 0.02."""

Scores = Callable[[str | None, str, NDArray[np.float32]], NDArray[np.float64]]
"""Scores of embeddings (V, D), by the survey whose own forests count (None: the common ones) and source."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Cell:
    """What a planned stratum takes; `StreamStratum` without its size."""

    surveys: tuple[str, ...]
    contexts: tuple[str, ...] | None
    modalities: tuple[str, ...] | None
    low: int
    high: int | None

    @property
    def name(self) -> str:
        survey = self.surveys[0] if len(self.surveys) == 1 else None
        epochs = epoch_range(self.low, self.high)
        return stream_stratum_name(survey, self.contexts, self.modalities, epochs)


def merged_bins(counts: Sequence[int], *, least: int = STRATUM_MIN) -> list[tuple[int, int]]:
    """Return ranges of bins (first, last) that hold `least` each and cover all; none if there are too few.

    From left to right a range grows until it is large enough; what is left over joins the last one.

    Examples
    --------
    >>> merged_bins([0, 250, 90, 150, 30])
    [(0, 1), (2, 4)]
    >>> merged_bins([50, 60])
    []
    """
    ranges: list[tuple[int, int]] = []
    first = total = 0
    for position, count in enumerate(counts):
        total += count
        if total >= least:
            ranges.append((first, position))
            first, total = position + 1, 0
    if ranges:
        ranges[-1] = (ranges[-1][0], len(counts) - 1)
    return ranges


def plan_strata(
    encoded: Encoded,
    views: Sequence[View],
    rows: NDArray[np.intp],
    edges: Sequence[int],
    *,
    least: int = STRATUM_MIN,
) -> list[StreamStratum]:
    """Return the strata that the objects at `rows` are enough for, from narrow to wide.

    Parameters
    ----------
    edges
        Lower edges of the bins of the number of epochs.
    """
    cells = [
        cell
        for survey in sorted(set(encoded.survey[rows].tolist()))
        for cell in _cells_of_survey(survey, encoded, views, rows, edges, least)
    ]
    surveys = tuple(sorted(set(encoded.survey[rows].tolist())))
    pools = [_pool((survey,), None) for survey in surveys]
    cells += [*pools, *([_pool(surveys, None)] if len(surveys) > 1 else [])]
    sized = [(cell, sum(len(part) for _, part in _members(cell, encoded, views, rows))) for cell in cells]
    strata = [
        StreamStratum(
            name=cell.name,
            n=n,
            surveys=list(cell.surveys),
            contexts=None if cell.contexts is None else list(cell.contexts),
            modalities=None if cell.modalities is None else list(cell.modalities),
            epochs_min=cell.low,
            epochs_max=cell.high,
        )
        for cell, n in sized
        if n >= least
    ]
    return sorted(strata, key=lambda stratum: stratum.width)


def fill_strata(
    planned: Sequence[StreamStratum],
    encoded: Encoded,
    views: Sequence[View],
    rows: NDArray[np.intp],
    scores: Scores,
) -> tuple[list[StreamStratum], dict[str, NDArray[np.float32]]]:
    """Return the strata with the sizes that the objects at `rows` give them, and `<stratum>/<source>` scores.

    Empty strata are left out.
    """
    filled, arrays = [], {}
    for stratum in planned:
        cell = _Cell(
            surveys=tuple(stratum.surveys),
            contexts=None if stratum.contexts is None else tuple(stratum.contexts),
            modalities=None if stratum.modalities is None else tuple(stratum.modalities),
            low=stratum.epochs_min,
            high=stratum.epochs_max,
        )
        members = list(_members(cell, encoded, views, rows))
        n = sum(len(part) for _, part in members)
        if not n:
            continue
        filled.append(stratum.model_copy(update={"n": n}))
        for source in dict.fromkeys(name for view, _ in members for name in view.embeddings):
            values = [
                scores(stratum.forest, source, view.embeddings[source][part])
                for view, part in members
                if source in view.embeddings
            ]
            arrays[f"{stratum.name}/{source}"] = conservative(np.concatenate(values))
    return filled, arrays


def conservative(scores: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return sorted scores one float32 step up, so that an equal score never counts as the stranger one.

    The service's scores are rounded to float32 once. In a tie the calibration's object then is at least as
    strange, whichever way either was rounded, and p-values err to the large side.
    """
    raised = np.nextafter(scores.astype(np.float32), np.float32(np.inf))
    return np.asarray(np.sort(raised), np.float32)


def _cells_of_survey(
    survey: str,
    encoded: Encoded,
    views: Sequence[View],
    rows: NDArray[np.intp],
    edges: Sequence[int],
    least: int,
) -> Iterator[_Cell]:
    """Yield the cells of each context, and a pool of the contexts that have too few objects for any."""
    small = []
    contexts = sorted(set(encoded.context[rows[encoded.survey[rows] == survey]].tolist()))
    for context in contexts:
        yield from _cells(survey, context, encoded, views, rows, edges, least)
        n = ((encoded.survey[rows] == survey) & (encoded.context[rows] == context)).sum()
        small += [context] if n < least else []
    if 1 < len(small) < len(contexts):
        yield _pool((survey,), tuple(small))


def _cells(
    survey: str,
    context: str,
    encoded: Encoded,
    views: Sequence[View],
    rows: NDArray[np.intp],
    edges: Sequence[int],
    least: int,
) -> Iterator[_Cell]:
    for view in views:
        inside = _inside(view, encoded, rows, (survey,), (context,))
        place = np.searchsorted(edges, view.n_epochs[inside], side="right") - 1
        counts = np.bincount(place, minlength=len(edges)).tolist()
        for first, last in merged_bins(counts, least=least):
            low = int(edges[first])
            high = None if last + 1 == len(edges) else int(edges[last + 1]) - 1
            if first == 0 and high is not None and view.counted:
                low = 1  # nothing that has a light curve has no epochs
            yield _Cell(
                surveys=(survey,), contexts=(context,), modalities=view.modalities, low=low, high=high
            )
    yield _pool((survey,), (context,))


def _pool(surveys: tuple[str, ...], contexts: tuple[str, ...] | None) -> _Cell:
    return _Cell(surveys=surveys, contexts=contexts, modalities=None, low=0, high=None)


def _members(
    cell: _Cell, encoded: Encoded, views: Sequence[View], rows: NDArray[np.intp]
) -> Iterator[tuple[View, NDArray[np.intp]]]:
    """Yield the places in a view of a cell's objects; where modalities are pooled, each object as it is."""
    for view in views:
        if cell.modalities is not None and view.modalities != cell.modalities:
            continue
        inside = _inside(view, encoded, rows, cell.surveys, cell.contexts)
        if cell.modalities is None:
            inside &= view.natural
        inside &= (view.n_epochs >= cell.low) & (cell.high is None or view.n_epochs <= (cell.high or 0))
        if inside.any():
            yield view, np.flatnonzero(inside)


def _inside(
    view: View,
    encoded: Encoded,
    rows: NDArray[np.intp],
    surveys: Sequence[str],
    contexts: Sequence[str] | None,
) -> NDArray[np.bool_]:
    inside = np.isin(view.rows, rows) & np.isin(encoded.survey[view.rows], surveys)
    return inside if contexts is None else inside & np.isin(encoded.context[view.rows], contexts)
