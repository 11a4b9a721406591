# SPDX-License-Identifier: BSD-3-Clause
"""`trainer pretrain` and `trainer finetune`: the two halves of what `trainer train` does at once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from broker_plugin.errors import ConfigurationError
from broker_plugin.streams.output_files import prepare_folder
from broker_plugin.surveys.registry import SURVEYS
from trainer.checkpoint import NOTHING_KEPT
from trainer.compute import connected
from trainer.config import Settings, read_settings
from trainer.object_runs import prepare_labelled
from trainer.options import DEFAULT_SETTINGS, Config, Data, Out, data_folder, given, hush, say, warn
from trainer.preparation import Prepared
from trainer.pretrained import PRETRAINED, Pretrained, read_pretrained
from trainer.stream.archive import read_archive
from trainer.stream.refit import training_positions
from trainer.sufficiency import require_calibration, require_classes
from trainer.unlabelled import leave_out, prepare_alerts, prepare_unlabelled
from trainer.weights import finetune_weights, pretrain_weights

__all__ = ["finetune", "pretrain"]


def pretrain(
    *,
    config: Config = DEFAULT_SETTINGS,
    data: Data = None,
    alerts: Annotated[
        list[Path] | None,
        Parameter(
            consume_multiple=True,
            help="Files, directories, nightly archives of a survey's alerts, with --data or in its place.",
        ),
    ] = None,
    survey: Annotated[Literal["ztf", "lsst", "auto"], Parameter(help="Whose alerts these are.")] = "auto",
    schemas: Annotated[list[Path] | None, Parameter(help="Directory of schemas of framed packets.")] = None,
    apart_from: Annotated[
        Path | None,
        Parameter(
            help="Parquet file with the columns ra and dec of stars to leave out, to be tested on later."
        ),
    ] = None,
    out: Out = Path("runs/default"),
) -> None:
    """Train the encoders by contrast alone: nothing is learned from labels, and none need be there.

        trainer pretrain --data stars.parquet --alerts night.tar.gz --out runs/mine
        trainer finetune --from runs/mine --out runs/mine

    Held against each other are the modalities of a star, and two windows (runs of epochs) of its light
    curve; the table [pretraining] weighs the two. Labels that are there serve the splits, and to leave out
    classes that are held out. The encoders go to OUT/pretrained. Stopped runs go on where they were;
    `torchrun --nproc-per-node N -m trainer pretrain ...` uses N devices.
    """
    settings = read_settings(config)
    prepare_folder(out)
    with connected(settings.training) as compute:
        tell = say if compute.first else hush
        sources: list[Prepared] = []
        if data is not None or not alerts:
            source = data_folder(data)
            sources.append(compute.in_turn(lambda: prepare_unlabelled(settings, source, out, say=tell)))
        if alerts:
            specs = sources[0].run.specs if sources else {}
            surveys = SURVEYS if survey == "auto" else (survey,)
            archive = read_archive(alerts, surveys=surveys, schemas=schemas or ())
            sources.append(
                compute.in_turn(
                    lambda: prepare_alerts(settings, archive, out / "alerts", say=tell, specs=specs)
                )
            )
        if apart_from is not None:
            positions = training_positions(apart_from)
            sources = [leave_out(prepared, *positions) for prepared in sources]
        pretrain_weights(sources, out, compute)
        same = given(config=config, data=data)
        tell(f"encoders in {out / PRETRAINED}; next: trainer finetune --from {out}{same} --out {out}")


def finetune(
    *,
    config: Config = DEFAULT_SETTINGS,
    data: Data = None,
    start: Annotated[
        Path | None,
        Parameter(
            name="--from",
            help="Run of `trainer pretrain`, or any finished run, whose encoders to begin with; "
            "default: random weights.",
        ),
    ] = None,
    out: Out = Path("runs/default"),
) -> None:
    """Train on the classes alone, from pre-trained encoders or from random weights.

        trainer finetune --from runs/mine --out runs/mine
        trainer fit-anomaly --run runs/mine

    The settings are those of [training] without its contrastive loss: classes from the fusion of the
    modalities, and from each alone. With --from, scalers are those of the pre-training, and stars that it
    learned from must not be held out here. Stopped runs go on where they were; `torchrun` works as for
    `pretrain`.
    """
    settings = read_settings(config)
    prepare_folder(out)
    before = None if start is None else read_pretrained(start)
    with connected(settings.training) as compute:
        tell = say if compute.first else hush
        prepared = compute.in_turn(lambda: _prepare(settings, data, out, before, tell))
        require_classes(prepared)
        if compute.first:
            _warn_of_calibration(prepared)
        finetune_weights(prepared, out, compute, start=before)
        tell(f"weights in {out}; next: trainer fit-anomaly --run {out}{given(data=data)}")


def _warn_of_calibration(prepared: Prepared) -> None:
    """Say before the training that no bundle can be made of its weights, where that is so."""
    try:
        require_calibration(prepared)
    except ConfigurationError as error:
        warn(f"the weights can be trained, but `fit-anomaly --run` will refuse them: {error}")


def _prepare(
    settings: Settings, data: Path | None, out: Path, before: Pretrained | None, tell: Callable[[str], None]
) -> Prepared:
    kept = NOTHING_KEPT if before is None else before.kept(settings)
    prepared = prepare_labelled(settings, data_folder(data), out, say=tell, kept=kept)
    if before is not None:
        before.require_apart(prepared)
    return prepared
