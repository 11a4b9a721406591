# SPDX-License-Identifier: BSD-3-Clause
"""A tiny graph that is run on a provider before anything else is: what it says of itself is not believed."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from broker_plugin.engine.runtime import open_raw_session, runtime_errors

__all__ = ["PROBE", "PROBE_INPUT", "PROBE_OUTPUT", "PROBE_TOLERANCE", "probe_failure"]

PROBE = bytes.fromhex(
    "08083a85010a0f0a01780a016b1201632204436f6e760a110a01630a017712017922064d61744d756c1201702a15"
    "080108010802100142016b4a080000803f000000402a130802080110014201774a080000803f000020415a170a01"
    "7812120a100801120c0a0208010a0208010a02080362170a017912120a100801120c0a0208010a0208010a020801"
    "42040a001011"
)
"""An ONNX graph: `x` (1, 1, 3) convolved with (1, 2) and multiplied by the column (1, 10): `y` (1, 1, 1).
The convolution needs cuDNN and the product cuBLAS, so that a probe that ran has found both."""

PROBE_INPUT = np.array([[[1.0, 2.0, 3.0]]], np.float32)
PROBE_OUTPUT = 85.0
"""(1 + 2*2) + 10 * (2 + 2*3)."""

PROBE_TOLERANCE = 0.01
"""A convolution by Fourier transform rounds; kernels that are not for this GPU are wrong by far more."""


def probe_failure(provider: str, options: Mapping[str, str], *, cpu_may_help: bool = False) -> str | None:
    """Return what went wrong when the probe ran on a provider, None if nothing did."""
    try:
        session = open_raw_session(PROBE, provider, options, cpu_may_help=cpu_may_help)
        taken = session.get_providers()
        if taken[0] != provider:
            return f"a session came up on {', '.join(taken)}"
        product = session.run(None, {"x": PROBE_INPUT})[0].item()
    except runtime_errors() as error:
        return str(error)
    if not abs(product - PROBE_OUTPUT) <= PROBE_TOLERANCE:
        return f"it made {product} of what is {PROBE_OUTPUT}"
    return None
