# SPDX-License-Identifier: BSD-3-Clause
"""Verdicts on a Kafka topic, read with SCiMMA's own client."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hop import Stream
from hop.io import StartPosition

from tests.broker_plugin.brokers.sample import report


def main(_: Path, bootstrap: str, topic: str) -> list[Any]:
    stream = Stream(auth=False, start_at=StartPosition.EARLIEST, until_eos=True)
    with stream.open(f"kafka://{bootstrap}/{topic}", "r") as messages:
        return [
            [type(each).__name__, each.content["verdict_id"], each.content["anomaly_p_value"]]
            for each in messages
        ]


if __name__ == "__main__":
    report(main)
