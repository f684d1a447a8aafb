"""A small HTTP server that answers the three requests of the dispatcher as Airflow 3.3 does."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

PASSWORD = "right"
RUNS = "/api/v2/dags/ingest_study/dagRuns"


class AirflowDouble:
    """What it was asked, and levers for what it answers."""

    def __init__(self) -> None:
        self.runs: dict[str, str] = {}  # state by run id
        self.posts: Counter[str] = Counter()
        self.bodies: list[dict[str, Any]] = []
        self.tokens: set[str] = set()
        self.dag_is_parsed = True
        self.status: int | None = None  # answer everything with this
        self.delay_seconds = 0.0
        self.port = 0
        self.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Listen, on the same port as before."""
        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), _handler(self))
        self.port = self._server.server_port
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def answer(self, method: str, path: str, token: str, body: Any) -> tuple[int, dict[str, Any]]:
        time.sleep(self.delay_seconds)
        if self.status is not None:
            return self.status, {}
        if (method, path) == ("POST", "/auth/token"):
            return self._log_in(body)
        if token not in self.tokens:
            return 401, {}
        if not self.dag_is_parsed:
            return 404, {}
        if (method, path) == ("POST", RUNS):
            return self._create(body)
        run_id = path.removeprefix(RUNS + "/")
        return (200, {"state": self.runs[run_id]}) if run_id in self.runs else (404, {})

    def _log_in(self, body: dict[str, str]) -> tuple[int, dict[str, Any]]:
        if body != {"username": "admin", "password": PASSWORD}:
            return 401, {}
        token = f"token-{len(self.tokens)}"
        self.tokens.add(token)
        return 201, {"access_token": token}

    def _create(self, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        self.bodies.append(body)
        self.posts[body["dag_run_id"]] += 1
        if body["dag_run_id"] in self.runs:
            return 409, {}
        self.runs[body["dag_run_id"]] = "queued"
        return 200, {"state": "queued"}


def _handler(airflow: AirflowDouble) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._answer("GET")

        def do_POST(self) -> None:
            self._answer("POST")

        def log_message(self, *_: object) -> None:
            pass

        def _answer(self, method: str) -> None:
            content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            token = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
            body = json.loads(content) if content else None
            status, answer = airflow.answer(method, self.path, token, body)
            text = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

    return Handler
