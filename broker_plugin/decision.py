# SPDX-License-Identifier: BSD-3-Clause
"""Which class a verdict names: by a decision rule, that with the largest product of probability and weight.

`argmax` has no weights and names the most probable class, which is right most often. Where light curves are
short it hardly ever names a rare class. `tempered` weights each class by one over the root of its frequency,
halfway from the most probable class to the likeliest (logit adjustment with tau = 1/2: Menon et al. 2021,
arXiv:2007.07314): rare classes are found oftener, and rightly named less often. A bundle may have a rule of
its own, weights by stratum that were chosen on its calibration stars.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from broker_plugin.errors import ConfigurationError
from broker_plugin.prior import BUNDLE, LEAST_FREQUENCY

__all__ = ["ARGMAX", "TEMPERED", "DecisionRule", "decided", "rule_in_force", "tempered_weights"]

ARGMAX: Final = "argmax"
TEMPERED: Final = "tempered"

DecisionRule = Literal["bundle", "argmax", "tempered"]
"""What an operator may ask for."""


def rule_in_force(asked: str, own: str, *, other_prior: bool) -> str:
    """Return the rule that names the classes.

    Parameters
    ----------
    asked
        A `DecisionRule`.
    own
        The bundle's rule.
    other_prior
        Whether probabilities assume another prior than the one that the bundle's rule was chosen under; then
        `argmax` stands in for it.

    Raises
    ------
    ConfigurationError
        If there is no such rule.

    Examples
    --------
    >>> rule_in_force("bundle", "macro_f1", other_prior=True)
    'argmax'
    """
    if asked == BUNDLE:
        return ARGMAX if other_prior else own
    if asked not in (ARGMAX, TEMPERED):
        raise ConfigurationError(
            f"there is no decision rule {asked!r}", remedy=f"give {BUNDLE}, {ARGMAX} or {TEMPERED}"
        )
    return asked


def tempered_weights(frequencies: Sequence[float]) -> NDArray[np.float64]:
    """Return the weight of each class (C,), that of the rarest being 1.

    Parameters
    ----------
    frequencies
        Class frequencies (C,) that the probabilities assume.

    Examples
    --------
    >>> tempered_weights([0.16, 0.80, 0.04])
    array([0.5      , 0.2236068, 1.       ])
    """
    weights = 1 / np.sqrt(np.maximum(frequencies, LEAST_FREQUENCY))
    return np.asarray(weights / weights.max(), np.float64)


def decided(probabilities: NDArray[np.floating], weights: NDArray[np.floating]) -> NDArray[np.intp]:
    """Return the class that is named for each row: the largest product of weight and probability.

    Examples
    --------
    >>> decided(np.array([[0.7, 0.3], [0.7, 0.3]]), np.array([[1.0, 1.0], [1.0, 4.0]]))
    array([0, 1])
    """
    return np.asarray((probabilities * weights).argmax(axis=1), np.intp)
