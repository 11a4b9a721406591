# SPDX-License-Identifier: BSD-3-Clause
"""`trainer cross-survey`: a bundle on surveys that it was not trained on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from broker_plugin.engine.scorer import Scorer
from broker_plugin.streams.output_files import complete_file, prepare_folder
from trainer.bars import progress_bar
from trainer.cross_survey.measure import measure_asas, measure_ztf
from trainer.data.catalina import FILE
from trainer.options import Data, data_folder, say

__all__ = ["RESULTS", "cross_survey"]

RESULTS = "cross_survey.json"

Survey = Literal["asas", "ztf"]

SCORINGS = {"asas": 6 * 810, "ztf": 107}
"""About how many alerts are scored, for the bar."""


def cross_survey(
    *,
    bundle: Annotated[str, Parameter(help="Name of an installed bundle, or a directory.")] = "default",
    surveys: Annotated[
        list[Survey] | None,
        Parameter(consume_multiple=True, negative="", help="Which; default: all of them."),
    ] = None,
    data: Data = None,
    trained_on: Annotated[
        Path | None,
        Parameter(help=f"Parquet file with ra and dec of the training stars; default {FILE} in the data."),
    ] = None,
    out: Annotated[Path, Parameter(help=f"Folder for {RESULTS}; a run's, to be found by the report.")] = Path(
        "runs/default"
    ),
) -> None:
    """Measure a bundle on stars of ASAS and on labelled alerts of ZTF, neither of which it was trained on.

    Their classes are mapped to those that are measured (trainer/cross_survey/classes.py); what has no
    counterpart is to be found as strange. Inconsistent packets and objects near a training star are left out
    and counted. Numbers come with 95 % intervals over resamples of the objects.
    """
    scorer = Scorer.open(bundle, device="cpu")
    prepare_folder(out)
    folder = data_folder(data)
    stars = trained_on or folder / FILE
    results = []
    for survey in surveys or ("asas", "ztf"):
        with progress_bar(f"alerts of {survey}", SCORINGS[survey]) as advance:
            results.append(
                measure_asas(scorer, folder, advance=advance)
                if survey == "asas"
                else measure_ztf(scorer, folder, stars if stars.is_file() else None, advance=advance)
            )
    manifest = scorer.bundle.manifest
    record = {
        "bundle": f"{manifest.name} {manifest.version}",
        "bundle_digest": scorer.bundle.digest,
        "surveys": results,
    }
    with complete_file(out / RESULTS) as file:
        file.write(f"{json.dumps(record, indent=1, allow_nan=False)}\n".encode())
    for found in results:
        say(f"{found['title']}: {found['n_by_class']}; left out {found['left_out'] or 'nothing'}")
        for name, each in found["settings"].items():
            shown = (("macro-F1", "macro_f1"), ("accuracy", "accuracy"), ("AUROC", "near_ood_auroc"))
            cells = (f"{title} {_interval(each.get(measure))}" for title, measure in shown)
            say(f"  {name:<24}n {each['n']:>4}  {'  '.join(cells)}")
    say(f"wrote {out / RESULTS}")


def _interval(interval: list[float] | None) -> str:
    return "-" if interval is None else f"{interval[0]:.3f} ({interval[1]:.3f}-{interval[2]:.3f})"
