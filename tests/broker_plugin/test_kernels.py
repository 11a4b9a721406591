# SPDX-License-Identifier: BSD-3-Clause
"""The machine code of kernels is kept where it can be, and taken over from where it was made."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import broker_plugin
from broker_plugin.codec import bulk as decoder
from broker_plugin.features import warm_up as features
from broker_plugin.kernels import cache_place


def test_the_package_is_the_first_choice_then_the_user_then_the_process(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    nowhere = tmp_path / "file" / "folder"  # not even root can make it
    assert cache_place(tmp_path / "package", tmp_path / "user") is None
    assert cache_place(nowhere, tmp_path / "user") == tmp_path / "user"
    assert stat.S_IMODE((tmp_path / "user").stat().st_mode) == 0o700
    scratch = cache_place(nowhere, nowhere)
    assert scratch is not None
    assert stat.S_IMODE(scratch.stat().st_mode) == 0o700
    scratch.rmdir()


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
        "from broker_plugin.features import peaks, periodogram, warm_up\n"
        "bulk.warm_up()\n"
        "warm_up.warm_up()\n"
        "for kernel in (machine.run_segments, peaks.find_peaks, periodogram.power_directly):\n"
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
    assert len(lines) == 3
    for where, hits, misses in lines:
        assert where.startswith(str(tmp_path / "elsewhere"))
        assert (int(hits), int(misses)) == (1, 0)
        assert Path(where) not in places


def test_importing_decoder_and_features_does_not_import_numba() -> None:
    script = (
        "import sys, broker_plugin.codec.decoder, broker_plugin.engine.scorer\n"
        "print('numba' in sys.modules, 'pyarrow' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]
