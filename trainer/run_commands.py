# SPDX-License-Identifier: BSD-3-Clause
"""Commands on a training run: train, fit what is normal, measure."""

from __future__ import annotations

from collections.abc import Callable
from inspect import signature
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter, validators

from broker_plugin.errors import ConfigurationError
from broker_plugin.streams.output_files import prepare_folder
from broker_plugin.surveys.registry import SURVEYS
from trainer.bars import scoring_bar
from trainer.bundle_evaluation import evaluate_bundle
from trainer.bundle_folder import require_bundle_folder
from trainer.checkpoint import Kept, load_run
from trainer.compute import connected
from trainer.config import Settings, read_settings
from trainer.data.catalina import FILE
from trainer.exporting import run_export
from trainer.fitting import CATALOGUE, fit
from trainer.fitting import measure as measure_run
from trainer.object_runs import prepare_labelled
from trainer.options import DEFAULT_SETTINGS, SEED, Config, Data, Out, data_folder, hush, say
from trainer.preparation import Prepared, seen_stars
from trainer.retrieval import lines_of, measure_retrieval
from trainer.stream.command import Recalibration, recalibrate
from trainer.sufficiency import require_calibration, require_classes
from trainer.weights import train_weights

__all__ = ["fit_anomaly", "measure", "retrieve", "train"]

BundleFolder = Annotated[
    Path | None, Parameter(help="Where to put the finished bundle; default: OUT/bundle.")
]

BUNDLE = "bundle"
"""Folder of the bundle within that of its run, where no other is named."""


def train(
    *,
    config: Config = DEFAULT_SETTINGS,
    data: Data = None,
    out: Out = Path("runs/default"),
    bundle: BundleFolder = None,
) -> None:
    """Do everything: imitate alerts, train, fit forests, calibrate, evaluate, export and verify the bundle.

    About an hour on two cores with the default settings, a third of it the training itself, and 4 GB of
    memory; most of it can be stopped and resumed. With `torchrun --nproc-per-node N -m trainer train ...` the
    training uses N devices.
    """
    settings = read_settings(config)
    prepare_folder(out)
    require_bundle_folder(bundle or out / BUNDLE)
    with connected(settings.training) as compute:
        tell = say if compute.first else hush
        prepared = compute.in_turn(lambda: _prepare_to_calibrate(settings, data, out, tell=tell))
        train_weights(prepared, out, compute)
    if compute.first:
        _finish(prepared, out, bundle, data=data, evaluation=True)


def fit_anomaly(
    *,
    alerts: Annotated[
        list[Path] | None,
        Parameter(consume_multiple=True, help="Files, directories, nightly archives of a survey's alerts."),
    ] = None,
    bundle: Annotated[str, Parameter(help="The finished bundle, by name or directory.")] = "default",
    survey: Annotated[Literal["ztf", "lsst", "auto"], Parameter(help="Whose alerts these are.")] = "auto",
    schemas: Annotated[list[Path] | None, Parameter(help="Directory of schemas of framed packets.")] = None,
    trained_on: Annotated[
        Path | None,
        Parameter(help="Parquet file with the columns ra and dec of the stars behind the encoders."),
    ] = None,
    splits: Annotated[
        int, Parameter(help="Random splits to measure on; 0 not to.", validator=validators.Number(gte=0))
    ] = 10,
    seed: Annotated[int, Parameter(validator=SEED)] = 1,
    version: Annotated[str | None, Parameter(help="Version of the new bundle; by default the next.")] = None,
    run: Annotated[Path | None, Parameter(help="A training run, in place of --alerts.")] = None,
    config: Annotated[
        Path | None,
        Parameter(help="With --run: settings, a TOML file, that differ in [anomaly] and what follows it."),
    ] = None,
    data: Data = None,
    evaluation: Annotated[bool, Parameter(help="With --run: measure on the test split too.")] = True,
    out: Annotated[
        Path | None, Parameter(help="Folder of the new bundle; default with --run: RUN/bundle.")
    ] = None,
) -> None:
    """Fit what is normal: for a finished bundle on a stream's own alerts, or for a training run.

        trainer fit-anomaly --bundle default --alerts night.tar.gz --out my-bundle
        trainer fit-anomaly --run runs/mine

    The alerts need no labels. Forests and p-values of the new bundle are the stream's own, measured on
    objects that were held back; encoders and classes are those of the old one, which stays as it is.
    """
    if alerts:
        if run is not None or out is None:
            raise ConfigurationError(
                "--alerts goes with --out and without --run; give the new bundle's folder"
            )
        _refuse_unheeded("alerts", config=config, data=data, evaluation=evaluation)
        require_bundle_folder(out)
        recalibrate(
            Recalibration(
                bundle=bundle,
                alerts=tuple(alerts),
                surveys=SURVEYS if survey == "auto" else (survey,),
                schemas=tuple(schemas or ()),
                trained_on=trained_on,
                splits=splits,
                seed=seed,
                version=version,
                out=out,
            ),
            say=say,
        )
    elif run is not None:
        _refuse_unheeded(
            "run",
            bundle=bundle,
            survey=survey,
            schemas=schemas,
            trained_on=trained_on,
            splits=splits,
            seed=seed,
            version=version,
        )
        settings = read_settings(config) if config else None
        require_bundle_folder(out or run / BUNDLE)
        prepared = _reopen(run, data, settings)
        require_calibration(prepared)
        _finish(prepared, run, out, data=data, evaluation=evaluation)
    else:
        raise ConfigurationError("give --alerts and --out, or --run")


