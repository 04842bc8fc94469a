"""A hub on 127.0.0.1 that serves bytes as the real one does, with failures on request."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class HubServer:
    """The files of the server, its behaviour, and the requests it received."""

    files: dict[str, bytes] = field(default_factory=dict)
    redirects: dict[str, str] = field(default_factory=dict)
    ranges: bool = True
    cut_after: int | None = None
    """Close the connection after this many bytes of every body."""
    cuts: int = 0
    """The number of bodies still to be cut."""
    announce_length: bool = True
    statuses: list[int] = field(default_factory=list)
    """The statuses of the next requests; later ones are answered normally."""
    requests: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    url: str = ""

    def headers_of(self, path: str) -> list[dict[str, str]]:
        """The headers of every request for `path`."""
        return [headers for requested, headers in self.requests if requested == path]


@contextmanager
def serve(server: HubServer) -> Iterator[HubServer]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: object) -> None:
            pass

        def do_GET(self) -> None:
            server.requests.append((self.path, {name.lower(): value for name, value in self.headers.items()}))
            if server.statuses:
                return self._answer(server.statuses.pop(0), b"")
            if self.path in server.redirects:
                return self._answer(302, b"", Location=server.redirects[self.path])
            body = server.files.get(self.path)
            if body is None:
                return self._answer(404, b"no such file")
            byte_range = self.headers.get("Range", "")
            if not (byte_range and server.ranges):
                return self._answer(200, body)
            start = int(byte_range.removeprefix("bytes=").rstrip("-"))
            if start >= len(body):
                return self._answer(416, b"")
            return self._answer(206, body[start:], **{"Content-Range": f"bytes {start}-{len(body) - 1}/{len(body)}"})

        def _answer(self, status: int, body: bytes, **headers: str) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            if server.announce_length:
                self.send_header("Content-Length", str(len(body)))
            else:
                self.send_header("Connection", "close")
                self.close_connection = True
            self.end_headers()
            if body and server.cut_after is not None and server.cuts:
                server.cuts -= 1
                body = body[: server.cut_after]
                self.close_connection = True
            self.wfile.write(body)

    class Server(ThreadingHTTPServer):
        def handle_error(self, request: object, client_address: object) -> None:
            pass  # tests make clients disconnect

    httpd = Server(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    server.url = f"http://127.0.0.1:{httpd.server_port}"
    try:
        yield server
    finally:
        httpd.shutdown()
        httpd.server_close()
        thread.join()
