# SPDX-License-Identifier: BSD-3-Clause
"""`trainer embed`: objects through a bundle, by the scorer that the stream uses, into one file."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from cyclopts import Parameter
from numpy.typing import NDArray
from rich.console import Console

from broker_plugin.codec.verdict import Tense, Verdict
from broker_plugin.engine.encoders import FUSED
from broker_plugin.engine.scorer import Scorer
from broker_plugin.engine.scores import RawScores
from broker_plugin.errors import ConfigurationError
from broker_plugin.records import AlertBatch
from broker_plugin.streams.output_files import check_outputs
from trainer.bars import progress_bar
from trainer.baseline import summary
from trainer.data.used import NO_STARS, UsedStars
from trainer.downstream.storage import column_of, write_rows
from trainer.downstream.subjects import Subject, Subjects, read_subjects
from trainer.downstream.table import About
from trainer.options import COUNT
from trainer.seen import is_training_file, seen_by_bundle
from trainer.sets import tokens_of

__all__ = ["embed", "embed_command"]

CHUNK = 250
"""Objects embedded at once: enough for the graphs' batches, and bars that move."""

Row = dict[str, Any]


def embed_command(
    *,
    data: Annotated[
        list[Path],
        Parameter(
            consume_multiple=True,
            help="Stars like lightcurves/catalina_sss.parquet, whose classes and periods may be missing, a "
            "file of `trainer build` or `simulate`, or a survey's alerts: files, archives, directories.",
        ),
    ],
    bundle: Annotated[str, Parameter(help="Name of an installed bundle, or a directory.")] = "default",
    out: Annotated[Path, Parameter(help="Parquet file to write.")] = Path("embeddings.parquet"),
    first: Annotated[
        int | None,
        Parameter(
            validator=COUNT,
            help="Of stars: only so many first epochs, as a stream sees.",
        ),
    ] = None,
    period: Annotated[bool, Parameter(help="Of stars: give the catalogue's period to the encoders.")] = False,
    features: Annotated[
        bool, Parameter(help="Keep hand-made features too, to be compared with by --measure of the others.")
    ] = False,
    unseen: Annotated[bool, Parameter(help="Leave out what the bundle was trained on.")] = False,
    trained_on: Annotated[
        Path | None,
        Parameter(
            help="The file that the bundle was trained on, which tells what it has seen; default: --data."
        ),
    ] = None,
) -> None:
    """Embed objects once, for `trainer similar`, `audit`, `rank` and `map`.

    The file holds, for each object, the fused embedding and that of each modality, class probabilities, the
    anomaly score, and enough of the light curve to draw it. Of catalogued stars it says which the bundle was
    trained on, so that nothing is measured on them.
    """
    check_outputs([out], data)
    say = Console(stderr=True, highlight=False, soft_wrap=True).print
    scorer = Scorer.open(bundle, device="cpu")
    seen = _seen(scorer, data, trained_on)
    if seen is None and unseen:
        raise ConfigurationError(
            "--unseen needs to know what the bundle was trained on; give --trained-on FILE"
        )
    if seen is None:
        say("not known which of these the bundle was trained on; --trained-on FILE would tell")
    without = seen if unseen and seen is not None else NO_STARS
    subjects = read_subjects(data, first=first, period=period, without=without)
    if subjects.total == 0:
        raise ConfigurationError(
            f"nothing to embed in {', '.join(map(str, data))}: no stars, objects or alerts"
            + (" but those that the bundle was trained on" if len(without.name) else "")
        )
    with progress_bar("objects", subjects.total) as advance:
        n = embed(
            subjects,
            scorer,
            out,
            seen=seen,
            source=", ".join(path.name for path in data),
            first=first,
            period=period,
            features=features,
            advance=advance,
        )
    say(f"wrote {n:,} {'SIMULATED ' if subjects.simulated else ''}embeddings to {out}")


