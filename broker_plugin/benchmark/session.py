# SPDX-License-Identifier: BSD-3-Clause
"""One run of the benchmark: everything is measured on the same messages, one after another."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

from broker_plugin import __version__
from broker_plugin.benchmark.archive import LENGTHS, read_corpora
from broker_plugin.benchmark.baseline import measure_baseline
from broker_plugin.benchmark.corpus import Corpora, schema_folder, store
from broker_plugin.benchmark.dealing import whole_batches
from broker_plugin.benchmark.encoders import measure_encoders
from broker_plugin.benchmark.gpu import GpuWatch
from broker_plugin.benchmark.growth import measure_growth
from broker_plugin.benchmark.kafka_group import require_cluster
from broker_plugin.benchmark.measuring import clock_of
from broker_plugin.benchmark.plan import Plan, Tell
from broker_plugin.benchmark.stages import Stages
from broker_plugin.benchmark.team import Task, Team
from broker_plugin.benchmark.through_kafka import KafkaPlan, measure_kafka
from broker_plugin.benchmark.whole_way import measure_team, open_whole_way
from broker_plugin.engine.processor import describe_processor, matmul_gflops
from broker_plugin.engine.scorer import Scorer
from broker_plugin.pipeline.assembly import FilterRecipe
from broker_plugin.surveys.registry import SURVEYS

__all__ = ["names_of", "run_bench"]

FORMAT = 2
"""Version of the JSON document's layout; fields are only ever added within one. In 1 `settings` bounded the
messages from above, and a batch could be smaller than it said."""

PERIODS = {
    "cold_us_per_alert": "stages.*.periods",
    "warm_us_per_alert": None,
    "why": "no period is remembered",
}
"""The search costs the same for an object that was seen before: nothing is kept between alerts."""


def names_of(lengths: Sequence[int] = LENGTHS) -> tuple[str, ...]:
    """Return the names of the corpora that are measured from end to end.

    Examples
    --------
    >>> names_of()
    ('ztf', 'lsst', 'lsst_100', 'lsst_600')
    """
    return "ztf", "lsst", *(f"lsst_{rows}" for rows in lengths)


def run_bench(
    alerts: Path,
    recipe: FilterRecipe,
    plan: Plan,
    *,
    workers: int,
    batch: int,
    tell: Tell,
    kafka: KafkaPlan | None = None,
) -> dict[str, Any]:
    """Return all that was measured, as the JSON document has it.

    Parameters
    ----------
    alerts
        Directory of packets, as for `read_corpora`.
    recipe
        What the filter is made of; the schemas of the packets are added.
    plan
        How much is measured.
    workers, batch
        Processes, and messages at a time.
    tell
        Hears what is measured next.
    kafka
        What is measured through Kafka; by default nothing.

    Raises
    ------
    BrokerPluginError
        If there are no alerts, no broker answers, or something cannot go on.
    """
    if kafka is not None:
        tell("Kafka: is it there")
        require_cluster(kafka.bootstrap)
    busy = os.getloadavg()[0]
    tell("processor")
    processor = asdict(describe_processor()) | {"matmul_gflops_fp32_one_core": round(matmul_gflops(), 1)}
    tell("reading packets")
    deep = whole_batches(batch, workers=workers, least=plan.stage_messages)
    corpora = read_corpora(
        alerts,
        messages=whole_batches(batch, workers=workers, least=plan.messages),
        lengths=dict.fromkeys((*plan.lengths, *LENGTHS), deep),
        packets_max=plan.packets_max,
    )
    names = [name for name in names_of() if name in corpora.by_name]
    with tempfile.TemporaryDirectory(prefix="astrom3-bench-") as scratch:
        folder = Path(scratch) / "corpora"
        store(corpora, folder)
        known = replace(recipe, schemas=(schema_folder(folder), *recipe.schemas))
        stages, scorer = _stages(corpora, names, known, plan, tell, folder)
        tell("encoders alone")
        encoders = measure_encoders(scorer, repeats=plan.repeats, least_s=plan.least_s)
        gpu = GpuWatch(scorer.provider)
        tell("starting processes")
        with Team(partial(open_whole_way, known), folder, workers) as team:
            gpu.note("ready")
            end_to_end = _end_to_end(team, names, plan, batch, tell)
            gpu.note("worked")
            growth = measure_growth(team, corpora, plan, batch=batch, workers=workers, tell=tell)
            gpu.note("end")
            process = _process(team)
        through = _through_kafka(kafka, corpora, known, workers, batch, tell)
        tell("baseline")
        baseline = measure_baseline(
            folder, names, workers=workers, repeats=plan.repeats, batches=plan.baseline_batches
        )
    for name, measured in end_to_end.items():
        measured |= baseline.ratios(name, measured, clock_of(scorer.provider))
    settings = {"workers": workers, "batch": batch, "threads_per_process": 1, **asdict(plan)}
    return {
        "format": FORMAT,
        "plugin_version": __version__,
        "processor": processor,
        "gpu": gpu.as_json(),
        "load_average": {"before": round(busy, 2), "after": round(os.getloadavg()[0], 2)},
        "engine": _engine(scorer),
        "settings": settings,
        "corpora": {name: corpora.by_name[name].described() for name in names},
        "missing": {name: why for name, why in corpora.missing.items() if name in names_of()},
        "end_to_end": {name: end_to_end.get(name) for name in names_of()},
        "baseline": baseline.as_json(),
        "process": process,
        "stages": stages,
        "encoders": encoders,
        "periods": PERIODS,
        "growth": growth,
        "kafka": through,
    }


def _end_to_end(
    team: Team, names: Sequence[str], plan: Plan, batch: int, tell: Tell
) -> dict[str, dict[str, Any]]:
    found = {}
    for name in names:
        tell(f"{name}, end to end")
        task = Task(corpus=name, batch=batch)
        counts, rate = measure_team(team, task, repeats=plan.repeats, least_s=plan.least_s)
        found[name] = rate.as_json() | asdict(counts)
    return found


def _process(team: Team) -> dict[str, float]:
    """Return what a process costs before it has done anything, and at most."""
    return {
        "ready_s": round(team.ready.wall_s, 2),
        "ready_cpu_s": round(team.ready.cpu_s, 2),
        "peak_memory_mb": round(team.peak_bytes / 1e6),
    }


def _through_kafka(
    plan: KafkaPlan | None, corpora: Corpora, recipe: FilterRecipe, workers: int, batch: int, tell: Tell
) -> dict[str, Any] | None:
    """Return what was measured through Kafka on the alerts of one survey, as they come."""
    if plan is None:
        return None
    survey = next(name for name in SURVEYS if name in corpora.by_name)
    settings = {
        "survey": survey,
        "bundle": recipe.bundle,
        "device": recipe.device,
        "schemas": recipe.schemas[0],
        "batch_max": batch,
    }
    values = corpora.by_name[survey].values
    return {"corpus": survey, **measure_kafka(plan, values, settings, workers=workers, tell=tell)}


def _stages(
    corpora: Corpora, names: Sequence[str], recipe: FilterRecipe, plan: Plan, tell: Tell, folder: Path
) -> tuple[dict[str, Any], Scorer]:
    tell("opening the bundle")
    scorer = recipe.scorer()
    scorer.warm_up()
    stages = Stages(scorer, schema_folder(folder))
    found = {}
    for name in names:
        tell(f"{name}, stage by stage")
        values = corpora.by_name[name].values
        step = max(1, len(values) // plan.stage_messages)
        found[name] = stages.measure(
            values[::step][: plan.stage_messages], repeats=plan.stage_repeats, least_s=plan.least_s / 10
        )
    return found, scorer


def _engine(scorer: Scorer) -> Mapping[str, Any]:
    choice = scorer.provider
    return {
        "bundle": scorer.bundle.manifest.name,
        "bundle_version": scorer.bundle.manifest.version,
        "bundle_digest": scorer.bundle.digest,
        "provider": choice.provider,
        "precision": scorer.precision,
        "reason": choice.reason,
        "clock": clock_of(choice),
    }
