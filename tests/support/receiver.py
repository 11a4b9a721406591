# SPDX-License-Identifier: BSD-3-Clause
"""A real HTTP server that takes what a webhook posts, and answers as it is told."""

from __future__ import annotations

import json
import threading
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

__all__ = ["Answer", "Posted", "Receiver"]


@dataclass(frozen=True, slots=True)
class Answer:
    """How to answer one post: with a status and headers, or by hanging up without a word."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    hang_up: bool = False


@dataclass(frozen=True, slots=True)
class Posted:
    """One post as it came, whatever was answered."""

    path: str
    headers: Mapping[str, str]
    body: Any
    status: int


class Receiver:
    """Serves on a loopback port while it is open; answers in the given order, then with 200.

    Parameters
    ----------
    answers
        The first answers.
    always
        The answer after those.
    """

    def __init__(self, *answers: Answer, always: Answer | None = None) -> None:
        self._answers = deque(answers)
        self.always = always or Answer()
        self.posted: list[Posted] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                answer = receiver._answers.popleft() if receiver._answers else receiver.always
                status = 0 if answer.hang_up else answer.status
                receiver.posted.append(Posted(self.path, dict(self.headers), json.loads(body), status))
                if answer.hang_up:
                    self.close_connection = True
                    return
                self.send_response(answer.status)
                for name, value in answer.headers.items():
                    self.send_header(name, value)
                self.end_headers()

            def log_message(self, *arguments: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}/hook"

    @property
    def taken(self) -> list[Any]:
        """The bodies that were taken."""
        return [each.body for each in list(self.posted) if 200 <= each.status < 300]

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
