# SPDX-License-Identifier: BSD-3-Clause
"""The guided fuzzer needs atheris, which only `make guided` installs. The service is started as in `e2e`."""

from __future__ import annotations

from tests.e2e.conftest import run

__all__ = ["run"]

collect_ignore = ["guided.py"]
