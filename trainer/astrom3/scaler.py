# SPDX-License-Identifier: BSD-3-Clause
"""The authors' info.json: classes, columns, and the mean and spread that every column was scaled by."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from broker_plugin.errors import ConfigurationError

__all__ = ["META_COLUMNS", "PHOTO_COLUMNS", "Scaler", "fit_scaler", "read_scaler", "write_scaler"]

PHOTO_COLUMNS = ("amplitude", "period", "lksl_statistic", "rfr_score")
"""Catalogue values of the light curve, in the order of channels 3 to 6 of its rows."""

META_COLUMNS = (
    *("mean_vmag", "phot_g_mean_mag", "e_phot_g_mean_mag", "phot_bp_mean_mag", "e_phot_bp_mean_mag"),
    *("phot_rp_mean_mag", "e_phot_rp_mean_mag", "bp_rp", "parallax", "parallax_error"),
    *("parallax_over_error", "pmra", "pmra_error", "pmdec", "pmdec_error", "j_mag", "e_j_mag", "h_mag"),
    *("e_h_mag", "k_mag", "e_k_mag", "w1_mag", "e_w1_mag", "w2_mag", "e_w2_mag", "w3_mag", "w4_mag"),
    *("j_k", "w1_w2", "w3_w4", "pm", "ruwe", "l", "b"),
)
"""The 34 columns of the metadata encoder, in its order."""

COLUMNS = (*PHOTO_COLUMNS, *META_COLUMNS)

Positive = Annotated[float, Field(gt=0)]


class _Info(BaseModel):
    """What of an info.json is read; the rest describes how it was made."""

    model_config = ConfigDict(extra="ignore")

    classes: tuple[str, ...] = ()
    all_cols: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[Positive, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scaler:
    """Means and spreads of the transformed columns, photometric ones first.

    Parameters
    ----------
    mean, std
        In the order of `PHOTO_COLUMNS` and `META_COLUMNS`, shape (38,); the spread is the population's.
    """

    classes: tuple[str, ...]
    mean: NDArray[np.float64]
    std: NDArray[np.float64]

    def photo(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return transformed photometric columns (..., 4) scaled."""
        n = len(PHOTO_COLUMNS)
        return (values - self.mean[:n]) / self.std[:n]

    def meta(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return transformed metadata columns (..., 34) scaled."""
        n = len(PHOTO_COLUMNS)
        return (values - self.mean[n:]) / self.std[n:]


def read_scaler(path: Path) -> Scaler:
    """Read an info.json of the authors' splits, e.g. splits/full/42/info.json.

    Raises
    ------
    ConfigurationError
        If it cannot be read, or holds other columns, another order, or a spread of zero.
    """
    try:
        content: Mapping[str, Any] = json.loads(path.read_text())
        info = _Info.model_validate(content)
    except OSError as error:
        raise ConfigurationError(
            f"cannot read {path}: {error.strerror}; it comes with the raw data set AstroM3Dataset, in "
            "splits/<subset>/<seed>/"
        ) from error
    except (json.JSONDecodeError, ValidationError) as error:
        raise ConfigurationError(f"{path} is no info.json of AstroM3Dataset: {error}") from error
    if len(info.all_cols) != len(COLUMNS) or {len(info.mean), len(info.std)} != {len(COLUMNS)}:
        raise ConfigurationError(f"{path}: {len(COLUMNS)} columns, means and spreads are needed")
    if info.all_cols != COLUMNS:
        wrong = [f"{ours} != {theirs}" for ours, theirs in zip(COLUMNS, info.all_cols, strict=True)]
        other = [pair for pair in wrong if len(set(pair.split(" != "))) > 1]
        raise ConfigurationError(f"{path} has other columns, or another order: {', '.join(other)}")
    return Scaler(classes=info.classes, mean=np.array(info.mean), std=np.array(info.std))


def write_scaler(scaler: Scaler, path: Path) -> None:
    """Write an info.json in the authors' layout."""
    content = {
        "classes": scaler.classes,
        "photo_cols": PHOTO_COLUMNS,
        "meta_cols": META_COLUMNS,
        "all_cols": COLUMNS,
        "mean": scaler.mean.tolist(),
        "std": scaler.std.tolist(),
    }
    path.write_text(json.dumps(content, indent=2) + "\n")


def fit_scaler(columns: NDArray[np.float64], classes: tuple[str, ...]) -> Scaler:
    """Return the scaler of transformed columns (objects, 38): those of the training split, and of no other.

    Raises
    ------
    ConfigurationError
        If a column is the same for all objects or has a value that is not finite.
    """
    mean, std = columns.mean(axis=0), columns.std(axis=0)
    if not (std > 0).all():
        bad = [name for name, value in zip(COLUMNS, std, strict=True) if not value > 0]
        raise ConfigurationError(f"cannot scale {', '.join(bad)}: constant, or not finite")
    return Scaler(classes=classes, mean=mean, std=std)
