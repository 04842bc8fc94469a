"""The address of a server: bound before anything else starts, so that a taken port is told at once."""

from __future__ import annotations

import contextlib
import errno
import socket
from collections.abc import Iterator

from acestep_flows.errors import InputError


@contextlib.contextmanager
def bound(host: str, port: int, option: str = "--port") -> Iterator[socket.socket]:
    """Bind the address before anything else starts. Early connections are refused, since it does not listen yet.

    Args:
        option: what named the port, for errors.

    Raises:
        InputError: the address cannot be bound.
    """
    with contextlib.ExitStack() as stack:
        try:
            family, kind, protocol, _, address = socket.getaddrinfo(
                host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            )[0]
            listening = stack.enter_context(socket.socket(family, kind, protocol))
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind(address)
            hold(listening, alone=True)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                what = f"{host}:{port}: in use by another program"
                raise InputError(what, where=option, allowed="a free port; 0 takes any") from None
            reason = error.strerror or str(error)
            raise InputError(
                f"{host}:{port}: {reason}",
                where=f"--host, {option}" if option == "--port" else option,
                allowed="a free address",
            ) from None
        yield listening


def hold(listening: socket.socket, *, alone: bool) -> None:
    """Say whether another socket may be bound to the address of this one, which does not listen yet.

    Two sockets that allow reuse can be bound to one address. The second one then fails when it listens, after a start
    of a minute.
    Once it listens, reuse is allowed again: its connections inherit that, and the next server can bind.
    """
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0 if alone else 1)


def url_of(listening: socket.socket) -> str:
    """The address of a bound socket, for people and clients."""
    host, port = listening.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
