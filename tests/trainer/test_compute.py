# SPDX-License-Identifier: BSD-3-Clause
"""Devices, precision, and several processes that train as one."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from broker_plugin.errors import ConfigurationError
from tests.support.artefacts import REPOSITORY
from tests.trainer.ranked import train_both
from tests.trainer.synthetic import tiny_settings
from trainer.checkpoint import LOG, MODEL
from trainer.compute import Compute, choose_device
from trainer.preparation import Prepared, validation_set
from trainer.training import train
from trainer.training_sets import TrainingSets

pytestmark = pytest.mark.timeout(1200)
"""Three interpreters start, half a minute of computing; on a machine that others share that can be ten."""

CPU = torch.device("cpu")


def records_of(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / LOG).read_text().splitlines()]


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_device_that_is_not_there_is_refused_with_what_to_set() -> None:
    with pytest.raises(ConfigurationError, match=r'training\.device = "auto" or "cpu"'):
        choose_device("cuda")
    assert choose_device("auto") == CPU


@pytest.mark.parametrize("n", [1, 2, 5, 16])
def test_parts_of_a_batch_are_all_of_it_in_turn(n: int) -> None:
    rows = np.arange(100, 100 + n)
    parts = [Compute(device=CPU, rank=rank, ranks=3).share(rows) for rank in range(3)]
    size = {each for _, each in parts}
    assert size == {-(-n // 3)}
    dealt = np.full((size.pop(), 3), -1)
    for rank, (part, _) in enumerate(parts):
        dealt[: len(part), rank] = part
    assert (dealt.ravel()[:n] == rows).all()


def test_bfloat16_learns_the_same_with_float32_weights(prepared: Prepared, tmp_path: Path) -> None:
    models = {}
    for precision in ("fp32", "bf16"):
        folder = tmp_path / precision
        folder.mkdir()
        run = replace(prepared.run, settings=tiny_settings(training={"precision": precision}))
        models[precision] = train(run, folder, TrainingSets(prepared), validation_set(prepared))
    assert {value.dtype for value in models["bf16"].state_dict().values()} == {torch.float32}
    for ours, theirs in zip(records_of(tmp_path / "bf16"), records_of(tmp_path / "fp32"), strict=True):
        for name in ("fused", "single", "contrast"):
            # Eight bits of mantissa: 0.4 % of a number of order one.
            assert ours[name] == pytest.approx(theirs[name], rel=0.02), name
    changed = models["bf16"].state_dict()["encoders.photometry.embed.0.weight"]
    assert not torch.equal(changed, models["fp32"].state_dict()["encoders.photometry.embed.0.weight"])


@pytest.mark.gpu
@pytest.mark.parametrize(("precision", "tolerance"), [("fp32", 1e-3), ("bf16", 0.02)])
def test_cuda_trains_to_the_losses_of_the_cpu(
    prepared: Prepared, tmp_path: Path, precision: str, tolerance: float
) -> None:
    """Without dropout, whose draws are each device's own."""
    for device in ("cpu", "cuda"):
        folder = tmp_path / device
        folder.mkdir()
        settings = tiny_settings(
            model={"dropout": 0.0},
            training={"device": device, "precision": precision if device == "cuda" else "fp32"},
        )
        run = replace(prepared.run, settings=settings)
        model = train(run, folder, TrainingSets(prepared), validation_set(prepared))
        assert model.logit_scale.device == CPU
    for ours, theirs in zip(records_of(tmp_path / "cuda"), records_of(tmp_path / "cpu"), strict=True):
        for name in ("fused", "single", "contrast"):
            assert ours[name] == pytest.approx(theirs[name], rel=tolerance), name


def test_two_processes_train_as_one(catalogue: Path, prepared: Prepared, tmp_path: Path) -> None:
    """Without dropout, whose draws are each process's own, only the order of float32 sums differs."""
    out = prepared.cache.parent
    train_both(catalogue, out, tmp_path / "one", Compute(device=CPU))
    command = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    script = ["-m", "tests.trainer.ranked", str(catalogue), str(out), str(tmp_path / "two")]
    done = subprocess.run(
        [sys.executable, *command, *script], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert not (tmp_path / "two-1").exists()
    for kind in ("joint", "contrast"):
        one, two = tmp_path / "one-0" / kind, tmp_path / "two-0" / kind
        for ours, theirs in zip(records_of(two), records_of(one), strict=True):
            for name in theirs.keys() - {"seconds"}:
                assert ours[name] == pytest.approx(theirs[name], rel=1e-4), (kind, name)
        weights, expected = load_file(two / MODEL), load_file(one / MODEL)
        # The bias of a softmax has no gradient but rounding, which Adam scales up to steps of full length.
        for name, value in expected.items():
            if name.endswith(".pool.bias"):
                continue
            torch.testing.assert_close(weights[name], value, rtol=1e-3, atol=1e-4, msg=f"{kind}: {name}")
