# SPDX-License-Identifier: BSD-3-Clause
"""The guided fuzzer imports atheris, which only `make guided` installs."""

from __future__ import annotations

collect_ignore = ["guided.py"]
