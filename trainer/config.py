# SPDX-License-Identifier: BSD-3-Clause
"""Settings of a training run, read from one TOML file."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeInt,
    PositiveFloat,
    field_validator,
)

from trainer.decision import Objective
from trainer.specs import check_spec
from trainer.toml_file import read_toml
from trainer.windows import FIRST_EPOCHS

__all__ = [
    "STRATUM_MIN",
    "AnomalySettings",
    "CalibrationSettings",
    "DataSettings",
    "EvaluationSettings",
    "ModalitySettings",
    "ModelSettings",
    "PretrainingSettings",
    "Settings",
    "TrainingSettings",
    "read_settings",
]


ROUNDING = 1e-6
"""By how much shares may miss 1: thirds are written with seven digits at least."""

SEED_MAX = 2**31 - 1
"""Largest seed: scikit-learn takes 32 bits, and some seeds are counted on from the run's."""

LONGEST_EPOCHS = 256
"""Most epochs of a training alert for an encoder that has no limit of its own: few stars have more."""


STRATUM_MIN = 400
"""Fewest alerts of a stratum. With 400 the rarest p-value is 1 in 401, and the coverage of the class sets is
known to 1.5 %."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class ModelSettings(_Part):
    """Sizes that all modalities share, and of the head."""

    embedding_dim: int = Field(gt=0)
    dropout: float = Field(ge=0, lt=1)
    head_hidden_dim: int = Field(gt=0)


class ModalitySettings(_Part):
    """One modality: what its runtime file and its encoder file are to be built with."""

    spec: dict[str, Any] = Field(
        default_factory=dict,
        description="Settings of the preprocessing, read by broker_plugin/features/modalities/NAME.py; "
        "scalers are added from the training data.",
    )
    encoder: dict[str, Any] = Field(
        default_factory=dict, description="Sizes of the encoder, read by trainer/encoders/NAME.py."
    )


class DataSettings(_Part):
    """The stars, their splits, and sets of imitated alerts."""

    sample: str = Field(
        default="training-stars",
        pattern=r"^[\w.-]+$",
        description="Name of the sample of stars; verdicts name it as the prior of their probabilities.",
    )
    source: str = Field(
        default="", description="Where the light curves are from, to be cited; for the model card."
    )
    split_fractions: tuple[PositiveFloat, PositiveFloat, PositiveFloat, PositiveFloat] = Field(
        description="Train, validation, calibration and test."
    )
    held_out_classes: tuple[str, ...] = Field(
        default=(), description="Classes that the model must not know, to be found as anomalies."
    )
    windows_per_set: int = Field(
        default=0, ge=0, description="Alerts with a star's own epochs, added to each set of imitated ones."
    )
    class_windows: int = Field(
        default=2000,
        ge=1,
        description="Fewest windows of own epochs that a class has, of its random runs and of those of each "
        "length in `runs_per_star`. The rarest has 84 training stars, each of which is then seen in 24 of "
        "them; without, they are learned by heart.",
    )
    cuts_per_set: int = Field(
        default=0,
        ge=0,
        description="Alerts cut from a star's own epochs as ZTF or LSST would have sent them "
        "(trainer/survey_cut.py), added to each set beside the windows. Without, a model hardly sees how "
        "sparse alerts are.",
    )
    runs_per_star: tuple[NonNegativeInt, ...] = Field(
        default=(),
        max_length=len(FIRST_EPOCHS),
        description="Runs of epochs that begin with any night of a star and stand for all of its epochs, its "
        "first 100, 30, 10, 3 and 1, in this order. Classes of few stars have `class_windows` runs of each "
        "listed length at least, also where a 0 stands. Without, a star is seen with the same few windows in "
        "every pass.",
    )
    odd_share: float = Field(
        default=0.0, ge=0, lt=1, description="Share of the alerts that are made odd, for outlier exposure."
    )
    train_sets: int = Field(gt=0, description="Sets of imitated alerts; training cycles through them.")
    alerts_per_set: int = Field(gt=0)
    validation_alerts: int = Field(gt=0)
    workers: int = Field(gt=0, description="Processes that imitate alerts.")

    @field_validator("split_fractions")
    @classmethod
    def _whole(cls, fractions: tuple[float, ...]) -> tuple[float, ...]:
        if abs(sum(fractions) - 1) > ROUNDING:
            raise ValueError(f"the shares must add up to 1, not to {sum(fractions):g}")
        return fractions


class TrainingSettings(_Part):
    """The optimisation."""

    passes: int = Field(gt=0, description="Sets to train on in all.")
    learning_rate: float = Field(gt=0)
    weight_decay: float = Field(ge=0)
    warmup_steps: int = Field(ge=0)
    batch_max: int = Field(gt=1)
    tokens_per_batch: int = Field(gt=0, description="Smaller batches for longer light curves.")
    clip_weight: float = Field(ge=0, description="Weight of the contrastive loss.")
    single_weight: float = Field(ge=0, description="Weight of the class loss of each modality alone.")
    oddity_weight: float = Field(
        default=0.0, ge=0, description="Weight of the loss of telling ordinary alerts from odd ones."
    )
    modality_dropout: float = Field(ge=0, lt=1, description="Chance of leaving a modality out of the fusion.")
    label_smoothing: float = Field(ge=0, lt=1)
    threads: int = Field(gt=0)
    seed: int | None = Field(
        default=None,
        ge=0,
        le=SEED_MAX,
        description="Of first weights, order, dropout, the windows of a pass (also those that forests and "
        "references are taken from) and the forests; None for the run's. Another one trains again on the "
        "same split, with the same cached alerts.",
    )
    precision: Literal["fp32", "bf16"] = Field(
        default="fp32", description="Of the encoders' arithmetic; weights and losses are always fp32."
    )
    device: Literal["auto", "cpu", "cuda"] = Field(
        default="auto", description="Where training runs; auto takes CUDA where there is one."
    )


class PretrainingSettings(_Part):
    """What `trainer pretrain` does in another way than [training], which gives all the rest."""

    passes: int = Field(default=20, gt=0, description="In each, two windows of every star are drawn.")
    learning_rate: float | None = Field(default=None, gt=0, description="None for that of [training].")
    clip_weight: float = Field(default=1.0, ge=0, description="Weight of the contrast between modalities.")
    view_weight: float = Field(
        default=1.0, ge=0, description="Weight of the contrast between two windows of a light curve."
    )


class AnomalySettings(_Part):
    """The isolation forests."""

    min_epochs: int = Field(gt=0, description="Alerts with fewer epochs are not what is ordinary.")
    class_forests: bool = Field(description="Score by the least of one forest a class, not by a global one.")


class CalibrationSettings(_Part):
    """Strata of the calibration."""

    alerts_per_stratum: int = Field(ge=STRATUM_MIN, description="Most alerts of a stratum.")
    epoch_edges: tuple[int, ...] = Field(description="Lower edges of the bins of the number of epochs.")
    decision_rule: Objective = Field(
        default="argmax",
        description="What names a class: the largest probability, or weights of the classes for macro_f1 or "
        "balanced_accuracy, chosen on the calibration stars of each stratum.",
    )

    @field_validator("epoch_edges")
    @classmethod
    def _rising(cls, edges: tuple[int, ...]) -> tuple[int, ...]:
        rises = all(low < high for low, high in pairwise(edges))
        if not (rises and len(edges) > 1 and edges[0] == 0):
            raise ValueError("give two or more edges that begin with 0 and rise")
        return edges


class EvaluationSettings(_Part):
    """The measurement on the test split."""

    alerts_per_bin: int = Field(gt=0)
    seeds: tuple[NonNegativeInt, ...] = Field(min_length=1)


class Settings(_Part):
    """All settings of a run."""

    name: str
    version: str
    seed: int = Field(ge=1, le=SEED_MAX, description="Validation alerts follow from the number below it.")
    model: ModelSettings
    modalities: dict[str, ModalitySettings] = Field(
        min_length=1, description="By name, in the order of the embeddings."
    )
    data: DataSettings
    training: TrainingSettings
    pretraining: PretrainingSettings = PretrainingSettings()
    anomaly: AnomalySettings
    calibration: CalibrationSettings
    evaluation: EvaluationSettings

    @field_validator("modalities")
    @classmethod
    def _made_so(cls, modalities: dict[str, ModalitySettings]) -> dict[str, ModalitySettings]:
        for name, modality in modalities.items():
            check_spec(name, modality.spec)
        return modalities

    @property
    def training_seed(self) -> int:
        """Seed of the training alone: other trainings of a run differ in nothing else."""
        return self.seed if self.training.seed is None else self.training.seed

    @property
    def max_epochs(self) -> int:
        """Most epochs of an alert in training and calibration; 1 for a model without light curves."""
        photometry = self.modalities.get("photometry")
        if photometry:
            return int(photometry.spec["max_epochs"])
        return LONGEST_EPOCHS if "light_curve" in self.modalities else 1


def read_settings(path: Path) -> Settings:
    """Read the settings of a run.

    Raises
    ------
    ConfigurationError
        If the file cannot be read or a setting is missing, unknown or impossible.
    """
    settings = read_toml(path, Settings, example="trainer/configs/default.toml")
    from trainer.encoders import check_sizes  # torch: seconds that the import does without

    check_sizes(settings)
    return settings
