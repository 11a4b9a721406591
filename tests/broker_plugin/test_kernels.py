# SPDX-License-Identifier: BSD-3-Clause
"""The machine code of kernels is kept where it can be, and taken over from where it was made."""

from __future__ import annotations

import importlib
import os
import stat
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import numba
import numpy as np
import pytest
from structlog.testing import capture_logs

import broker_plugin
from broker_plugin.codec import bulk as decoder
from broker_plugin.features import (
    epoch_kernels,
    fold_kernels,
    peaks,
    periodogram,
    transform_kernels,
    variability_kernels,
)
from broker_plugin.features import warm_up as features
from broker_plugin.features.modalities.light_curve import CANDIDATE_WIDTH, SUMMARY_WIDTH, LightCurveTokens
from broker_plugin.features.period import find_periods
from broker_plugin.kernels import are_compiled, cache_place, kernel
from broker_plugin.records import AlertBatch
from tests.broker_plugin.features.light_curves import random_alerts, sinusoid
from tests.support.full_disk import full_disk


def test_the_package_is_the_first_choice_then_the_user_then_the_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    nowhere = tmp_path / "file" / "folder"  # not even root can make it
    assert cache_place(tmp_path / "package", tmp_path / "user") is None
    assert cache_place(nowhere, tmp_path / "user") == tmp_path / "user"
    assert stat.S_IMODE((tmp_path / "user").stat().st_mode) == 0o700
    scratch = cache_place(nowhere, nowhere)
    assert scratch is not None
    assert stat.S_IMODE(scratch.stat().st_mode) == 0o700
    scratch.rmdir()
    monkeypatch.setattr(tempfile, "tempdir", str(nowhere))
    assert cache_place(nowhere, nowhere) is None


def test_a_warm_start_compiles_nothing_also_with_a_package_that_cannot_be_written(tmp_path: Path) -> None:
    places = []
    for part in (decoder, features):
        part.warm_up()
        place, are_there = part.compiled_kernels()
        assert are_there
        places.append(place)
    # What is beside the package is taken over to wherever the code of this start is to be kept.
    script = (
        "from broker_plugin.codec import bulk, machine\n"
        "from broker_plugin.features import epoch_kernels, fold_kernels, peaks, periodogram\n"
        "from broker_plugin.features import variability_kernels, warm_up\n"
        "bulk.warm_up()\n"
        "warm_up.warm_up()\n"
        "for kernel in (machine.run_segments, epoch_kernels.standardise, fold_kernels.fold_all,\n"
        "               peaks.find_peaks, periodogram.power_directly, variability_kernels.describe):\n"
        "    stats = kernel.stats\n"
        "    print(stats.cache_path, sum(stats.cache_hits.values()), sum(stats.cache_misses.values()))"
    )
    root = Path(broker_plugin.__file__).parents[1]
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path / "elsewhere"), "PYTHONPATH": str(root)}
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=280,
    )
    lines = [line.split() for line in done.stdout.splitlines()]
    assert len(lines) == 6
    for where, hits, misses in lines:
        assert where.startswith(str(tmp_path / "elsewhere"))
        assert (int(hits), int(misses)) == (1, 0)
        assert Path(where) not in places


