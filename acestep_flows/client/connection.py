"""What both clients share: where the server is, what goes into every request, and what comes of an answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from acestep_flows.client.download_file import ResumableFile
from acestep_flows.client.failures import refusal
from acestep_flows.client.records import Output, Run
from acestep_flows.client.retry import RetryBudget
from acestep_flows.errors import FlowsError, InputError, NotFound

SERVER = "http://127.0.0.1:8777"
PATIENCE = 60.0
QUIET_SECONDS = 60.0
"""Longest silence in a stream; the server says something every few seconds, if only that it is there."""

CONNECTIONS = 1000
"""Most connections of one client at once: whoever waits for a run, or follows it, has one."""

ALL_TOLD = 204
"""What a stream of events is answered with when the run is over and its last event known."""

AGAIN = frozenset({502, 503, 504})
"""What a proxy answers while the server behind it is away."""


def unheard(done: int, total: int) -> None:
    """Where nobody wants to know how far a transfer is."""


@dataclass(frozen=True)
class ServerAddress:
    """The way to one server.

    Attributes:
        server: its address.
        key: API key, where the server wants one.
        patience: seconds to go on trying while it does not answer.
    """

    server: str = SERVER
    key: str | None = field(default=None, repr=False)
    patience: float = PATIENCE

    def __post_init__(self) -> None:
        try:
            url = httpx.URL(self.server)
        except (httpx.InvalidURL, TypeError, ValueError):
            url = httpx.URL()
        if url.scheme not in ("http", "https") or not url.host:
            raise InputError(f"{self.server!r} is no address", where="server", allowed=f"such as {SERVER}")
        if self.key is not None and not (self.key.isascii() and self.key.isprintable()):
            raise InputError("not an API key", where="key", allowed="printable ASCII")

    def settings(self) -> dict[str, Any]:
        """Of an httpx client."""
        headers = {"Authorization": f"Bearer {self.key}"} if self.key else {}
        timeout = httpx.Timeout(QUIET_SECONDS, connect=5.0)
        limits = httpx.Limits(max_connections=CONNECTIONS, max_keepalive_connections=20)
        return {"base_url": self.server, "headers": headers, "timeout": timeout, "limits": limits}

    def fresh_patience(self) -> RetryBudget:
        return RetryBudget(self.patience, self.server)


def settled(response: httpx.Response) -> bool:
    """Whether the answer is the server's, for better or worse; raises the error it tells of.

    False where something between was in the way and the call is to be made again. A body has to have been read if the
    status is not that of a success.

    Raises:
        FlowsError: as the server said.
    """
    if response.is_success or response.status_code == 416:  # a range that is not there is for `ResumableFile` to judge
        return True
    if (error := refusal(response)) is not None:
        raise error
    if response.status_code in AGAIN:
        return False
    raise FlowsError(f"{response.request.url} answered with status {response.status_code}")


def content(response: httpx.Response) -> Any:
    """The JSON in an answer."""
    try:
        return response.json()
    except ValueError:
        raise FlowsError(f"{response.request.url} answered with something that is no JSON") from None


def body(response: httpx.Response) -> bytes:
    """The bytes of an answer."""
    return response.content


def landing(run: Run, name: str, to: Path) -> tuple[Output, ResumableFile]:
    """The output called `name`, and where its bytes go: `to`, or in it when it is a folder.

    Raises:
        NotFound: the run gave no such output.
        StorageError: nothing can be written there.
    """
    if name not in run.outputs:
        there = ", ".join(run.outputs) or ("none" if run.ended else f"none before it ends, it is {run.state}")
        raise NotFound(f"run {run.id} has no output {name!r}; there are: {there}")
    output = run.outputs[name]
    if to.is_dir():
        to /= file_name(output, name)
    return output, ResumableFile(to, f"{run.id}/{name}")


def file_name(output: Output, name: str) -> str:
    """What to call the file of an output: as the server says, if that is a plain name."""
    said = Path(output.file_name).name
    return (
        said if said and said == output.file_name and not said.startswith(".") else f"output-{name.replace('/', '-')}"
    )


def upload_request(path: Path) -> Mapping[str, Any]:
    """Query and headers of an upload.

    Raises:
        InputError: the file cannot be read.
    """
    try:
        size = path.stat().st_size
        with path.open("rb"):
            pass
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(f"cannot be read: {reason}", where=str(path), allowed="a readable file") from None
    headers = {"Content-Type": "application/octet-stream", "Content-Length": str(size)}
    return {"params": {"file_name": path.name}, "headers": headers}
