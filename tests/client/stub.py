"""A server on 127.0.0.1 with scripted responses and lost connections."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

RUN = "run-0123456789abcdef0123456789"
CREATED = "2026-01-01T00:00:00Z"


@dataclass
class Answer:
    """A scripted response; `cut` closes the connection after so many bytes of the body."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    cut: int | None = None


@dataclass
class Request:
    """A received request."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Stub:
    """Scripted responses and received requests. `answers` are used up before `otherwise` is called."""

    otherwise: Callable[[Request], Answer]
    answers: list[Answer] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)
    url: str = ""


def json_answer(content: Any, status: int = 200, **headers: str) -> Answer:
    return Answer(status, json.dumps(content).encode(), {"Content-Type": "application/json", **headers})


def fault(code: str, message: str, status: int, **more: Any) -> Answer:
    return json_answer({"error": {"code": code, "message": message, "node": None} | more}, status)


def run(state: str = "running", **more: Any) -> dict[str, Any]:
    """A run as the server sends it, with a field that the client does not know."""
    return {"id": RUN, "graph": "text2music", "state": state, "created_at": CREATED, "later": 1} | more


def event(seq: int, type: str, node: str = "", **more: Any) -> bytes:
    data = {"seq": seq, "type": type, "node": node, "stage": node, "time": float(seq)} | more
    return f"id: {seq}\nevent: {type}\ndata: {json.dumps(data, ensure_ascii=False)}\n\n".encode()


@contextmanager
def serving(stub: Stub) -> Iterator[Stub]:
    class Handler(BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            pass

        def _any(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            headers = {name.lower(): value for name, value in self.headers.items()}
            request = Request(self.command, self.path, headers, self.rfile.read(length))
            stub.requests.append(request)
            answer = stub.answers.pop(0) if stub.answers else stub.otherwise(request)
            self.send_response(answer.status)
            for name, value in ({"Content-Length": str(len(answer.body))} | dict(answer.headers)).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(answer.body[: answer.cut])

        do_GET = do_POST = do_PATCH = do_DELETE = _any

    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    stub.url = f"http://127.0.0.1:{httpd.server_port}"
    try:
        yield stub
    finally:
        httpd.shutdown()
        httpd.server_close()
        thread.join()
