# SPDX-License-Identifier: BSD-3-Clause
"""The paper's settings of every run, tuned by the authors on the validation split of seed 42.

All 33 of their configurations are here, to the digits that were noted from them; none had to be guessed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from trainer.astrom3.config import AstroM3Config, Config, MetadataConfig, PhotometryConfig, SpectraConfig
from trainer.astrom3.model import Modality

__all__ = ["LAYERS", "MODALITIES", "SEEDS", "SUBSETS", "Recipe", "Subset", "clip_recipe", "recipe"]

Subset = Literal["full", "sub50", "sub25", "sub10"]

MODALITIES: tuple[Modality, ...] = ("spectra", "metadata", "photometry", "all")
SUBSETS: tuple[Subset, ...] = ("sub10", "sub25", "sub50", "full")
SEEDS = (42, 0, 66, 12, 123)
"""Each seed has its own split of the same 21,440 objects, and its own initial weights."""

LAYERS = 8
"""Layers of the Informer."""

EPOCHS_CLIP, EPOCHS_CLASSIFY = 100, 50

GRADIENT_NORM_MAX: dict[str, float | None] = {
    "clip": 45.0,
    "photometry": 5.0,
    "spectra": 5.0,
    "metadata": None,
    "all": None,
}
"""Longest gradient of each kind of run; None leaves it alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How one model is trained.

    Parameters
    ----------
    p_dropout, s_dropout, m_dropout
        Of the encoders of photometry, spectra and metadata.
    weight_decay
        L2, added to the gradient (Adam, not AdamW), of every parameter.
    factor
        By which the learning rate falls on a plateau of the validation loss.
    gradient_norm_max
        None for no limit.
    """

    p_dropout: float = 0.0
    s_dropout: float = 0.0
    m_dropout: float = 0.0
    learning_rate: float
    beta1: float
    weight_decay: float
    factor: float
    epochs: int
    gradient_norm_max: float | None
    beta2: float = 0.999
    batch_size: int = 512
    warmup_epochs: int = 10
    warmup_start: float = 1e-5
    plateau_patience: int = 3
    stop_patience: int = 6

    def config(
        self, modality: Modality, *, classes: int, classification: bool, layers: int = LAYERS
    ) -> Config:
        """Return the config of the model that this recipe trains."""
        fixed = {"classification": classification, "num_classes": classes}
        match modality:
            case "photometry":
                return PhotometryConfig(dropout=self.p_dropout, e_layers=layers, **fixed)
            case "spectra":
                return SpectraConfig(dropout=self.s_dropout, **fixed)
            case "metadata":
                return MetadataConfig(dropout=self.m_dropout, **fixed)
            case "all":
                return AstroM3Config(
                    p_dropout=self.p_dropout,
                    s_dropout=self.s_dropout,
                    m_dropout=self.m_dropout,
                    p_e_layers=layers,
                    **fixed,
                )


Row = tuple[tuple[float, ...], float, float, float, float]

_CLIP: Row = ((0.245, 0.339, 0.160), 3.921e-3, 0.9262, 4.67e-3, 0.1125)

_ROWS: dict[tuple[Modality, Subset, bool], Row] = {
    ("photometry", "full", False): ((0.231,), 2.925e-3, 0.9896, 4.71e-5, 0.506),
    ("photometry", "sub50", False): ((0.0987,), 4.086e-3, 0.9651, 1.89e-5, 0.386),
    ("photometry", "sub25", False): ((0.131,), 8.658e-4, 0.9595, 7.02e-4, 0.945),
    ("photometry", "sub10", False): ((0.0923,), 1.293e-4, 0.9149, 2.41e-3, 0.932),
    ("photometry", "full", True): ((0.149,), 9.338e-4, 0.8348, 4.66e-4, 0.385),
    ("photometry", "sub50", True): ((0.302,), 2.928e-4, 0.9739, 5.80e-5, 0.774),
    ("photometry", "sub25", True): ((0.292,), 5.750e-4, 0.8122, 7.71e-2, 0.424),
    ("photometry", "sub10", True): ((0.196,), 3.210e-4, 0.7385, 2.31e-3, 0.907),
    ("spectra", "full", False): ((0.316,), 3.970e-3, 0.7623, 1.58e-4, 0.602),
    ("spectra", "sub50", False): ((0.215,), 9.108e-3, 0.9018, 4.01e-4, 0.819),
    ("spectra", "sub25", False): ((0.360,), 4.633e-3, 0.7008, 1.14e-4, 0.849),
    ("spectra", "sub10", False): ((0.219,), 5.734e-3, 0.9706, 8.31e-3, 0.914),
    ("spectra", "full", True): ((0.399,), 2.551e-3, 0.8721, 8.09e-5, 0.622),
    ("spectra", "sub50", True): ((0.397,), 2.511e-3, 0.7093, 6.82e-5, 0.603),
    ("spectra", "sub25", True): ((0.283,), 9.691e-3, 0.7075, 2.67e-5, 0.104),
    ("spectra", "sub10", True): ((0.377,), 9.019e-3, 0.9001, 1.03e-5, 0.1025),
    ("metadata", "full", False): ((0.192,), 2.745e-3, 0.9220, 2.62e-4, 0.372),
    ("metadata", "sub50", False): ((0.231,), 8.942e-3, 0.9503, 4.31e-5, 0.397),
    ("metadata", "sub25", False): ((0.135,), 8.219e-3, 0.9037, 2.24e-4, 0.308),
    ("metadata", "sub10", False): ((0.148,), 9.586e-3, 0.9604, 1.67e-3, 0.480),
    ("metadata", "full", True): ((0.326,), 3.807e-3, 0.7596, 8.92e-5, 0.332),
    ("metadata", "sub50", True): ((0.286,), 9.830e-3, 0.7947, 1.05e-4, 0.293),
    ("metadata", "sub25", True): ((0.258,), 4.520e-3, 0.9527, 5.15e-5, 0.651),
    ("metadata", "sub10", True): ((0.176,), 1.045e-3, 0.7513, 1.05e-5, 0.553),
    ("all", "full", False): ((0.105, 0.351, 0.316), 4.246e-3, 0.9150, 6.93e-5, 0.100),
    ("all", "sub50", False): ((0.278, 0.400, 0.237), 4.048e-3, 0.9103, 1.92e-4, 0.241),
    ("all", "sub25", False): ((0.185, 0.237, 0.186), 2.984e-3, 0.9507, 2.70e-4, 0.548),
    ("all", "sub10", False): ((0.058, 0.331, 0.263), 1.826e-3, 0.9039, 3.10e-5, 0.425),
    ("all", "full", True): ((0.233, 0.177, 0.118), 9.504e-3, 0.9456, 5.94e-5, 0.196),
    ("all", "sub50", True): ((0.081, 0.035, 0.272), 3.879e-3, 0.8629, 8.30e-5, 0.257),
    ("all", "sub25", True): ((0.144, 0.142, 0.308), 1.747e-3, 0.7293, 1.21e-4, 0.348),
    ("all", "sub10", True): ((0.308, 0.189, 0.106), 9.986e-3, 0.9685, 2.58e-4, 0.119),
}
"""By modality, subset and whether it starts from the contrastive model: dropout (of photometry, spectra,
metadata where there are three), learning rate, beta1, weight decay, plateau factor. From the files
config-MODE-SUBSET and config-MODE-SUBSET-clip of the authors' repository."""


