"""One Ray for all tests that use one in their own process: starting it takes seconds."""

from __future__ import annotations

import contextlib
import socket


class SharedRay:
    """Ray, Ray Data and Serve on this machine, quiet and apart. The cores are only counted.

    It is ended as soon as no test is left that asks for it: its dozen processes work also when nobody does.
    """

    def __init__(self) -> None:
        self._started = contextlib.ExitStack()
        self._address: str | None = None

    def address(self) -> str:
        """Where its HTTP answers; starts it where it is not there."""
        if self._address is None:
            from acestep_flows.runtime.serving.local_ray import ServeHttp, local_ray

            with socket.create_server(("127.0.0.1", 0)) as taken:
                http = ServeHttp(port=taken.getsockname()[1])
            self._started.enter_context(local_ray(8, store=2**28, http=http))
            self._address = f"http://{http.host}:{http.port}"
        return self._address

    def end(self) -> None:
        """End its processes, if there are any."""
        self._address = None
        self._started.close()
