# SPDX-License-Identifier: BSD-3-Clause
"""Real packets in Babamul's form through Babamul's own models, which say whether the form is right."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from babamul.raw_models import EnrichedLsstAlert, EnrichedZtfAlert

from tests.broker_plugin.brokers.sample import lsst_packets, report, ztf_packets
from tests.broker_plugin.surveys.rebroadcasts import babamul_lsst, babamul_ztf


def main(data_dir: Path) -> list[Any]:
    lsst = [
        EnrichedLsstAlert.model_validate(babamul_lsst(packet))
        for packet in lsst_packets(data_dir)
        if packet["diaSource"]["psfFlux"] is not None and packet["diaObject"]
    ]
    ztf = [EnrichedZtfAlert.model_validate(babamul_ztf(packet)) for packet in ztf_packets(data_dir)]
    return [[each.candid, len(each.prv_candidates), len(each.fp_hists)] for each in (*lsst, *ztf)]


if __name__ == "__main__":
    report(main)
