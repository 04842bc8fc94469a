"""A receiver of webhooks."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

PATIENCE = 60.0


@dataclass
class Receiver:
    """What came to a receiver: headers and bodies, in order."""

    url: str
    calls: list[tuple[dict[str, str], str]] = field(default_factory=list)

    def first(self, status: str) -> tuple[dict[str, str], dict[str, Any], str]:
        """The first call whose body has this `status`, once it has come: headers, body, and the body as it came."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            for headers, text in self.calls:
                if (body := json.loads(text))["status"] == status:
                    return headers, body, text
            time.sleep(0.05)
        raise AssertionError(f"no call with {status}; {self.calls}")


@contextlib.contextmanager
def receiver() -> Iterator[Receiver]:
    """A receiver on the loopback interface."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            text = self.rfile.read(int(self.headers["Content-Length"])).decode()
            received.calls.append(({name.lower(): value for name, value in self.headers.items()}, text))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    received = Receiver(f"http://127.0.0.1:{server.server_port}/hook")
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield received
    finally:
        server.shutdown()
        server.server_close()
