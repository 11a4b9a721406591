# SPDX-License-Identifier: BSD-3-Clause
"""The section of a model card on a stream's own normal: what it was fitted on, and how it did."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from export.tables import table as markdown_table
from trainer.model import EPOCH_MODALITIES
from trainer.stream.fit import CHOICE_MARGIN

__all__ = ["with_stream_section"]

BEGIN, END = "<!-- stream: begin -->", "<!-- stream: end -->"

LIMITS = "## Limits"
"""Heading that the section goes before."""

_TEXT = """\
## Normal on {surveys}

Anomaly scores of {surveys} alerts are compared with alerts of the stream itself, not with catalogue stars.
{objects:,} objects, one alert each, were left of an unlabelled archive:

{funnel}

{trained_on:,} alerts within 10 arcsec of a star that the encoders were trained on were left out too. Objects
by what the packet says of their source:

{contexts}

Forests: {choice}.

{grown}{calibration:,} objects calibrate ({groups:,} groups that share no exposure, the largest of
{largest_group:,} objects).

Strata, each with {stratum_min} objects at least. What is too small is pooled: epochs first, then modalities,
contexts, surveys; a verdict names the stratum that was used and its size.

{strata}

### On objects that were held back

{splits} random splits, a fifth of the objects held back in each; mean over the splits (standard deviation).
*Share* is that of held-back ordinary alerts with a p-value at or below a level, beside what it should be with
so few objects and the error of one split. KS is the Kolmogorov-Smirnov distance from uniformity, of all
splits together and of single ones, beside what chance alone makes of one. The last two columns are the same
alerts against the catalogue stars that the bundle came with. Held back by object: exposures may be in common.

{by_object}

Held back by exposure as well, so that nothing of a test alert's exposure was seen. The archive has few
exposures with many alerts each, and one that is unlike the others moves a whole split:

{by_exposure}

The ordinary alerts are whatever the archive holds. Where it was put together by people who looked for odd
things, true anomalies among them make every p-value larger, and its mix of contexts is not a night's.

### Planted anomalies

Events were planted into held-back stellar alerts of 4 epochs or more, in flux, by priors written down before
(microlensing u0 ~ U(0, 1), log-normal Einstein time about 20 d; outbursts of 2-6 mag; flares of 0.5-5 mag;
fades of 1-8 mag), by code that shares nothing with the training. AUROC against the stratum's calibration
(0.5 is chance), shares with p at or below 0.1 and 0.01, by the fused score and by the light curve's alone.
Held back by exposure.