def _refuse_unheeded(form: str, **options: object) -> None:
    """Refuse options of `fit_anomaly` that do nothing in one of its forms, where they were given."""
    defaults = signature(fit_anomaly).parameters
    names = [
        f"--{'no-' if value is False else ''}{name.replace('_', '-')}"
        for name, value in options.items()
        if value != defaults[name].default
    ]
    if names:
        raise ConfigurationError(f"{', '.join(names)} would do nothing with --{form}; leave it out")


def measure(*, data: Data = None, out: Out = Path("runs/default")) -> None:
    """Measure a trained run on imitated alerts of its test split; results go to OUT/evaluation.json."""
    prepared = _reopen(out, data)
    measure_run(prepared, fit(prepared, out, say=say), out, say=say)
    say(f"wrote {out / 'evaluation.json'}")


def retrieve(*, data: Data = None, out: Out = Path("runs/default")) -> None:
    """Measure how well one modality of a test object finds another of the same object; see retrieval.json."""
    prepared = _reopen(out, data)
    results = measure_retrieval(prepared, out)
    for line in lines_of(results):
        say(line)


def _prepare(
    settings: Settings, data: Path | None, out: Path, *, tell: Callable[[str], None] = say
) -> Prepared:
    return prepare_labelled(settings, data_folder(data), out, say=tell)


def _prepare_to_calibrate(
    settings: Settings, data: Path | None, out: Path, *, tell: Callable[[str], None]
) -> Prepared:
    """Prepare a run, and refuse here what would otherwise end it after the training."""
    prepared = _prepare(settings, data, out, tell=tell)
    require_classes(prepared)
    require_calibration(prepared)
    return prepared


def _reopen(out: Path, data: Path | None, settings: Settings | None = None) -> Prepared:
    """Return a run as it was trained, with the scalers of its encoders, and what else other settings say."""
    run = load_run(out)
    return prepare_labelled(settings or run.settings, data_folder(data), out, say=say, kept=Kept.of(run))


def _finish(
    prepared: Prepared, out: Path, bundle: Path | None, *, data: Path | None, evaluation: bool
) -> None:
    fitted = fit(prepared, out, say=say)
    if evaluation:
        measure_run(prepared, fitted, out, say=say)
    target = bundle or out / BUNDLE
    run_export("--checkpoint", str(out), "--out", str(target))
    stars = data_folder(data) / FILE
    if evaluation and stars.is_file():
        # What the exported graphs say of the test stars goes into the card, so the bundle is written again.
        with scoring_bar() as (begin, advance):
            evaluate_bundle(
                str(target),
                stars,
                out / CATALOGUE,
                out / "predictions.parquet",
                seen=seen_stars(out),
                workers=prepared.run.settings.data.workers,
                begin=begin,
                advance=advance,
            )
        run_export("--checkpoint", str(out), "--out", str(target))
