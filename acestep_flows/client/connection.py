"""What both clients share: the server's address, the options of httpx2, and how to read responses."""

from __future__ import annotations

import copy
import dataclasses
import logging
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import httpx2

from acestep_flows.client.calls import output_path
from acestep_flows.client.download_file import ResumableFile
from acestep_flows.client.failures import refusal
from acestep_flows.client.records import Output, Run
from acestep_flows.client.retry import PASSING, LastTold, RetryBudget, is_number
from acestep_flows.errors import FlowsError, InputError, TooLarge
from acestep_flows.settings import SERVER as SERVER_VARIABLE
from acestep_flows.settings import check_proxies, read_settings
from acestep_flows.wording.missing_output import no_output

log = logging.getLogger(__name__)

SERVER = "http://127.0.0.1:8777"
"""The server if neither the caller nor the environment names one."""

VERSION_PATH = re.compile(r"/v1/*$")
"""The path that all calls share. People copy it with the address."""

LOOPBACK = ("127.", "localhost", "::1")
"""How hosts begin that are this machine."""

OTHER_NAMES = {
    **dict.fromkeys(("api_key", "apikey", "api_token", "token", "auth"), "key"),
    **dict.fromkeys(("url", "base_url", "address", "host", "endpoint"), "server"),
    **dict.fromkeys(("timeout", "retries", "retry"), "patience"),
}
"""Names that other clients have for the arguments of ours."""

PATIENCE = 60.0
"""Seconds to retry while a server does not answer, or is too busy."""

QUIET_SECONDS = 60.0
"""Longest silence within a stream. The server sends a heartbeat every few seconds."""

CONNECTIONS = 1000
"""Most open connections of one client. Each call that waits for a run or follows it uses one."""

NO_MORE_EVENTS = 204
"""Status of an event stream whose run has ended and whose last event is known to the client."""

PROXY_ERRORS = frozenset({502, 503, 504})
"""Statuses that a proxy returns while the server behind it does not answer."""

AUDIO_ENDINGS = frozenset({".wav", ".flac", ".mp3", ".ogg"})
"""Endings of audio outputs."""

WHOLE_BODY = "body: "
"""How the server's errors about an upload begin, unless they name the file."""


def ignore_progress(done: int, total: int) -> None:
    """Ignore the progress of a transfer."""


@dataclass(frozen=True)
class ServerAddress:
    """How to reach one server.

    Attributes:
        server: URL of the server. The path `/v1` of its interface may follow, and is left out.
        key: API key, if the server requires one.
        patience: seconds to retry while the server does not answer, or is too busy.
        is_named: whether the caller named the server; otherwise advice says how to name another one.
        last_told: when the calls of this client said last that they wait.

    Raises:
        InputError: the URL, the key or the patience is not usable.
    """

    server: str = SERVER
    key: str | None = field(default=None, repr=False)
    patience: float = PATIENCE
    is_named: bool = False
    last_told: LastTold = field(default_factory=LastTold, compare=False, repr=False)

    def __post_init__(self) -> None:
        try:
            url = httpx2.URL(self.server)
        except (httpx2.InvalidURL, TypeError, ValueError):
            url = httpx2.URL()
        if url.scheme not in ("http", "https") or not url.host:
            allowed = f"an http or https URL, such as {SERVER}"
            raise InputError(f"{self.server!r} is not the address of a server", where="server", allowed=allowed)
        object.__setattr__(self, "server", VERSION_PATH.sub("", self.server))
        if not is_number(self.patience) or self.patience < 0:
            raise InputError(f"{self.patience!r}", where="patience", allowed="seconds, 0 or more")
        if self.key is not None and not (self.key.isascii() and self.key.isprintable()):
            raise InputError("not an API key", where="key", allowed="printable ASCII characters")

    @classmethod
    def find(cls, server: str | None, key: str | None, patience: float) -> ServerAddress:
        """The server and key of the caller, else those of the environment, else the default server and no key.

        Raises:
            InputError: one of them is not usable.
        """
        is_named = server is not None
        if server is None or key is None:
            settings = read_settings()
            server = settings.server or SERVER if server is None else server
            key = settings.api_key if key is None else key
        return cls(server, key, patience, is_named)

    def httpx2_options(self) -> dict[str, Any]:
        """Arguments of an httpx2 client for this server. No proxy is used for one on this machine.

        Raises:
            InputError: a proxy in the environment cannot be used.
        """
        headers = {"Authorization": f"Bearer {self.key}"} if self.key else {}
        timeout = httpx2.Timeout(QUIET_SECONDS, connect=5.0)
        limits = httpx2.Limits(max_connections=CONNECTIONS, max_keepalive_connections=20)
        is_here = httpx2.URL(self.server).host.startswith(LOOPBACK)
        if not is_here:
            check_proxies()
        options = {"base_url": self.server, "headers": headers, "timeout": timeout, "limits": limits}
        return options | {"trust_env": not is_here}

    def retry_budget(self) -> RetryBudget:
        """A new budget of retries, for one call."""
        return RetryBudget(self.patience, self.server, self._advice, last_told=self.last_told)

    def _advice(self, reason: object) -> str:
        """What to do if nothing listens on this machine."""
        if isinstance(reason, httpx2.ConnectError) and httpx2.URL(self.server).host.startswith(LOOPBACK):
            if self.is_named:
                return "; `acestep-flows serve` starts a server"
            return (
                f"; `acestep-flows serve` starts a server, and {SERVER_VARIABLE} or `server` (--server) names another"
            )
        return ""