def test_what_is_taken_over_is_whole_or_not_there_and_keeps_its_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package, content = tmp_path / "package", os.urandom(300_000)
    beside = package / "__pycache__"
    beside.mkdir(parents=True)
    (package / "small.py").write_text("def one():\n    return 1\n")
    names = [f"small.one-1.py311.{end}" for end in ("1.nbc", "2.nbc", "nbi")]
    for name in names:
        (beside / name).write_bytes(content)
        os.utime(beside / name, (1e9, 1e9))
    monkeypatch.syspath_prepend(package)
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path / "kept"))
    one = importlib.import_module("small").one

    with full_disk(len(content) // 2):
        place, _ = are_compiled(kernel(one))
    assert place.is_relative_to(tmp_path / "kept")
    assert not list(place.iterdir())

    (place / names[0]).write_bytes(b"of an index that was removed as outdated")
    kernel(one)
    assert sorted(file.name for file in place.iterdir()) == sorted(names)
    for name in names:
        assert (place / name).read_bytes() == content
        assert (place / name).stat().st_mtime == 1e9

    (place / names[2]).write_bytes(b"made here")
    kernel(one)
    assert (place / names[2]).read_bytes() == b"made here"


def test_a_kernel_runs_where_its_machine_code_cannot_be_kept(tmp_path: Path) -> None:
    (tmp_path / "small.py").write_text(
        "from broker_plugin.kernels import kernel\n"
        "@kernel\ndef one():\n    return 1\n"
        "@kernel\ndef two():\n    return 1 + one()\n"
    )
    script = (
        "import structlog\n"
        "import small\n"
        "from tests.support.full_disk import full_disk\n"
        "with structlog.testing.capture_logs() as logs, full_disk(4096):\n"  # an index, but no machine code
        "    print(small.two(), small.one())\n"
        "print(*[entry['event'] for entry in logs])\n"
        "print(*[entry['why'] for entry in logs])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=os.environ
        | {
            "NUMBA_CACHE_DIR": str(tmp_path / "kept"),
            "PYTHONPATH": f"{tmp_path}:{Path(broker_plugin.__file__).parents[1]}",
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=280,
    )
    assert done.stdout.splitlines() == ["2 1", "kernels_not_kept", "File too large"], done.stderr
    assert not [path for path in (tmp_path / "kept").rglob("*") if path.is_file()]


def test_a_kernel_runs_where_there_is_no_place_for_its_machine_code() -> None:
    def three() -> int:
        return 3

    three.__code__ = three.__code__.replace(co_filename="of no module")  # so that numba finds no folder
    with capture_logs() as logs:
        assert kernel(three)() == 3
    assert [entry["event"] for entry in logs] == ["kernels_not_kept"]


def test_machine_code_follows_the_modules_whose_kernels_it_calls_and_their_constants(tmp_path: Path) -> None:
    (tmp_path / "house").mkdir()
    constants, lower, middle, upper = (
        tmp_path / f"{name}.py" for name in ("house/constants", "house/lower", "middle", "upper")
    )
    head = "from broker_plugin.kernels import kernel\n"
    lower_head = f"{head}from house.constants import NUMBER\n@kernel\ndef one():\n    return NUMBER"
    lower.write_text(lower_head)
    middle.write_text(f"{head}from house.lower import one\n@kernel\ndef two():\n    return one() + one()\n")
    upper.write_text(f"{head}from middle import two\n@kernel\ndef four():\n    return two() + two()\n")

    def said() -> list[str]:
        script = "from upper import four; print(four(), sum(four.stats.cache_hits.values()))"
        done = subprocess.run(
            [sys.executable, "-c", script],
            env=os.environ | {"PYTHONPATH": f"{tmp_path}:{Path(broker_plugin.__file__).parents[1]}"},
            capture_output=True,
            text=True,
            check=True,
            timeout=280,
        )
        return done.stdout.split()

    constants.write_text("NUMBER = 1\n")
    assert said() == ["4", "0"]
    assert said() == ["4", "1"]
    constants.write_text("NUMBER = 10\n")
    assert said() == ["40", "0"]
    lower.write_text(f"{lower_head} + 10\n")
    assert said() == ["80", "0"]


def test_no_alert_makes_the_features_compile_anything_anew(rng: np.random.Generator) -> None:
    features.warm_up()
    width = SUMMARY_WIDTH + CANDIDATE_WIDTH
    modality = LightCurveTokens(np.zeros(width), np.ones(width))
    alerts = random_alerts(rng, 40)
    long = sinusoid(rng, period=0.5, n=400, span=100)
    batch = AlertBatch.from_alerts([*alerts, long])
    for each in (batch.epochs.mjd_tai, batch.epochs.band, batch.offsets, batch.mjd_tai):
        each.flags.writeable = False  # as a decoder may hand them out
    every_other = batch.take(np.arange(0, len(batch), 2))
    view = replace(batch, mjd_tai=np.repeat(batch.mjd_tai, 2)[::2])
    for one in (
        batch,
        every_other,
        view,
        *(AlertBatch.from_alerts(some) for some in ([], alerts[:1], [long])),
    ):
        modality.tokens(one, find_periods(one))
    kernels = (
        *(epoch_kernels.deviate, epoch_kernels.standardise, fold_kernels.fold_all, peaks.find_peaks),
        *(periodogram.grids, periodogram.power_directly),
        *(transform_kernels.spread_weights, transform_kernels.sums_of_weights),
        *(transform_kernels.spread_values, transform_kernels.power_of_values),
        variability_kernels.describe,
    )
    for each in kernels:
        assert len(each.signatures) == 1, each


def test_importing_decoder_and_features_does_not_import_numba() -> None:
    script = (
        "import sys, broker_plugin.codec.decoder, broker_plugin.engine.scorer\n"
        "print('numba' in sys.modules, 'pyarrow' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]
