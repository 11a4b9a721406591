# SPDX-License-Identifier: BSD-3-Clause
"""Generated data in the paper's layout, and seeded models."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.trainer.astrom3.generated import write_processed


@pytest.fixture(autouse=True)
def seeded() -> None:
    """Random weights and draws of a test are its own."""
    torch.manual_seed(20_241_108)


@pytest.fixture(scope="session")
def processed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with full_42 and sub10_42: 40 + 20 + 20 objects, and half of them."""
    return write_processed(tmp_path_factory.mktemp("processed"))
