# SPDX-License-Identifier: BSD-3-Clause
"""The command `trainer`: from labelled light curves to a bundle."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, Parameter

from broker_plugin.errors import ConfigurationError
from broker_plugin.surveys.registry import SURVEYS
from trainer.astrom3.command import reproduce
from trainer.bars import progress_bar, scoring_bar
from trainer.bundle_evaluation import evaluate_bundle, summary_lines
from trainer.catalogue_baselines.command import baselines
from trainer.checkpoint import Kept, load_run
from trainer.compute import connected
from trainer.config import Settings, read_settings
from trainer.cross_survey.command import cross_survey
from trainer.data.catalina import FILE
from trainer.downstream.audit import audit
from trainer.downstream.chart import chart
from trainer.downstream.embedding import embed_command
from trainer.downstream.rank import rank
from trainer.downstream.similar import similar
from trainer.exporting import run_export
from trainer.fitting import CATALOGUE, fit, measure
from trainer.injection.command import inject
from trainer.limited.command import limited_labels
from trainer.object_runs import prepare_labelled
from trainer.options import Config, Data, Out, console, data_folder, hush, say
from trainer.plain_pipeline.command import baseline
from trainer.preparation import Prepared, seen_stars
from trainer.report.command import report
from trainer.retrieval import lines_of, measure_retrieval
from trainer.seeds import seeds
from trainer.simulate.dataset import write_simulation
from trainer.stage_commands import finetune, pretrain
from trainer.stream.command import Recalibration, recalibrate
from trainer.weights import train_weights

__all__ = ["app", "main"]

app = App(
    name="trainer",
    help="""Train the encoders, the forests and the calibration of a bundle.

A scientist's loop is: edit a copy of trainer/configs/default.toml, `trainer train --config COPY --out
runs/mine --bundle my-bundle`, compare the two MODEL_CARD.md, and point `broker-plugin run --bundle` at the
better one. Stopped runs go on where they were.
""",
)

BundleFolder = Annotated[
    Path | None, Parameter(help="Where to put the finished bundle; default: OUT/bundle.")
]


@app.command(name="train")
def train_command(
    *,
    config: Config = Path("trainer/configs/default.toml"),
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
    with connected(settings.training) as compute:
        tell = say if compute.first else hush
        prepared = compute.in_turn(lambda: _prepare(settings, data, out, tell=tell))
        train_weights(prepared, out, compute)
    if compute.first:
        _finish(prepared, out, bundle, data=data, evaluation=True)


app.command(pretrain)
app.command(finetune)


@app.command
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
    splits: Annotated[int, Parameter(help="Random splits to measure on; 0 not to.")] = 10,
    seed: int = 1,
    version: Annotated[str | None, Parameter(help="Version of the new bundle; by default the next.")] = None,
    run: Annotated[Path | None, Parameter(help="A training run, in place of --alerts.")] = None,
    config: Annotated[
        Path | None, Parameter(help="With --run: settings, a TOML file; default: those of the run.")
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
        prepared = _prepare(read_settings(config), data, run) if config else _reopen(run, data)
        _finish(prepared, run, out, data=data, evaluation=evaluation)
    else:
        raise ConfigurationError("give --alerts and --out, or --run")


@app.command
def evaluate(
    *,
    data: Annotated[Path, Parameter(help="Parquet file laid out like lightcurves/catalina_sss.parquet.")],
    out: Annotated[Path, Parameter(help="JSON file of the measures.")] = Path("metrics.json"),
    bundle: Annotated[str, Parameter(help="Name of an installed bundle, or a directory.")] = "default",
    predictions: Annotated[
        Path | None, Parameter(help="Parquet file of what was predicted for each star and setting.")
    ] = None,
    run: Annotated[
        Path | None, Parameter(help="The bundle's training run, whose stars are left out but for its test's.")
    ] = None,
    workers: Annotated[int, Parameter(help="Processes that score.")] = 1,
) -> None:
    """Measure a finished bundle on catalogued stars, by setting: with all epochs, the first 100, 30, 10 ...

    The stars must be ones that the bundle has not been trained on; of the training file, --run leaves them.
    """
    seen = frozenset[str]() if run is None else seen_stars(run)
    with scoring_bar() as (begin, advance):
        measures = evaluate_bundle(
            bundle, data, out, predictions, seen=seen, workers=workers, begin=begin, advance=advance
        )
    for line in summary_lines(measures):
        say(line)
    say(f"wrote {out}")


@app.command(name="measure")
def measure_command(*, data: Data = None, out: Out = Path("runs/default")) -> None:
    """Measure a trained run on imitated alerts of its test split; results go to OUT/evaluation.json."""
    prepared = _reopen(out, data)
    measure(prepared, fit(prepared, out, say=say), out, say=say)
    say(f"wrote {out / 'evaluation.json'}")


@app.command(name="build")
def build_command(
    *,
    config: Annotated[Path, Parameter(help="Sources and rules, a TOML file.")] = Path(
        "trainer/configs/build.toml"
    ),
    data: Data = None,
    out: Annotated[Path, Parameter(help="Folder of the dataset, its card and its sky map.")] = Path(
        "runs/dataset"
    ),
) -> None:
    """Build a multimodal dataset: cross-match light curves, spectra and catalogue rows."""
    from trainer.crossmatch.pipeline import build
    from trainer.crossmatch.settings import read_build_settings

    build(read_build_settings(config), data_folder(data), out, say=say, bar=progress_bar)


@app.command
def retrieve(*, data: Data = None, out: Out = Path("runs/default")) -> None:
    """Measure how well one modality of a test object finds another of the same object; see retrieval.json."""
    prepared = _reopen(out, data)
    results = measure_retrieval(prepared, out)
    for line in lines_of(results):
        say(line)


@app.command
def simulate(
    *,
    n: Annotated[int, Parameter(help="Number of objects.")],
    out: Annotated[Path, Parameter(help="Parquet file to write; its data card comes beside it.")],
    seed: Annotated[int, Parameter(help="Everything follows from it.")] = 1,
) -> None:
    """Simulate variable stars with light curves, spectra and catalogue values, marked as simulated."""
    with progress_bar("simulated objects", n) as advance:
        write_simulation(out, n, seed=seed, advance=advance)
    say(f"wrote {n:,} SIMULATED objects to {out}")


app.command(baselines)
app.command(baseline)
app.command(report)
app.command(cross_survey)
app.command(reproduce)
app.command(embed_command, name="embed")
app.command(similar)
app.command(audit)
app.command(rank)
app.command(chart, name="map")
app.command(inject)
app.command(limited_labels)
app.command(seeds)


def main() -> None:
    """Run the command line; errors that the user can mend are printed without a traceback."""
    try:
        app()
    except ConfigurationError as error:
        console.print(f"[bold red]trainer:[/] {error}", highlight=False, soft_wrap=True)
        sys.exit(2)


def _prepare(
    settings: Settings, data: Path | None, out: Path, *, tell: Callable[[str], None] = say
) -> Prepared:
    return prepare_labelled(settings, data_folder(data), out, say=tell)


def _reopen(out: Path, data: Path | None) -> Prepared:
    """Return a run as it was trained, with the scalers of its encoders."""
    run = load_run(out)
    return prepare_labelled(run.settings, data_folder(data), out, say=say, kept=Kept.of(run))


def _finish(
    prepared: Prepared, out: Path, bundle: Path | None, *, data: Path | None, evaluation: bool
) -> None:
    fitted = fit(prepared, out, say=say)
    if evaluation:
        measure(prepared, fitted, out, say=say)
    target = bundle or out / "bundle"
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
