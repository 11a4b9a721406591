# SPDX-License-Identifier: BSD-3-Clause
"""What was measured stays as long as what it was measured on."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from trainer.fitting import CATALOGUE, EVALUATION, fit
from trainer.preparation import Prepared


def test_results_go_when_something_else_is_fitted_and_not_before(
    prepared: Prepared, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trainer.calibrate.STRATUM_MIN", 5)
    for trees in ("GLOBAL_TREES", "CLASS_TREES", "MODALITY_TREES"):
        monkeypatch.setattr(f"trainer.anomaly.{trees}", 5)
    run = shutil.copytree(trained, tmp_path / "run", ignore=shutil.ignore_patterns("cache"))
    results = [run / name for name in (CATALOGUE, EVALUATION)]
    fit(prepared, run, say=lambda line: None)
    for path in results:
        path.write_text("{}")
    fit(prepared, run, say=lambda line: None)
    assert all(path.is_file() for path in results)
    settings = prepared.run.settings
    anomaly = settings.anomaly.model_copy(update={"class_forests": False})
    other = replace(prepared.run, settings=settings.model_copy(update={"anomaly": anomaly}))
    fit(replace(prepared, run=other), run, say=lambda line: None)
    assert not any(path.exists() for path in results)
