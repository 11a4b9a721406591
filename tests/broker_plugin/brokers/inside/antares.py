# SPDX-License-Identifier: BSD-3-Clause
"""Real packets as ANTARES's loci through ANTARES's own filter class."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from antares_devkit.models import DevkitAlert, DevKitLocus
from antares_devkit.utils import filter_report

from broker_plugin.brokers.antares import LSST_FORCED, PROPERTIES, STRANGE, AstroM3
from tests.broker_plugin.brokers.sample import lsst_packets, report, rows, ztf_packets


def lsst_locus(packet: dict[str, Any]) -> DevKitLocus:
    source = packet["diaSource"]
    alerts = [lsst_alert(row) for row in (*rows(packet, "prvDiaSources"), source)]
    alerts[-1].non_persistent_properties[LSST_FORCED] = rows(packet, "prvDiaForcedSources")
    return DevKitLocus(id="ANT2026test", ra=source["ra"], dec=source["dec"], alerts=alerts)


def lsst_alert(source: dict[str, Any]) -> DevkitAlert:
    properties = {f"lsst_diaSource_{name}": value for name, value in source.items()}
    return DevkitAlert(
        id=f"lsst:{source['diaSourceId']}",
        mjd=source["midpointMjdTai"],
        properties=properties | {"ant_survey": 4},
    )


def ztf_locus(packet: dict[str, Any]) -> DevKitLocus:
    candidate = packet["candidate"] | {"candid": packet["candid"]}
    seen = [row for row in rows(packet, "prv_candidates") if row.get("candid") is not None]
    limits = [row for row in rows(packet, "prv_candidates") if row.get("candid") is None]
    alerts = [ztf_alert(packet, row, 2) for row in limits]
    alerts += [ztf_alert(packet, row, 1) for row in (*seen, candidate)]
    return DevKitLocus(id="ANT2020test", ra=candidate["ra"], dec=candidate["dec"], alerts=alerts)


def ztf_alert(packet: dict[str, Any], row: dict[str, Any], survey: int) -> DevkitAlert:
    properties = {f"ztf_{name}": value for name, value in row.items()}
    properties |= {"ztf_object_id": packet["objectId"], "ant_survey": survey}
    return DevkitAlert(id=f"ztf:{row.get('candid')}", mjd=row["jd"] - 2_400_000.5, properties=properties)


class Everything(AstroM3):
    """Tags whatever may be tagged."""

    MAX_P_VALUE = 1.0


class Loose(AstroM3):
    """A filter of another limit, as the page shows one."""

    MAX_P_VALUE = 0.5


def limits() -> list[str]:
    """Return what the tags of filters are declared as."""
    return [each.OUTPUT_LOCUS_TAGS[0]["description"].rpartition(" ")[2] for each in (AstroM3, Loose)]


def main(data_dir: Path) -> list[Any]:
    judge = AstroM3()
    assert limits() == ["0.01", "0.5"]
    loci = [lsst_locus(packet) for packet in lsst_packets(data_dir)]
    loci += [ztf_locus(packet) for packet in ztf_packets(data_dir)]
    assert filter_report(judge, loci[0].model_copy(deep=True))["new_locus_properties"]
    everything = Everything()
    return [judged(everything if is_withdrawn(locus) else judge, locus) for locus in loci]


def is_withdrawn(locus: DevKitLocus) -> bool:
    return bool(locus.alerts[-1].properties.get("lsst_diaSource_timeWithdrawnMjdTai"))


def judged(judge: AstroM3, locus: DevKitLocus) -> Any:
    outcome = judge.run(locus)
    if outcome.status != "Succeeded":
        return outcome.exception_message
    carried = {name: locus.properties[f"astrom3_{name}"] for name in PROPERTIES}
    return carried | {"strange": STRANGE in locus.tags}


if __name__ == "__main__":
    report(main)
