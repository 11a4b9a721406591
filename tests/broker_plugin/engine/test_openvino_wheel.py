# SPDX-License-Identifier: BSD-3-Clause
"""The policy and the parity on the real `onnxruntime-openvino` wheel."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from broker_plugin.engine.providers import choose
from broker_plugin.engine.runtime import OPENVINO_PROVIDER, offered_providers
from broker_plugin.errors import ProviderError
from tests.broker_plugin.engine.environments import run_python

PARITY_ALERTS = 1000
"""Real alerts on which a decision in a thousand would show."""

DECISIONS_EQUAL_MIN = 0.999
P_VALUE_MAX = 0.01
"""What a device must agree on with the CPU: decisions, and how far a p-value may be from the CPU's."""

SMALL = 0.1
"""A p-value up to here is one that somebody looks at: all of these must agree."""

P_VALUES_EQUAL_MIN, P_VALUE_FARTHEST = 0.99, 0.05
"""The same for all p-values. The last bit of an embedding can send it the other way in one of 200 trees, and
among the ordinary alerts of a stratum, whose scores lie close together, that passes several of them at once:
one alert in a thousand was moved by 0.02."""

CHOOSE = """
import json
from broker_plugin.engine.probe import PROBE, PROBE_INPUT
from broker_plugin.engine.providers import Device, ProviderChoice, choose
from broker_plugin.engine.runtime import OPENVINO_PROVIDER, open_raw_session
from broker_plugin.engine.session import open_session
from broker_plugin.errors import ProviderError
choice = choose("openvino")
said = {"provider": choice.provider, "precision": choice.precision, "reason": choice.reason}
said["auto"] = choose("auto").provider
said["product"] = open_session(PROBE, choice).run({"x": PROBE_INPUT})["y"].item()
wrong = {"device_type": "CPU", "load_config": "no_such_file.json"}
said["fell_back_to"] = open_raw_session(PROBE, OPENVINO_PROVIDER, wrong).get_providers()
try:
    open_session(
        PROBE, ProviderChoice(provider=OPENVINO_PROVIDER, device=Device.OPENVINO, reason="", options=wrong)
    )
except ProviderError as error:
    said["refused"] = str(error)
print(json.dumps(said))
"""

COMPARE = """
import json, sys
from pathlib import Path
import numpy as np
from broker_plugin.engine.scorer import Scorer
from broker_plugin.records import AlertBatch
from tests.support.alerts import real_alerts
every = real_alerts(Path(sys.argv[1]))
picks = np.random.default_rng(3).permutation(len(every))[:int(sys.argv[2])]
batch = AlertBatch.from_alerts([every[pick] for pick in picks])
cpu, openvino = Scorer.open(device="cpu"), Scorer.open(device="openvino")
pairs = list(zip(cpu.score(batch), openvino.score(batch), strict=True))
small = batch.take(np.arange(5))
print(json.dumps({
    "alerts": len(pairs),
    "providers": sorted({verdict.provider for pair in pairs for verdict in pair}),
    "top_equal": np.mean([a.top_class == b.top_class for a, b in pairs]).item(),
    "set_equal": np.mean([a.class_set == b.class_set for a, b in pairs]).item(),
    "p_values": [
        (a.anomaly_p_values[source], b.anomaly_p_values[source])
        for a, b in pairs for source in a.anomaly_p_values
    ],
    "alone_as_in_the_batch": [v.class_probabilities for v in openvino.score(small)]
    == [b.class_probabilities for _, b in pairs[:5]],
}))
"""


def said_by(python: Path, script: str, *arguments: str) -> dict[str, Any]:
    done = run_python(["-W", "ignore", "-c", script, *arguments], interpreter=python)
    assert done.returncode == 0, done.stderr
    said: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return said


def test_openvino_is_had_in_fp32_and_a_silent_fallback_is_refused(openvino_python: Path) -> None:
    said = said_by(openvino_python, CHOOSE)
    assert said["provider"] == OPENVINO_PROVIDER
    assert said["precision"] == "fp32"
    assert "onnxruntime-openvino" in said["reason"]
    assert said["product"] == pytest.approx(85.0)
    # Only the operator decides for it.
    assert said["auto"] == "CPUExecutionProvider"
    # What the provider does with an option that it cannot read: nothing is said, and the CPU computes.
    assert said["fell_back_to"] == ["CPUExecutionProvider"]
    assert "came up on CPUExecutionProvider" in said["refused"]


@pytest.fixture(scope="module")
def compared(openvino_python: Path, data_dir: Path) -> dict[str, Any]:
    return said_by(openvino_python, COMPARE, str(data_dir), str(PARITY_ALERTS))


def p_value_differences(compared: dict[str, Any]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The CPU's p-values of all sources and alerts, and how far from them the others are."""
    p_value, other = np.array(compared["p_values"]).T
    return p_value, np.abs(p_value - other)


def test_verdicts_are_those_of_the_cpu(compared: dict[str, Any]) -> None:
    assert compared["alerts"] == PARITY_ALERTS
    assert compared["providers"] == ["CPUExecutionProvider", OPENVINO_PROVIDER]
    assert compared["top_equal"] >= DECISIONS_EQUAL_MIN
    assert compared["set_equal"] >= DECISIONS_EQUAL_MIN
    assert compared["alone_as_in_the_batch"]


def test_small_p_values_are_those_of_the_cpu_and_the_others_nearly(compared: dict[str, Any]) -> None:
    p_value, difference = p_value_differences(compared)
    assert difference[p_value <= SMALL].max() <= P_VALUE_MAX
    assert (difference <= P_VALUE_MAX).mean() >= P_VALUES_EQUAL_MIN
    assert difference.max() <= P_VALUE_FARTHEST


@pytest.mark.xfail(
    strict=False,  # on which side of a threshold a last bit falls differs from processor to processor
    reason="bundles 4.1 and 5.1: one alert in a thousand is moved by 0.02, with 800 trees still by 0.014",
)
def test_every_p_value_is_that_of_the_cpu(compared: dict[str, Any]) -> None:
    _, difference = p_value_differences(compared)
    assert difference.max() <= P_VALUE_MAX


@pytest.mark.skipif(OPENVINO_PROVIDER in offered_providers(), reason="the OpenVINO wheel is installed here")
def test_without_the_wheel_it_is_refused_with_the_commands_that_help() -> None:
    with pytest.raises(ProviderError, match=r"astrom3-broker\[openvino\].*set the device to cpu"):
        choose("openvino")
