# SPDX-License-Identifier: BSD-3-Clause
"""What the downstream commands share: arguments, which objects may be measured on, and outputs."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from cyclopts import Parameter
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray
from rich.console import Console

from broker_plugin.errors import ConfigurationError
from broker_plugin.streams.output_files import complete_file
from trainer.downstream.table import About, Embeddings

__all__ = [
    "Out",
    "Source",
    "measurable",
    "over_seeds",
    "plus_minus",
    "save_figure",
    "say",
    "say_what_is_not_known",
    "statement",
    "write_file",
    "write_json",
    "write_table",
]

Source = Annotated[Path, Parameter(name="--embeddings", help="File of `trainer embed`.")]
Out = Annotated[Path, Parameter(help="Folder for the results.")]

_console = Console(stderr=True, highlight=False, soft_wrap=True)


def say(line: str) -> None:
    """Print a line for the person."""
    _console.print(line, markup=False)


def measurable(embeddings: Embeddings, *, labelled: bool = True) -> NDArray[np.intp]:
    """Return the rows to measure on: of labels that the bundle knows, and none that it was trained on.

    Objects of which it is not known whether it was trained on them are among them.

    Raises
    ------
    ConfigurationError
        If there are none.
    """
    kept = embeddings.seen != 1
    if labelled:
        kept &= np.isin(embeddings.label, embeddings.about.classes)
    if not kept.any():
        raise ConfigurationError(
            "nothing to measure on: the bundle was trained on all of these, or none has a label that it knows"
        )
    return np.flatnonzero(kept)


def statement(embeddings: Embeddings, rows: NDArray[np.intp]) -> dict[str, Any]:
    """Return what must stand beside a measurement: of which objects, and what the bundle knew of them."""
    about = embeddings.about
    return {
        "bundle": about.bundle,
        "bundle_digest": about.bundle_digest,
        "source": about.source,
        "first_epochs": about.first,
        "catalogue_period_given": about.period,
        "simulated": about.simulated,
        "objects": len(rows),
        "not_known_whether_trained_on": int((embeddings.seen[rows] < 0).sum()),
        "trained_on": int((embeddings.seen[rows] > 0).sum()),
    }


def say_what_is_not_known(stated: Mapping[str, Any]) -> None:
    """Say of how many objects of a `statement` it is not known whether the bundle was trained on them."""
    number = stated["not_known_whether_trained_on"]
    if number:
        say(
            f"of {number:,} of {stated['objects']:,} objects it is not known whether the bundle was trained "
            "on them; they count as unseen, and `trainer embed --trained-on FILE` would tell"
        )


def over_seeds(values: Sequence[Mapping[str, float | None]]) -> dict[str, dict[str, float]]:
    """Return mean and standard deviation of each number that all have.

    Examples
    --------
    >>> over_seeds([{"a": 1.0, "b": None}, {"a": 3.0, "b": 2.0}])
    {'a': {'mean': 2.0, 'std': 1.0}}
    """
    names = [name for name in values[0] if all(each.get(name) is not None for each in values)]
    columns = {name: np.array([each[name] for each in values], np.float64) for name in names}
    return {
        name: {"mean": float(column.mean()), "std": float(column.std())} for name, column in columns.items()
    }


def plus_minus(found: Mapping[str, float]) -> str:
    """Return a number of `over_seeds` as it is written.

    Examples
    --------
    >>> plus_minus({"mean": 0.5, "std": 0.01})
    '0.500 ± 0.010'
    """
    return f"{found['mean']:.3f} ± {found['std']:.3f}"


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write results, with no number that is not finite."""
    write_file(path, (json.dumps(content, indent=1, allow_nan=False) + "\n").encode())
    say(f"wrote {path}")


def write_table(path: Path, columns: Mapping[str, Sequence[Any] | NDArray[Any]]) -> None:
    """Write columns as CSV."""
    rows: Iterable[tuple[Any, ...]] = zip(*(_plain(values) for values in columns.values()), strict=True)
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(columns)
    writer.writerows(rows)
    write_file(path, text.getvalue().encode())
    say(f"wrote {path}")


def save_figure(figure: Figure, path: Path, about: About) -> None:
    """Write a figure as PNG; one of simulated objects says so."""
    if about.simulated:
        figure.text(0.5, 0.5, "SIMULATED", fontsize=48, color="0.85", ha="center", va="center", rotation=20)
    drawn = io.BytesIO()
    FigureCanvasAgg(figure).print_figure(drawn, format="png", metadata={"Software": None})
    write_file(path, drawn.getvalue())
    say(f"wrote {path}")


def write_file(path: Path, content: bytes) -> None:
    """Write a file, with its folder; an older one stays until the new one is whole."""
    with complete_file(path) as file:
        file.write(content)


def _plain(values: Sequence[Any] | NDArray[Any]) -> Iterable[Any]:
    if isinstance(values, np.ndarray) and values.dtype.kind == "f":
        return ("" if not np.isfinite(value) else f"{value:.6g}" for value in values)
    return values.tolist() if isinstance(values, np.ndarray) else values
