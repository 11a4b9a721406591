# SPDX-License-Identifier: BSD-3-Clause
"""`trainer build`: a multimodal dataset from light curves, spectra and catalogues."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from trainer.bars import progress_bar
from trainer.crossmatch.pipeline import build as build_dataset
from trainer.crossmatch.settings import read_build_settings
from trainer.options import Data, data_folder, say

__all__ = ["build"]


def build(
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
    build_dataset(read_build_settings(config), data_folder(data), out, say=say, bar=progress_bar)
