# SPDX-License-Identifier: BSD-3-Clause
"""Whether I/O binding pays: graphs run on arrays, and on buffers of the device that are bound once.

Every input of ours changes with every run and comes from the host, and every output is needed there: the
forests are trees and run on the CPU. So nothing is copied less often, and what is left to be gained is the
making of buffers. The engine runs on arrays until this says that it gains enough.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from broker_plugin.benchmark.measuring import clock_of, rounds
from broker_plugin.bundle import Bundle
from broker_plugin.engine.providers import Device, ProviderChoice
from broker_plugin.engine.runtime import load_runtime
from broker_plugin.engine.session import FixedShapeSession, open_session
from broker_plugin.features.base import build_modality

__all__ = ["BoundGraph", "binding_gain", "encoder_runs"]

Arrays = Mapping[str, NDArray[Any]]


class BoundGraph:
    """A graph at one shape, its inputs and outputs bound to buffers of its device."""

    def __init__(self, session: FixedShapeSession, example: Arrays) -> None:
        self._session = session._session  # the raw session, of which the engine has no use for more
        self._binding = self._session.io_binding()
        on_gpu = session.choice.device is Device.CUDA
        place = ("cuda" if on_gpu else "cpu", int(session.choice.options.get("device_id", 0)))
        value = load_runtime().OrtValue.ortvalue_from_shape_and_type
        self._inputs = {name: value(v.shape, v.dtype, *place) for name, v in example.items()}
        for name, buffer in self._inputs.items():
            self._binding.bind_ortvalue_input(name, buffer)
        # Their shapes are those of a run on arrays.
        results = session.run(example)
        self._outputs = {name: value(v.shape, v.dtype, *place) for name, v in results.items()}
        for name, buffer in self._outputs.items():
            self._binding.bind_ortvalue_output(name, buffer)

    def run(self, inputs: Arrays) -> dict[str, NDArray[Any]]:
        """Return the outputs, as `FixedShapeSession.run` does."""
        for name, buffer in self._inputs.items():
            buffer.update_inplace(inputs[name])
        self._session.run_with_iobinding(self._binding)
        # On the CPU `numpy` is a view of the buffer, which the next run overwrites.
        return {name: buffer.numpy().copy() for name, buffer in self._outputs.items()}


def encoder_runs(
    bundle: Bundle, choice: ProviderChoice, *, rows: int | None = None
) -> Iterator[tuple[str, FixedShapeSession, Arrays]]:
    """Yield each encoder at each length, with random inputs; by default the bundle's own largest batches."""
    rng = np.random.default_rng(11)
    for model in bundle.manifest.modalities:
        width = build_modality(model.name, model.spec).width
        for length, batch in model.shapes:
            n = rows or batch
            mask = np.arange(length) < rng.integers(1, length + 1, n)[:, None]
            tokens = rng.standard_normal((n, length, width)).astype(np.float32) * mask[:, :, None]
            session = open_session(bundle.graph(model.file_at(length)), choice)
            yield f"{model.name} {n} x {length}", session, {"tokens": tokens, "mask": mask}


def binding_gain(bundle: Bundle, choice: ProviderChoice, *, repeats: int, least_s: float) -> dict[str, Any]:
    """Return, by graph and shape, microseconds of a run on arrays and bound, and whether the bits agree."""
    found = {}
    for name, session, inputs in encoder_runs(bundle, choice):
        bound = BoundGraph(session, inputs)
        plain, other = session.run(inputs), bound.run(inputs)
        seconds = rounds(
            {"plain": lambda: session.run(inputs), "bound": lambda: bound.run(inputs)},  # noqa: B023
            repeats=repeats,
            least_s=least_s,
            clock=clock_of(choice),
        )
        found[name] = {
            "same_bits": all(np.array_equal(plain[each], other[each]) for each in plain),
            "plain_us": round(1e6 * float(np.median(seconds["plain"])), 1),
            "bound_us": round(1e6 * float(np.median(seconds["bound"])), 1),
            "bound_over_plain": round(float(np.median(seconds["bound"] / seconds["plain"])), 4),
        }
    return found
