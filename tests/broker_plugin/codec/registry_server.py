# SPDX-License-Identifier: BSD-3-Clause
"""A tiny HTTP server on loopback that answers as a schema registry does, or as one in trouble does."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

__all__ = ["Answers", "answering"]


@dataclass
class Answers:
    """What the server says, with answers of their own for some questions (`PUT /config/a`), and was asked."""

    schemas: dict[int, str] = field(default_factory=dict)
    own: dict[str, tuple[int, dict[str, Any]]] = field(default_factory=dict)
    status: int = 200
    body: dict[str, Any] | str | None = None
    wait_s: float = 0.0
    asked: list[str] = field(default_factory=list)
    authorization: list[str | None] = field(default_factory=list)
    url: str = ""


@contextmanager
def answering(answers: Answers) -> Iterator[Answers]:
    """Serve on a free loopback port until the block ends; `answers` may be changed meanwhile."""

    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            answers.asked.append(f"{self.command} {self.path}")
            answers.authorization.append(self.headers.get("Authorization"))
            time.sleep(answers.wait_s)
            own = answers.own.get(f"{self.command} {self.path.partition('?')[0]}")
            if own is not None:
                self.rfile.read(int(self.headers.get("Content-Length") or 0))
                self._say(*own)
                return
            if answers.status != 200:
                self._say(answers.status, answers.body)
                return
            schema_id = self.path.rpartition("/")[2].partition("?")[0]
            text = answers.schemas.get(int(schema_id)) if schema_id.isdecimal() else None
            if text is None:
                self._say(404, {"error_code": 40403, "message": "Schema not found"})
            else:
                self._say(200, {"schema": text})

        def do_GET(self) -> None:
            self._answer()

        def do_POST(self) -> None:
            self._answer()

        def do_PUT(self) -> None:
            self._answer()

        def _say(self, status: int, body: dict[str, Any] | str | None) -> None:
            content = (body if isinstance(body, str) else json.dumps(body or {})).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    answers.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield answers
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
