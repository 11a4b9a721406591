# SPDX-License-Identifier: BSD-3-Clause
"""The policy and the parity on the real `onnxruntime-openvino` wheel."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from broker_plugin.engine.providers import choose
from broker_plugin.engine.runtime import OPENVINO_PROVIDER, offered_providers
from broker_plugin.errors import ProviderError
from tests.broker_plugin.engine.environments import replayed_by_two, run_python
from tests.support.parity import (
    P_VALUE_MAX,
    PARITY_ALERTS,
    Compared,
    farthest_p_value,
    require_p_values,
    require_verdicts,
)

CHOOSE = """
import json, pickle
from broker_plugin.engine.probe import PROBE, PROBE_INPUT
from broker_plugin.engine.providers import Device, ProviderChoice, choose
from broker_plugin.engine.runtime import OPENVINO_PROVIDER, open_raw_session
from broker_plugin.engine.session import open_session
from broker_plugin.errors import ProviderError
choice = choose("openvino")
said = {"provider": choice.provider, "precision": choice.precision, "reason": choice.reason}
said["travels"] = pickle.loads(pickle.dumps(choice)) == choice
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


def said_by(python: Path, *arguments: str) -> dict[str, Any]:
    done = run_python(["-W", "ignore", *arguments], interpreter=python)
    assert done.returncode == 0, done.stderr
    said: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return said


def test_openvino_is_had_in_fp32_and_a_silent_fallback_is_refused(openvino_python: Path) -> None:
    said = said_by(openvino_python, "-c", CHOOSE)
    assert said["provider"] == OPENVINO_PROVIDER
    assert said["precision"] == "fp32"
    assert "onnxruntime-openvino" in said["reason"]
    assert said["product"] == pytest.approx(85.0)
    assert said["travels"]  # a worker says to its parent what it took
    # Only the operator decides for it.
    assert said["auto"] == "CPUExecutionProvider"
    # What the provider does with an option that it cannot read: nothing is said, and the CPU computes.
    assert said["fell_back_to"] == ["CPUExecutionProvider"]
    assert "came up on CPUExecutionProvider" in said["refused"]


def test_workers_of_a_replay_say_what_they_took(
    openvino_python: Path, data_dir: Path, tmp_path: Path
) -> None:
    said, verdicts = replayed_by_two(data_dir, tmp_path, device="openvino", interpreter=openvino_python)
    assert "openvino was asked for" in said
    assert {verdict["provider"] for verdict in verdicts} == {OPENVINO_PROVIDER}


@pytest.fixture(scope="module")
def compared(openvino_python: Path, data_dir: Path) -> Compared:
    return said_by(openvino_python, "-m", "tests.support.parity", str(data_dir), "openvino")


def test_verdicts_are_those_of_the_cpu(compared: Compared) -> None:
    assert compared["alerts"] == PARITY_ALERTS
    assert compared["providers"] == ["CPUExecutionProvider", OPENVINO_PROVIDER]
    require_verdicts(compared)


def test_small_p_values_are_those_of_the_cpu_and_the_others_nearly(compared: Compared) -> None:
    require_p_values(compared)


@pytest.mark.xfail(
    strict=False,  # on which side of a threshold a last bit falls differs from processor to processor
    reason="bundles 4.1 and 5.1: one alert in a thousand is moved by 0.02, with 800 trees still by 0.014",
)
def test_every_p_value_is_that_of_the_cpu(compared: Compared) -> None:
    assert farthest_p_value(compared) <= P_VALUE_MAX


@pytest.mark.skipif(OPENVINO_PROVIDER in offered_providers(), reason="the OpenVINO wheel is installed here")
def test_without_the_wheel_it_is_refused_with_the_commands_that_help() -> None:
    with pytest.raises(ProviderError, match=r"astrom3-broker\[openvino\].*set the device to cpu"):
        choose("openvino")