def embed(
    subjects: Subjects,
    scorer: Scorer,
    out: Path,
    *,
    seen: UsedStars | None,
    source: str,
    first: int | None = None,
    period: bool = False,
    features: bool = False,
    advance: Callable[[int], None] = lambda n: None,
) -> int:
    """Write the embeddings of subjects to a file and return their number.

    Parameters
    ----------
    seen
        What the bundle was trained on; None where that is not known.
    source, first, period
        What is written about the file.
    """
    manifest = scorer.bundle.manifest
    chunks = subjects.chunks(CHUNK)
    start = next(chunks, [])
    about = About(
        bundle=f"{manifest.name} {manifest.version}",
        bundle_digest=scorer.bundle.digest,
        classes=tuple(manifest.classes),
        modalities=tuple(model.name for model in manifest.modalities),
        embedding_dim=manifest.embedding_dim,
        source=source,
        first=first,
        period=period,
        simulated=subjects.simulated,
        n_features=_features(scorer, start[:1]).shape[1] if features and start else 0,
    )

    def batches() -> Iterator[list[Row]]:
        for chunk in chain([start] if start else [], chunks):
            yield _rows(chunk, scorer, about, seen)
            advance(len(chunk))

    return write_rows(out, about, batches())


def _seen(scorer: Scorer, data: Sequence[Path], trained_on: Path | None) -> UsedStars | None:
    manifest = scorer.bundle.manifest
    if trained_on is not None:
        return seen_by_bundle(manifest, trained_on)
    if len(data) == 1 and is_training_file(manifest, data[0]):
        return seen_by_bundle(manifest, data[0])
    return None


def _rows(chunk: Sequence[Subject], scorer: Scorer, about: About, seen: UsedStars | None) -> list[Row]:
    batch = AlertBatch.from_alerts(subject.alert for subject in chunk)
    verdicts, scores = scorer.examine(batch, tense=Tense.TEST)
    rows = [
        _row(subject, verdict, about, is_seen) | _vectors(scores, row)
        for row, (subject, verdict, is_seen) in enumerate(
            zip(chunk, verdicts, _seen_of(chunk, batch, seen), strict=True)
        )
    ]
    if about.n_features:
        for row, features in zip(rows, _features(scorer, chunk), strict=True):
            row["features"] = features
    return rows


def _seen_of(chunk: Sequence[Subject], batch: AlertBatch, seen: UsedStars | None) -> list[bool | None]:
    if seen is None:
        return [None] * len(chunk)
    found: list[bool | None] = [
        *seen.holds(np.array([each.id for each in chunk]), batch.ra_deg, batch.dec_deg).tolist()
    ]
    return found


def _row(subject: Subject, verdict: Verdict, about: About, is_seen: bool | None) -> Row:
    probability = [verdict.class_probabilities[name] for name in about.classes]
    return {
        "id": subject.id,
        "label": subject.label,
        "published": subject.published,
        "other_type": subject.other_type,
        "seen": is_seen,
        "catalogue_period_day": subject.period_day,
        # The class is named outside stellar sources too: `source_context` says where it does not apply.
        "top_class": about.classes[int(np.argmax(probability))],
        "probability": probability,
        "curve": subject.alert.light_curve,
        **{name: getattr(verdict, name) for name in _OF_VERDICT},
    }


_OF_VERDICT = (
    "object_id",
    "survey",
    "ra_deg",
    "dec_deg",
    "mjd_tai",
    "n_epochs",
    "source_context",
    "period_day",
    "anomaly_score",
    "anomaly_p_value",
    "calibration_stratum",
)


def _vectors(scores: RawScores, row: int) -> Row:
    having = (FUSED, *scores.modalities[row])
    return {column_of(source): scores.embeddings[source][row] for source in having}


def _features(scorer: Scorer, chunk: Sequence[Subject]) -> NDArray[np.float32]:
    specs = {model.name: model.spec for model in scorer.bundle.manifest.modalities}
    return summary(tokens_of(AlertBatch.from_alerts(subject.alert for subject in chunk), specs))
