# SPDX-License-Identifier: BSD-3-Clause
from __future__ import annotations

from pathlib import Path


def test_the_real_data_is_what_its_manifest_lists(data_dir: Path) -> None:
    native = {path.name for path in (data_dir / "alerts" / "ztf" / "native").glob("*.avro")}
    assert len(native) == 198
    assert (data_dir / "alerts" / "ztf" / "nocutouts.avro").stat().st_size > 0
