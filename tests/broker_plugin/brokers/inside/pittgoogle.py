# SPDX-License-Identifier: BSD-3-Clause
"""Real packets, framed as Rubin frames them, through Pitt-Google's own alert class and schemas."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pittgoogle

from broker_plugin.brokers.pittgoogle import message_callback
from broker_plugin.brokers.scoring import PacketScorer
from tests.broker_plugin.brokers.sample import framed_packets, report


def main(data_dir: Path) -> list[Any]:
    judge = message_callback(PacketScorer.open("default", device="cpu"))
    outcomes = []
    for path in framed_packets(data_dir):
        message = pittgoogle.types_.PubsubMessageLike(data=path.read_bytes())
        response = judge(pittgoogle.Alert.from_msg(message, schema_name="lsst"))
        assert response.ack
        outcomes.append([path.name, response.result.dict])
    return outcomes


if __name__ == "__main__":
    report(main)