{planted}
"""


def with_stream_section(card: str, fits: Sequence[Mapping[str, Any]]) -> str:
    """Return a card with one section a fit, in the place of older ones."""
    sections = "\n".join(_section(fit) for fit in fits)
    block = f"{BEGIN}\n{sections}{END}\n\n"
    bare = re.sub(f"{re.escape(BEGIN)}.*?{re.escape(END)}\n\n?", "", card, flags=re.DOTALL)
    before, heading, after = bare.partition(LIMITS)
    return f"{before}{block}{heading}{after}" if heading else f"{bare.rstrip()}\n\n{block.rstrip()}\n"


def _section(fit: Mapping[str, Any]) -> str:
    results = fit["results"]
    measured = bool(results)
    nothing = "Not measured."
    return _TEXT.format(
        surveys=" and ".join(name.upper() for name in fit["surveys"]),
        objects=fit["objects"],
        funnel=_funnel(fit["funnel"]),
        trained_on=fit["trained_on"],
        contexts=_contexts(fit["objects_by_context"]),
        choice=_choice(fit["choice"]),
        grown=_grown(fit["groups"]),
        calibration=fit["groups"]["calibration"],
        groups=fit["groups"]["groups"],
        largest_group=fit["groups"]["largest_group"],
        stratum_min=fit["stratum_min"],
        strata=markdown_table(["stratum", "n"], [[name, f"{n:,}"] for name, n in fit["strata"].items()]),
        splits=results["by_object"]["splits"] if measured else 0,
        by_object=_uniformity(results["by_object"]) if measured else nothing,
        by_exposure=_uniformity(results["by_exposure"]) if measured else nothing,
        planted=_planted(results["by_exposure"]["planted"]) if measured else nothing,
    )


def _funnel(funnel: Mapping[str, Mapping[str, int]]) -> str:
    rows = [
        [survey, reason.replace("_", " "), f"{count:,}"]
        for survey, counts in funnel.items()
        for reason, count in counts.items()
    ]
    return markdown_table(["survey", "alerts", "n"], rows)


def _contexts(by_survey: Mapping[str, Mapping[str, int]]) -> str:
    rows = [
        [survey, context, f"{count:,}"]
        for survey, counts in by_survey.items()
        for context, count in counts.items()
    ]
    return markdown_table(["survey", "source context", "objects"], rows)


def _choice(choice: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> str:
    parts = [
        f"{survey} {source} by the {each['taken']}'s (mean p-value of planted anomalies {each['bundle']:.2f} "
        f"with the bundle's, {each['stream']:.2f} with the stream's)"
        for survey, sources in choice.items()
        for source, each in sources.items()
    ]
    chosen = f"the stream's own is taken where that mean is lower by more than {CHOICE_MARGIN:g}"
    return (
        f"{'; '.join(parts)}; {chosen}"
        if parts
        else "those of the bundle, the archive has too few stellar objects for others"
    )


def _grown(groups: Mapping[str, int]) -> str:
    """Say which objects the stream's own forests were grown on; nothing where there are none."""
    if not groups["forest"]:
        return ""
    return (
        f"A fifth of a survey's stellar objects ({groups['forest']:,}) grew the stream's own forests. They "
        "share neither an object nor an exposure with those that calibrate; "
        f"{groups['dropped_for_their_exposure']:,} objects were lost to that.\n"
    )


def _uniformity(results: Mapping[str, Any]) -> str:
    rows, untested = [], []
    for name, each in results["strata"].items():
        if "untested" in each:
            if each["n_test"]:
                untested.append(f"`{name}`: {each['untested']}.")
            continue
        catalogue = results["strata_with_catalogue"][name]
        rows.append(
            [
                name,
                f"{each['n_calibration']:.0f}",
                f"{each['n_test']:,}",
                *(_share(each, level) for level in ("0.1", "0.01")),
                f"{each['ks_all_splits']:.3f}",
                f"{_cell(each['ks'])}, by chance {each['ks_due']['mean']:.3f}",
                _cell(catalogue["share_0.1"]),
                _cell(catalogue["share_0.01"]),
            ]
        )
    header = ["stratum", "n", "tested", "share at 0.1", "share at 0.01", "KS of all", "KS of one"]
    table = markdown_table([*header, "catalogue at 0.1", "catalogue at 0.01"], rows)
    return "\n\n".join([table, *untested])


def _share(each: Mapping[str, Any], level: str) -> str:
    share, expected, error = (each[f"{name}_{level}"] for name in ("share", "expected", "error"))
    if share is None:
        return "n too small"
    return f"{_cell(share)}, due {expected['mean']:.3f} +- {error['mean']:.3f}"


def _planted(planted: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the table of planted anomalies, by the fused score and by those of the bundle's epochs."""
    bases = ["fused", *(basis for basis in planted if basis in EPOCH_MODALITIES)]
    rows = []
    for name, fused in planted["fused"].items():
        cells = [name, str(fused["n"])]
        for basis in bases:
            each = planted[basis].get(name)
            shown = ("auroc", "share_0.1", "share_0.01")
            cells += [_cell(each[key]) if each else "-" for key in shown]
        rows.append(cells)
    of_source = [
        f"{what} ({basis.replace('_', ' ')})" for basis in bases for what in ("AUROC", "0.1", "0.01")
    ]
    return markdown_table(["stratum and kind", "n", *of_source], rows)


def _cell(measure: Mapping[str, float] | None) -> str:
    return "-" if measure is None else f"{measure['mean']:.3f} ({measure['spread']:.3f})"
