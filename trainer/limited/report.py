# SPDX-License-Identifier: BSD-3-Clause
"""What the experiment found: a summary with what it does not say, a table and a plot."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from trainer.data.splits import Split
from trainer.limited.experiment import CHOSEN_BY, Experiment, Result
from trainer.limited.measuring import MEASURES, SETTINGS
from trainer.metrics import paired_p, spread

__all__ = ["budget_caveats", "caveats", "draw", "lines_of", "summarise"]

ARMS: Mapping[bool, tuple[str, str]] = {
    False: ("random weights", "#4c72b0"),
    True: ("pre-trained", "#c44e52"),
}
"""By whether an arm is pre-trained, its name and colour."""

DRAWN = ("macro_f1", "accuracy")

TELLING = 2.0
"""Points of macro-F1 by which all labels are better than the fewest, if they were used; less is of the size
of the scatter between seeds."""


def summarise(experiment: Experiment, results: Sequence[Result]) -> dict[str, Any]:
    """Return means and spreads over the seeds in per cent, gains with a paired t-test, and the caveats."""
    prepared = experiment.prepared
    rows = [
        _row(results, setting, measure, share)
        for setting in SETTINGS
        for measure in MEASURES
        for share in experiment.shares
    ]
    labelled = {
        f"{result['share']:g}": result["labelled_stars"]
        for result in results
        if result["seed"] == experiment.seeds[0]
    }
    return {
        "caveats": [*caveats(experiment), *budget_caveats(experiment, results, rows)],
        "simulated": _simulated(experiment),
        "unit": "per cent",
        "data": dict(prepared.run.data),
        "stars": {
            "pre-training": len(prepared.members(Split.TRAIN)),
            "labelled": labelled,
            "validation": _labelled(experiment, Split.VALIDATION),
            "test": _labelled(experiment, Split.TEST),
        },
        "settings": {
            "seeds": list(experiment.seeds),
            "learning_rates": list(experiment.learning_rates),
            "passes": experiment.passes,
            "windows_per_pass": experiment.windows_per_pass,
            "pretraining": experiment.run_of(experiment.seeds[0]).settings.pretraining.model_dump(),
        },
        "tuning": {
            "chosen_by": f"mean {CHOSEN_BY} over the settings on the validation stars, first seed",
            "rates": [
                {name: result[name] for name in ("pretrained", "share", "learning_rate", "tried")}
                for result in results
                if result["seed"] == experiment.seeds[0]
            ],
        },
        "rows": rows,
    }


def caveats(experiment: Experiment) -> list[str]:
    """Return what the numbers do not say."""
    if _simulated(experiment):
        about = (
            "SIMULATED stars: light curve, spectrum and colours follow from the same made-up numbers. This "
            "is no evidence about real stars, nor for the gain that the AstroM3 paper reports."
        )
    else:
        about = (
            "These stars have one survey's light curve and little else, so this is no evidence for or "
            "against the paper's claim, which is about light curve, spectrum and metadata together. The "
            "contrast between two windows of one light curve is not the paper's."
        )
    return [
        about,
        "All validation stars keep their labels, and choose the learning rate in both arms; with few labels "
        "nobody would have so many.",
        "The settings of pre-training were not tuned. The other arm was not given more steps for those that "
        "pre-training takes.",
        "The spread is over seeds, which draw the labelled stars, the weights and the batches; splits stay.",
    ]


def budget_caveats(
    experiment: Experiment, results: Sequence[Result], rows: Sequence[Mapping[str, Any]]
) -> Iterator[str]:
    """Yield what the results themselves say of the budget: that it was too small to tell anything by."""
    few, all_of_them = (
        {arm: _mean_over_settings(rows, arm, share) for arm in ("random", "pretrained")}
        for share in (min(experiment.shares), max(experiment.shares))
    )
    if len(experiment.shares) > 1 and all(all_of_them[arm] - few[arm] < TELLING for arm in few):
        shown = ", ".join(f"{few[arm]:.1f} and {all_of_them[arm]:.1f} {arm}" for arm in few)
        yield (
            f"THE NUMBER OF LABELS MAKES NO DIFFERENCE HERE (mean macro-F1 {shown}, with the fewest labels "
            f"and with the most): {experiment.passes} passes end before labels are used. The gain is that "
            "of a head start, and says nothing of few labels; give more --passes."
        )
    highest = max(experiment.learning_rates)
    if len(experiment.learning_rates) > 1 and all(each["learning_rate"] == highest for each in results):
        yield f"The highest rate that was tried, {highest:g}, won everywhere; a higher one might do better."


def _mean_over_settings(rows: Sequence[Mapping[str, Any]], arm: str, share: float) -> float:
    chosen = [row for row in rows if row["measure"] == CHOSEN_BY and row["labels_percent"] == 100 * share]
    return float(np.mean([row[arm]["mean"] for row in chosen]))


def lines_of(summary: Mapping[str, Any]) -> Iterator[str]:
    """Yield the macro-F1 of the summary as lines to print."""
    for row in summary["rows"]:
        if row["measure"] == DRAWN[0]:
            p = "" if row["p"] is None else f"  p {row['p']:.3f}"
            gain = "" if row["gain"] is None else f"  gain {row['gain']:+.2f}{p}"
            arms = f"macro-F1 {_shown(row['random'])} -> {_shown(row['pretrained'])}"
            yield f"{row['setting']:>4}  {row['labels_percent']:>3g} % of labels  {arms}{gain}"
    yield from (f"- {caveat}" for caveat in summary["caveats"])


def draw(summary: Mapping[str, Any], path: Path) -> None:
    """Draw measure against share of labels, a panel a setting: mean, every seed, and their whole range."""
    figure = Figure(figsize=(12, 6.4), dpi=130, layout="constrained")
    axes = figure.subplots(len(DRAWN), len(SETTINGS), sharex=True, sharey="row", squeeze=False)
    for line, measure in zip(axes, DRAWN, strict=True):
        line[0].set_ylabel(f"test {measure.replace('_', '-').replace('f1', 'F1')}, %")
        for panel, setting in zip(line, SETTINGS, strict=True):
            chosen = [
                row for row in summary["rows"] if (row["setting"], row["measure"]) == (setting, measure)
            ]
            _panel(panel, chosen)
    for top, bottom, setting in zip(axes[0], axes[-1], SETTINGS, strict=True):
        top.set_title("all epochs" if setting == "all" else f"{setting} epochs")
        bottom.set_xlabel("training stars with a label, %")
    axes[0, 0].legend(fontsize=8)
    marked = "SIMULATED stars. " if summary["simulated"] else ""
    figure.suptitle(f"{marked}Fine-tuning from random and from contrastively pre-trained encoders")
    figure.supxlabel(summary["caveats"][0], fontsize=7, wrap=True)
    FigureCanvasAgg(figure).print_figure(path, format="png", metadata={"Software": None})


def _panel(panel: Axes, rows: Sequence[Mapping[str, Any]]) -> None:
    percent = [row["labels_percent"] for row in rows]
    for arm, (name, colour) in ARMS.items():
        found = [row["pretrained" if arm else "random"] for row in rows]
        seeds = np.array([list(each["seeds"].values()) for each in found])  # (shares, seeds)
        panel.fill_between(
            percent, seeds.min(axis=1), seeds.max(axis=1), color=colour, alpha=0.15, linewidth=0
        )
        panel.plot(percent, seeds, ".", color=colour, markersize=3, alpha=0.6)
        panel.plot(percent, seeds.mean(axis=1), "-", color=colour, label=f"{name} ({seeds.shape[1]} seeds)")
    panel.set_xscale("log")
    panel.set_xticks(percent, [f"{each:g}" for each in percent])
    panel.minorticks_off()
    panel.grid(color="0.9", linewidth=0.5)


def _row(results: Sequence[Result], setting: str, measure: str, share: float) -> dict[str, Any]:
    by_arm = {
        arm: {
            result["seed"]: result["test"][setting][measure]
            for result in results
            if (result["pretrained"], result["share"]) == (arm, share)
        }
        for arm in ARMS
    }
    gains = np.array([by_arm[True][seed] - by_arm[False][seed] for seed in by_arm[True]])
    return {
        "setting": setting,
        "measure": measure,
        "labels_percent": 100 * share,
        "random": spread(by_arm[False]),
        "pretrained": spread(by_arm[True]),
        "gain": round(float(gains.mean()), 3),
        "p": paired_p(gains),
    }


def _simulated(experiment: Experiment) -> bool:
    return bool(experiment.prepared.run.data.get("simulated", False))


def _labelled(experiment: Experiment, split: Split) -> int:
    members = experiment.prepared.members(split)
    return int((experiment.prepared.stars.label[members] >= 0).sum())


def _shown(found: Mapping[str, Any]) -> str:
    return f"{found['mean']:.1f} ± {found['std']:.1f}"