class ServerClient:
    """What clients of both kinds have: the address of their server, and patience with it."""

    _server: ServerAddress

    @property
    def patience(self) -> float:
        """Seconds to retry while the server does not answer, or says to come again later."""
        return self._server.patience

    def with_patience(self, patience: float) -> Self:
        """The same client, with the same connections, that retries for other seconds.

        Raises:
            InputError: the patience is not usable.
        """
        other = copy.copy(self)
        other._server = dataclasses.replace(self._server, patience=patience)
        return other


def refuse_closed(http: httpx2.Client | httpx2.AsyncClient) -> None:
    """Refuse to send anything with connections that are closed.

    Raises:
        InputError: they are.
    """
    if http.is_closed:
        raise InputError("the client is closed; make a new one")


def refuse_arguments(client: str, unknown: Iterable[str]) -> None:
    """Refuse arguments that a client does not have.

    Raises:
        TypeError: there are some. It names the argument that was meant, if that is known.
    """
    for name in unknown:
        meant = OTHER_NAMES.get(name)
        hint = f"; did you mean {meant!r}?" if meant else ""
        raise TypeError(f"{client} takes no {name!r}{hint} (allowed: server, key, patience, transport)")


def reason_to_repeat(response: httpx2.Response) -> object | None:
    """Why a request should be repeated: the server is busy, or a proxy answered in its place. None: it need not.

    The body must have been read if the status is not a success.

    Raises:
        FlowsError: the error that the server reported, unless it passes by itself.
    """
    if response.is_success or response.status_code == 416:  # `ResumableFile` handles ranges that do not exist
        return None
    error = refusal(response)
    if error is not None and not isinstance(error, PASSING):
        raise error
    if error is not None:
        return error
    if response.status_code in PROXY_ERRORS:
        return f"status {response.status_code}"
    raise FlowsError(f"{response.request.url} answered with status {response.status_code}")


@contextmanager
def faults_in(place: str) -> Iterator[None]:
    """Errors about the content of an upload name the input or the file that it came from."""
    try:
        yield
    except (InputError, TooLarge) as error:
        error.__dict__["field"] = place
        if str(error).startswith(WHOLE_BODY):
            error.args = (f"{place}: {str(error).removeprefix(WHOLE_BODY)}",)
        raise


@contextmanager
def fields_as_given(given: Mapping[str, str]) -> Iterator[None]:
    """Errors about a field that is sent in another form than the caller gave name what the caller gave.

    Args:
        given: the caller's name of each such field.
    """
    try:
        yield
    except FlowsError as error:
        sent, message = str(getattr(error, "field", "")), str(error)
        if (name := given.get(sent)) is not None:
            error.args = (f"{name}{message.removeprefix(sent)}" if message.startswith(f"{sent}: ") else message,)
            error.__dict__.update(what=str(error), where=name, field=name)
        raise


@dataclass(frozen=True)
class OutputDownload:
    """One output on its way into a file.

    Attributes:
        file: the file.
        path: of the request.
        query: of the request.
        bytes: of the whole file; 0: not known before.
    """

    file: ResumableFile
    path: str
    query: Mapping[str, str]
    bytes: int

    @classmethod
    def open(cls, run: Run, name: str, to: Path) -> OutputDownload:
        """Begin with the output called `name`, for `to`, or for a file in `to` if that is a folder.

        Where `to` ends in another audio format, the server encodes the output in that one.

        Raises:
            NotFound: the run has no such output.
            StorageError: the file cannot be written.
        """
        if name not in run.outputs:
            raise no_output(run.id, str(name), run.outputs, run.state, run.reason)
        output = run.outputs[name]
        if to.is_dir():
            to /= file_name(output, name)
        path = output_path(run, name)
        made, wanted = Path(output.file_name).suffix.lower(), to.suffix.lower()
        source = f"{run.id}/{name}"
        if made in AUDIO_ENDINGS and wanted in AUDIO_ENDINGS - {made}:
            format = wanted.removeprefix(".")
            return cls(ResumableFile(to, f"{source}?format={format}"), path, {"format": format}, 0)
        return cls(ResumableFile(to, source), path, {}, output.bytes)


def is_audio_file(path: Path) -> bool:
    """Whether a path has the ending of an audio file and is no folder. The file need not exist."""
    return path.suffix.lower() in AUDIO_ENDINGS and not path.is_dir()


def file_name(output: Output, name: str) -> str:
    """The file name of an output: the server's choice if it is a plain name, else one made from `name`."""
    plain = Path(output.file_name).name
    if plain and plain == output.file_name and not plain.startswith("."):
        return plain
    return f"output-{name.replace('/', '-')}"


def upload_options(path: Path) -> Mapping[str, Any]:
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
