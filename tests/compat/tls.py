"""A proxy that ends TLS on the loopback interface, with a certificate of its own, for clients that know only https."""

from __future__ import annotations

import contextlib
import datetime
import ipaddress
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import uvicorn
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

HOP_BY_HOP = (b"connection", b"keep-alive", b"transfer-encoding", b"content-encoding", b"content-length")
PATIENCE = 60.0


@dataclass(frozen=True)
class Proxy:
    """A running proxy.

    Attributes:
        host: its name and port.
        certificate: the file that clients must trust.
    """

    host: str
    certificate: Path


@contextlib.contextmanager
def tls_proxy(target: str, folder: Path) -> Iterator[Proxy]:
    """A proxy before the server at `target`. It answers 502 while there is none."""
    certificate = make_certificate(folder)
    config = uvicorn.Config(
        forward_to(target),
        "127.0.0.1",
        0,
        ssl_certfile=certificate,
        ssl_keyfile=certificate,
        lifespan="off",
        loop="asyncio",
        http="h11",
        log_level="error",
        timeout_graceful_shutdown=1,
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield Proxy(f"localhost:{port}", certificate)
    finally:
        server.should_exit = True
        thread.join(10)


def forward_to(target: str) -> Any:
    """The application of a proxy: it sends each request on, and says that it came by https."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        body = b""
        while (message := await receive()).get("more_body"):
            body += message["body"]
        headers = [(name, value) for name, value in scope["headers"] if name not in HOP_BY_HOP]
        path = scope["raw_path"].decode() + (f"?{scope['query_string'].decode()}" if scope["query_string"] else "")
        async with httpx2.AsyncClient(timeout=PATIENCE, trust_env=False) as client:
            request = client.build_request(
                scope["method"],
                f"{target}{path}",
                headers=[*headers, (b"x-forwarded-proto", b"https")],
                content=body + message.get("body", b""),
            )
            try:
                response = await client.send(request, stream=True)
            except httpx2.TransportError:
                await send({"type": "http.response.start", "status": 502, "headers": [(b"connection", b"close")]})
                await send({"type": "http.response.body", "body": b""})
                return
            kept = [(name.lower(), value) for name, value in response.headers.raw if name.lower() not in HOP_BY_HOP]
            kept.append((b"connection", b"close"))  # nothing is open when the proxy ends
            await send({"type": "http.response.start", "status": response.status_code, "headers": kept})
            with contextlib.suppress(httpx2.TransportError):
                async for chunk in response.aiter_bytes():
                    await send({"type": "http.response.body", "body": chunk, "more_body": True})
            await response.aclose()
            await send({"type": "http.response.body", "body": b""})

    return app


def make_certificate(folder: Path) -> Path:
    """A file with a key, and a certificate for this machine that its own key signs."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a proxy of the tests")])
    now = datetime.datetime.now(datetime.UTC)
    names = x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(names, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = folder / "proxy.pem"
    encoding = serialization.Encoding.PEM
    private = key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path.write_bytes(private + certificate.public_bytes(encoding))
    return path
