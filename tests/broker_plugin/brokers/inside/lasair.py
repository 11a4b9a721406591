# SPDX-License-Identifier: BSD-3-Clause
"""Real packets as Lasair's objects, annotated through its own client against a server that answers alike."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from lasair import lasair_client

from broker_plugin.brokers.lasair import annotate
from broker_plugin.brokers.scoring import PacketScorer
from tests.broker_plugin.brokers.sample import lsst_packets, report, rows

FAILURES: dict[str, Any] = {"unknown": {"error": "no such object"}, "broken": None}
"""Objects that cannot be had, and what the server answers: an error in its own words, or status 500."""


class LasairServer(BaseHTTPRequestHandler):
    """Gives objects, takes annotations."""

    objects: dict[str, dict[str, Any]]
    annotations: list[dict[str, Any]]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path.endswith("/object/"):
            answer: Any = self.objects[parse_qs(body.decode())["objectId"][0]]
            if answer is None:
                self.send_error(500)
                return
        else:
            self.annotations += json.loads(body)["annotations"]
            answer = {"status": "success"}
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps(answer).encode())

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


def lasair_object(packet: dict[str, Any]) -> dict[str, Any]:
    source, owner = packet["diaSource"], packet["diaObject"]
    return {
        "diaObjectId": owner["diaObjectId"],
        "diaObject": {"diaObjectId": owner["diaObjectId"], "ra": source["ra"], "decl": source["dec"]},
        "diaSourcesList": [source, *rows(packet, "prvDiaSources")],
        "diaForcedSourcesList": rows(packet, "prvDiaForcedSources"),
    }


def main(data_dir: Path) -> list[Any]:
    packets = [packet for packet in lsst_packets(data_dir) if packet["diaObject"]]
    LasairServer.objects = {str(p["diaObject"]["diaObjectId"]): lasair_object(p) for p in packets}
    LasairServer.objects |= dict(FAILURES)
    LasairServer.annotations = []
    server = HTTPServer(("127.0.0.1", 0), LasairServer)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    client = lasair_client("token", endpoint=f"http://127.0.0.1:{server.server_port}/api")
    scorer = PacketScorer.open("default", device="cpu")
    rejected = annotate(client, list(LasairServer.objects), topic="astrom3", scorer=scorer)
    server.shutdown()
    return [*LasairServer.annotations, *map(str, rejected.values())]


if __name__ == "__main__":
    report(main)
