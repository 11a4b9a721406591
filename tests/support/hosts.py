# SPDX-License-Identifier: BSD-3-Clause
"""Environments with the real packages of other brokers, each beside this package's own requirements."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from tests.support.environments import core_requirements, interpreter_of, pinned

__all__ = ["HOSTS", "host_interpreter"]

HOSTS: Mapping[str, tuple[str, ...]] = {
    "ampel": ("ampel-interface==0.10.4.post2",),
    "antares": ("antares-devkit==0.11.1",),
    "babamul": ("babamul==0.2.0",),
    # Neither states that it needs Spark and astropy; its frames of rows are of pandas before 3.
    "fink": ("fink-filters==7.45", "fink-utils==0.79.0", "astropy", "pyspark>=4,<5", "pandas>=2.2,<3"),
    "lasair": ("lasair==0.1.4",),
    "spark": ("pyspark>=4,<5", "pandas>=2.2,<3"),
    # It does not state that it needs six.
    "scimma": ("hop-client==0.13.0", "six"),
    "pittgoogle": ("pittgoogle-client==0.3.23",),
    # It reads verdicts and makes none, so needs no runtime; newer numpy than this it does not know.
    "tom": ("tomtoolkit==3.1.0", "tom-alertstreams==1.3.0", "numpy<2.2"),
}
"""By broker or engine, what its plug-in point is tested with."""


NUMERIC = ("numpy", "onnxruntime", "numba", "pyerfa")
"""What decisions depend on to the last bit, the same as here."""


READERS = ("tom",)
"""Hosts that decide nothing."""


def host_interpreter(name: str) -> Path:
    """Return the Python of a broker's environment, made on demand."""
    numeric = () if name in READERS else pinned(NUMERIC)
    requirements = [*core_requirements(), *numeric, *HOSTS[name]]
    return interpreter_of(f"host-{name}", requirements, constrained=False)