def clip_recipe() -> Recipe:
    """Return how the contrastive model is trained: on all labels' objects of a seed, without the labels."""
    return _recipe("clip", _CLIP, epochs=EPOCHS_CLIP)


def recipe(modality: Modality, subset: Subset, *, clip: bool) -> Recipe:
    """Return how a classifier is trained, from random weights or from the contrastive model.

    Examples
    --------
    >>> recipe("spectra", "sub10", clip=True).learning_rate
    0.009019
    """
    return _recipe(modality, _ROWS[modality, subset, clip], epochs=EPOCHS_CLASSIFY)


_ENCODERS = ("photometry", "spectra", "metadata")


def _recipe(kind: str, row: Row, *, epochs: int) -> Recipe:
    dropouts, learning_rate, beta1, weight_decay, factor = row
    kinds = (kind,) if kind in _ENCODERS else _ENCODERS
    dropout = dict(zip(kinds, dropouts, strict=True))
    return Recipe(
        p_dropout=dropout.get("photometry", 0.0),
        s_dropout=dropout.get("spectra", 0.0),
        m_dropout=dropout.get("metadata", 0.0),
        learning_rate=learning_rate,
        beta1=beta1,
        weight_decay=weight_decay,
        factor=factor,
        epochs=epochs,
        gradient_norm_max=GRADIENT_NORM_MAX[kind],
    )
