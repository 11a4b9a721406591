# SPDX-License-Identifier: BSD-3-Clause
"""Class priors: the frequencies of the classes that probabilities assume, and how to assume others.

A bundle's probabilities hold where classes are as frequent as in the catalogue that it was trained on. For
another sample the calibrated probabilities are weighted anew by Bayes' rule: each is multiplied by the wanted
frequency over the bundle's and the row is normalised (Saerens et al. 2002). That is exact if objects of one
class look alike in both samples.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from broker_plugin.errors import ConfigurationError

__all__ = ["BUNDLE", "LEAST_FREQUENCY", "UNIFORM", "ClassPrior", "parse_prior", "prior_text", "reweighted"]

BUNDLE: Final = "bundle"
UNIFORM: Final = "uniform"
"""Priors that need no numbers: the bundle's own, and classes of equal frequency."""

LEAST_FREQUENCY = 1e-6
"""Stands for the frequency of a class without a training star, whose logarithm must be finite."""

MOST_FREQUENT = 1e100
"""More stars than any unit could mean; larger ones could have no sum."""

FORM = "CLASS=FREQUENCY,CLASS=FREQUENCY,..."


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassPrior:
    """A name, and the frequency of each of a bundle's classes in their order; they sum to 1."""

    name: str
    frequencies: tuple[float, ...]

    @property
    def digest(self) -> str:
        """A short checksum of the frequencies."""
        return hashlib.sha256(repr(self.frequencies).encode()).hexdigest()[:8]


def parse_prior(text: str, classes: Sequence[str]) -> ClassPrior | None:
    """Return the prior that an operator wrote down, None for the bundle's own.

    Parameters
    ----------
    text
        `bundle`, `uniform`, or `CLASS=FREQUENCY,...` for every class, in any unit, with `NAME:` before it if
        it is to have a name; without one it is named after its numbers.
    classes
        The bundle's classes.

    Raises
    ------
    ConfigurationError
        If it is none of these, or a class is missing, unknown or has no positive frequency.

    Examples
    --------
    >>> parse_prior("disc: EW=3,EA=1", ["EA", "EW"])
    ClassPrior(name='disc', frequencies=(0.25, 0.75))
    >>> parse_prior("bundle", ["EA", "EW"]) is None
    True
    """
    wanted = text.strip()
    if wanted == BUNDLE:
        return None
    if wanted == UNIFORM:
        return ClassPrior(name=UNIFORM, frequencies=(1.0 / len(classes),) * len(classes))
    name, colon, table = wanted.rpartition(":")
    entries = [_entry(each) for each in table.split(",") if each.strip()]
    given = dict(entries)
    missing, unknown = set(classes) - set(given), set(given) - set(classes)
    repeated = {each for each, n in Counter(each for each, _ in entries).items() if n > 1}
    if missing or unknown or repeated:
        raise ConfigurationError(
            f"the class prior must give each class of the bundle once ({', '.join(classes)})",
            remedy=f"add what is missing: {_names(missing)}; leave out what is unknown: {_names(unknown)}; "
            f"give once what is repeated: {_names(repeated)}",
        )
    total = math.fsum(given.values())
    prior = ClassPrior(name=name.strip(), frequencies=tuple(given[each] / total for each in classes))
    return prior if colon else ClassPrior(name=f"given-{prior.digest}", frequencies=prior.frequencies)


def prior_text(value: Any) -> Any:
    """Return a table of frequencies, with its `name` if it has one, in the spelling of `parse_prior`.

    Examples
    --------
    >>> prior_text({"name": "disc", "EW": 0.75, "EA": 0.25})
    'disc:EW=0.75,EA=0.25'
    """
    if not isinstance(value, Mapping):
        return value
    table = ",".join(f"{name}={share}" for name, share in value.items() if name != "name")
    return f"{value['name']}:{table}" if "name" in value else table


def reweighted(
    probabilities: NDArray[np.float64], own: Sequence[float], wanted: Sequence[float]
) -> NDArray[np.float64]:
    """Return the probabilities (B, C) that hold for other class frequencies.

    Parameters
    ----------
    own, wanted
        Frequencies (C,) that the probabilities assume, and those that they are to assume.

    Examples
    --------
    >>> reweighted(np.array([[0.75, 0.25]]), own=[0.75, 0.25], wanted=[0.5, 0.5])
    array([[0.5, 0.5]])
    """
    had, has = np.maximum(own, LEAST_FREQUENCY), np.asarray(wanted, np.float64)
    if np.array_equal(had, has):
        return probabilities
    weighted = probabilities * (has / had)
    return np.asarray(weighted / weighted.sum(axis=1, keepdims=True), np.float64)


def _entry(text: str) -> tuple[str, float]:
    name, _, number = text.partition("=")
    try:
        frequency = float(number)
    except ValueError:
        frequency = math.nan
    if not (name.strip() and 0 < frequency <= MOST_FREQUENT):
        raise ConfigurationError(
            f"{text.strip()!r} is no class with a positive frequency",
            remedy=f"write the class prior as {FORM}, or {BUNDLE} or {UNIFORM}",
        )
    return name.strip(), frequency


def _names(names: set[str]) -> str:
    return ", ".join(sorted(names)) or "none"
