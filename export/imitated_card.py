# SPDX-License-Identifier: BSD-3-Clause
"""The section of a model card on imitated alerts: classes, oddities and p-values by number of epochs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from export.tables import calibration_table, results_table, table
from trainer.checkpoint import Run

__all__ = ["imitated_section"]

_TEXT = """\
### On imitated alerts

Means over {n_seeds} seeds of the imitation (half the range in brackets). Balanced accuracy is for classes of
equal frequency, the other columns for the prior. Both baselines see the same alerts; the random forest has
hand-made features of the same tokens.

All of these alerts look into the future a little. The star's usual light that they come with (the flux that
differences are taken from, the reference's magnitude) is the median of its whole light curve, epochs after
the alert among them; a survey knows only what came before. What `trainer evaluate` measures is free of this.

{results}

The same with *observed epochs* only, no folded light curves, so that the catalogue's period plays no part:

{observed}

Area under the ROC curve of the fused anomaly score: odd light curves (simulated; same cadences, depth and
selection) against ordinary test alerts of the same number of epochs; 0.5 is chance. Nothing of these kinds
was trained on, but they served to choose between the global forest and one forest a class, and which alerts
the forest is grown on (those with {min_epochs} epochs or more), so the figures are a little kind. The last
column is for the choice that was not taken. A single epoch says next to nothing, and one flare at the end of
a long quiet history is hardly seen: a search for flares needs another score.

{anomaly}

Shares of ordinary test alerts with a p-value below a level (it should be the level), and coverage of the
90 % class sets:

{calibration}

"""


def imitated_section(run: Run, evaluation: Mapping[str, Any]) -> str:
    """Return the section of the results on imitated alerts."""
    everything = "+".join(run.specs)
    return _TEXT.format(
        n_seeds=len(run.settings.evaluation.seeds),
        results=results_table(evaluation["imitated"], everything),
        observed=results_table(evaluation["observed_epochs"], everything),
        anomaly=_anomaly(evaluation["anomaly"]),
        calibration=calibration_table(evaluation["imitated"], everything),
        min_epochs=run.settings.anomaly.min_epochs,
    )


def _anomaly(bins: Mapping[str, Any]) -> str:
    kinds = list(next(iter(bins.values())))
    rows = [[name, *(f"{values[kind]:.2f}" for kind in kinds)] for name, values in bins.items()]
    return table(["epochs", *(kind.removeprefix("auroc_").replace("_", " ") for kind in kinds)], rows)
